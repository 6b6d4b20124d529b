"""Reads and writes calibrations as JSON files, and identifies the weights they were made for."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.calibration.formula import VISIBILITY, Calibration
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import as_scheme, scheme_config
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.json_files import read_json_object

FORMAT = 1
# Where the file has the fields of a calibration: group and name.
_PLACES = {
    **{name: ("sigma", name) for name in ("spreads", "sigmas", "factors")},
    **{name: ("visibility", name) for name in ("bias", "peak_weights", "spread_weights")},
    "yaw_weights": ("visibility", "turn_weights"),
}


def weights_fingerprint(model: Any) -> int:
    """Computes a checksum of a model's weights.

    The checksum is of the weights in 16 bits, so that storing a preset in half precision keeps it.

    Args:
        model: A Keras model.

    Returns:
        An integer of 32 bits, not negative.
    """
    checksum = 0
    with np.errstate(over="ignore"):
        for value in model.get_weights():
            checksum = zlib.crc32(np.asarray(value).astype("<f2").tobytes(), checksum)
    return checksum


def write_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Writes a calibration as JSON.

    Args:
        calibration: The calibration.
        path: The file.

    Returns:
        The path.
    """

    value: dict[str, Any] = {
        "format": FORMAT,
        "scheme": scheme_config(calibration.scheme),
        "input_size": calibration.input_size,
        "fitted_on": calibration.fitted_on,
        "weights_crc32": calibration.fingerprint,
        "sigma": {},
        "visibility": {} if calibration.has_visibility else None,
    }
    for field, (group, name) in _PLACES.items():
        if value[group] is None:
            continue
        # Nine digits distinguish any two float32.
        value[group][name] = [float(f"{v:.9g}") for v in getattr(calibration, field)]
    text = json.dumps(value, indent=2)
    # A list a line: hundreds of lines with one number each are hard to read.
    text = re.sub(r"\[[^\[\]]*\]", lambda numbers: " ".join(numbers[0].split()), text)
    text = text.replace("[ ", "[").replace(" ]", "]")
    return atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def read_calibration(path: str | Path) -> Calibration:
    """Reads a file that `write_calibration` wrote.

    Args:
        path: The file.

    Returns:
        The calibration.

    Raises:
        FaceAlignError: If the file cannot be read, is of another version, or holds values that no
            calibration has; the message names the file.

    Example:
        >>> read_calibration("saved_models/sat1_cab_mobile/calibration.json")  # doctest: +SKIP
    """
    value = read_json_object(path)
    if value.get("format") != FORMAT:
        raise FaceAlignError(
            f"{path}: format is {str(value.get('format'))[:40]}, but this version of "
            f"keras_facealign reads {FORMAT}; calibrate the preset again."
        )
    try:
        # Without labels of hidden landmarks there is no visibility.
        told = "visibility" not in value or value["visibility"] is not None
        arrays = {f: _numbers(value, *p) for f, p in _PLACES.items() if told or f not in VISIBILITY}
        if not isinstance(value.get("fitted_on"), str):
            raise FaceAlignError("fitted_on must be a text.")
        if not isinstance(value.get("scheme"), (str, dict)):
            raise FaceAlignError("scheme must be a name or a definition.")
        for name in ("input_size", "weights_crc32"):
            if type(value.get(name)) is not int or not 0 <= value[name] < 2**32:
                raise FaceAlignError(f"{name} must be a whole number from 0 to 4294967295.")
        scheme = value["scheme"]
        # A name such as points999999999 would make a scheme of as many points.
        numbered = isinstance(scheme, str) and scheme.startswith("points")
        if numbered and scheme != f"points{len(arrays['factors'])}":
            raise FaceAlignError(f"scheme {scheme[:40]!r} does not fit the number of factors.")
        return Calibration(
            scheme=as_scheme(scheme),
            input_size=value["input_size"],
            fitted_on=value["fitted_on"],
            fingerprint=value["weights_crc32"],
            **arrays,
        )
    except FaceAlignError as error:
        raise FaceAlignError(f"{path}: {error}") from error


def _numbers(value: dict[str, Any], group: str, name: str) -> np.ndarray:
    part = value.get(group)
    numbers = part.get(name) if isinstance(part, dict) else None
    if not isinstance(numbers, list) or not all(
        type(number) in (int, float) and abs(number) <= 1e4 for number in numbers
    ):
        raise FaceAlignError(f"{group}.{name} must be a list of numbers between -10000 and 10000.")
    return np.asarray(numbers, np.float32)
