"""Loads models from preset folders and saves them there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.calibration import (
    read_calibration,
    weights_fingerprint,
    write_calibration,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.networks import count_macs
from keras_facealign.prediction.concurrency import start_keras
from keras_facealign.storage.preset_folders import (
    CALIBRATION,
    CONFIG,
    METADATA,
    WEIGHTS,
    replace_preset,
)
from keras_facealign.storage.presets import bad_config, find_preset, read_config, write_json

_PACKAGE = "keras_facealign"


def load_preset(base: type, name: str | Path, load_weights: bool = True) -> Any:
    """Builds a model from a preset.

    Args:
        base: `FaceAlignModel` or a class derived from it, see `FaceAlignModel.from_preset`.
        name: A bundled preset's name, or a folder that `save_preset` wrote.
        load_weights: Whether to load the trained weights.

    Returns:
        The model.

    Raises:
        FaceAlignError: If the preset is unknown, damaged, of another class, or has no trained
            weights.
    """
    start_keras()
    folder = find_preset(name)
    class_name, config = read_config(folder)
    family = keras.saving.get_registered_object(f"{_PACKAGE}>{class_name}")
    if family is None or not hasattr(family, "from_preset"):
        raise FaceAlignError(
            f"{folder / CONFIG}: class_name is {class_name[:80]!r}, which is not a model of this "
            "package, such as 'SATFaceAlign'."
        )
    if not (issubclass(family, base) or issubclass(base, family)):
        raise FaceAlignError(
            f"Preset {folder.name!r} is a {class_name}, not a {base.__name__}; use "
            f"{class_name}.from_preset or FaceAlignModel.from_preset."
        )
    cls: Any = family if issubclass(family, base) else base
    try:
        model = cls.from_config(config)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise bad_config(folder, error) from error
    if load_weights:
        _load_weights(model, folder)
        _load_calibration(model, folder / CALIBRATION)
    else:
        # The offset was measured for the trained weights.
        model.landmark_offset = (0.0, 0.0)
    return model


def _load_weights(model: Any, folder: Path) -> None:
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FaceAlignError(
            f"Preset {folder.name!r} has no trained weights; load it with load_weights=False and "
            "train it."
        )
    model.load_weights(str(weights))
    for variable in model.weights:
        if not np.isfinite(np.asarray(variable.numpy(), np.float32)).all():
            raise FaceAlignError(f"{weights}: {variable.path} is not finite; restore the file.")


def _load_calibration(model: Any, path: Path) -> None:
    if not path.is_file():
        return
    calibration = read_calibration(path)
    expected = model.scheme, model.input_size
    if (calibration.scheme, calibration.input_size) != expected:
        raise FaceAlignError(
            f"{path} is for {calibration.scheme.name} and {calibration.input_size} pixels, but the "
            f"network for {model.scheme.name} and {model.input_size}; delete the file and "
            "calibrate again."
        )
    if calibration.fingerprint != weights_fingerprint(model):
        warnings.warn(
            f"{path} was made for other weights and is not used; run keras-facealign calibrate.",
            stacklevel=4,
        )
        return
    model.calibration = calibration


def _save_calibration(model: Any, path: Path) -> None:
    """Writes the calibration of a model if it fits the weights."""
    if model.calibration is not None:
        if model.calibration.fingerprint == weights_fingerprint(model):
            write_calibration(model.calibration, path)
        else:
            warnings.warn(
                "The calibration was made for other weights and is not saved; run keras-facealign "
                "calibrate.",
                stacklevel=3,
            )


def save_preset(
    model: Any, family: type, folder: str | Path, metadata: dict[str, Any] | None = None
) -> Path:
    """Writes a model as a preset folder, see `FaceAlignModel.save_to_preset`.

    Args:
        model: The model, trained.
        family: The class of this package that the preset names.
        folder: Where to write.
        metadata: Content of `metadata.json`; the model's size and cost are added.

    Returns:
        The folder.

    Raises:
        FaceAlignError: If the folder holds anything but a preset, or cannot be written.
    """
    folder = Path(folder)
    cls: Any = family
    config = cls.get_config(model)
    saved = model
    if type(model) is not cls or model.compiled:
        # A compiled model would also save its optimizer's state, twice the size of the weights.
        saved = cls.from_config(config)
        saved.set_weights(model.get_weights())
    cost = {"parameters": model.count_params(), "gflops": round(2e-9 * count_macs(model), 3)}
    with replace_preset(folder) as new:
        saved.save_weights(str(new / WEIGHTS))
        _save_calibration(model, new / CALIBRATION)
        write_json(new / CONFIG, {"class_name": cls.__name__, "config": config})
        write_json(new / METADATA, {**(metadata or {}), **cost})
    return folder
