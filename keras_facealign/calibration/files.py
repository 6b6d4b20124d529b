"""A calibration as a readable file, and what ties it to the weights it was made for."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.calibration.formula import Calibration
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme, get_scheme
from keras_facealign.storage.atomic import atomic_write

__all__ = ["read_calibration", "weights_fingerprint", "write_calibration"]

FORMAT = 1
_MAX_BYTES = 1_000_000
_SIGMA = ("spreads", "sigmas", "factors")
_VISIBILITY = ("bias", "peak_weights", "spread_weights", "turn_weights")


def weights_fingerprint(model: Any) -> int:
    """A number that changes when a model's weights do.

    It is taken of the weights in 16 bits, so that storing a preset in half precision keeps it.

    Args:
        model: A Keras model.

    Returns:
        32 bits, not negative.
    """
    checksum = 0
    with np.errstate(over="ignore"):
        for value in model.get_weights():
            checksum = zlib.crc32(np.asarray(value).astype("<f2").tobytes(), checksum)
    return checksum


def write_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Writes a calibration as JSON.

    Args:
        calibration: What to write.
        path: The file.

    Returns:
        The path.
    """

    def numbers(name: str) -> list[float]:
        # Nine digits tell any two float32 apart.
        return [float(f"{value:.9g}") for value in getattr(calibration, name)]

    value = {
        "format": FORMAT,
        "scheme": calibration.scheme.name,
        "input_size": calibration.input_size,
        "fitted_on": calibration.fitted_on,
        "weights_crc32": calibration.fingerprint,
        "sigma": {name: numbers(name) for name in _SIGMA},
        "visibility": {name: numbers(name) for name in _VISIBILITY},
    }
    text = json.dumps(value, indent=2)
    # A list a line: hundreds of lines with one number each are hard to read.
    for name in (*_SIGMA, *_VISIBILITY):
        flat = json.dumps(numbers(name))
        text = text.replace(json.dumps(numbers(name), indent=2).replace("\n", "\n    "), flat)
    return atomic_write(path, lambda file: file.write(f"{text}\n".encode()))


def read_calibration(path: str | Path) -> Calibration:
    """Reads what `write_calibration` wrote.

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
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise FaceAlignError(f"{path} is larger than a calibration can be.")
        value = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, FaceAlignError):
            raise
        raise FaceAlignError(f"{path} cannot be read: {error}.") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        version = value.get("format") if isinstance(value, dict) else None
        raise FaceAlignError(
            f"{path}: format is {str(version)[:40]}, but this version of keras_facealign reads "
            f"{FORMAT}; calibrate the preset again."
        )
    try:
        return Calibration(
            scheme=_scheme(value),
            input_size=_whole(value, "input_size"),
            fitted_on=_text(value, "fitted_on"),
            fingerprint=_whole(value, "weights_crc32"),
            **{name: _numbers(value, "sigma", name) for name in _SIGMA},
            **{name: _numbers(value, "visibility", name) for name in _VISIBILITY},
        )
    except FaceAlignError as error:
        raise FaceAlignError(f"{path}: {error}") from error


def _scheme(value: dict[str, Any]) -> LandmarkScheme:
    name = _text(value, "scheme")
    # A name such as points999999999 would make a scheme of as many points.
    if name.startswith("points") and name != f"points{len(_numbers(value, 'sigma', 'factors'))}":
        raise FaceAlignError(f"scheme {name[:40]!r} does not fit the number of factors.")
    return get_scheme(name)


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise FaceAlignError(f"{name} must be a text.")
    return text


def _whole(value: dict[str, Any], name: str) -> int:
    number = value.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**32:
        raise FaceAlignError(f"{name} must be a whole number from 0 to 4294967295.")
    return number


def _numbers(value: dict[str, Any], group: str, name: str) -> np.ndarray:
    part = value.get(group)
    numbers = part.get(name) if isinstance(part, dict) else None
    if not isinstance(numbers, list) or not all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) <= 1e4
        for number in numbers
    ):
        raise FaceAlignError(f"{group}.{name} must be a list of numbers between -10000 and 10000.")
    return np.asarray(numbers, np.float32)
