"""Where presets lie, and how models go into them and come out.

A preset is a folder: `config.json` (family and architecture), `metadata.json` (what a reader wants
to know: description, accuracy, license), `model.weights.h5`, and `calibration.json` if it has been
measured how sure these weights are. Nothing in it is executed when it is read.
"""

from __future__ import annotations

import functools
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.preset_folders import (
    CALIBRATION,
    CONFIG,
    METADATA,
    WEIGHTS,
    previous_preset,
    replacing,
)

# Models need Keras; where presets lie, and what is in them, can be told without it.
if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel
    from keras_facealign.networks import Architecture

__all__ = ["find_preset", "from_preset", "list_presets", "preset_architecture", "save_to_preset"]

_MAX_JSON_BYTES = 1_000_000


@functools.cache
def _families() -> dict[str, type[FaceAlignModel]]:
    from keras_facealign import models

    return {
        cls.__name__: cls
        for cls in (getattr(models, name) for name in models.__all__)
        if isinstance(cls, type) and issubclass(cls, models.FaceAlignModel)
    }


def _roots() -> list[Path]:
    """Installed packages carry their presets inside; a source tree has them beside the package."""
    package = Path(__file__).resolve().parents[1]
    return [package / "saved_models", package.parent / "saved_models"]


def _bundled() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in _roots():
        if root.is_dir():
            for folder in sorted(root.iterdir()):
                # A dot hides what an unfinished replacement left behind.
                if (folder / CONFIG).is_file() and not folder.name.startswith("."):
                    found.setdefault(folder.name, folder)
    return found


def find_preset(name: str | Path) -> Path:
    """Finds a preset's folder by its name, or takes a path to one.

    Args:
        name: A bundled preset's name, or a folder that `save_to_preset` wrote.

    Returns:
        The folder.

    Raises:
        FaceAlignError: If there is neither; the message lists the names there are.
    """
    folder = Path(name)
    # Unlike Path's methods, these take any text for a name, also one too long for the file system.
    if os.path.isfile(folder / CONFIG):
        return folder
    bundled = _bundled()
    if str(name) in bundled:
        return bundled[str(name)]
    if os.path.isdir(folder):
        raise FaceAlignError(f"{folder} is no preset: it has no {CONFIG}.")
    previous = previous_preset(folder)
    if previous is not None:
        return previous
    known = ", ".join(bundled) or "none"
    raise FaceAlignError(f"Unknown preset {str(name)!r}; bundled presets: {known}.")


def list_presets() -> dict[str, dict[str, Any]]:
    """Describes the bundled presets.

    Returns:
        Name to metadata; "weights" says whether trained weights are there.
    """
    return {
        name: {**_read_json(folder / METADATA), "weights": (folder / WEIGHTS).is_file()}
        for name, folder in _bundled().items()
    }


def from_preset(name: str | Path, load_weights: bool = True) -> FaceAlignModel:
    """Builds a model from a preset.

    Args:
        name: A bundled preset's name, or a folder that `save_to_preset` wrote.
        load_weights: Whether to load the trained weights; False gives the untrained network,
            without `landmark_offset`.

    Returns:
        The model.

    Raises:
        FaceAlignError: If the preset is unknown, damaged, or has no trained weights.

    Example:
        >>> model = from_preset("sat1_cab_mobile")
        >>> model.input_size
        128
    """
    folder = find_preset(name)
    family, config = _read_config(folder)
    try:
        model = _families()[family].from_config(config)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _bad_config(folder, error) from error
    if not load_weights:
        # It was measured for the trained weights.
        model.landmark_offset = (0.0, 0.0)
        return model
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FaceAlignError(
            f"Preset {folder.name!r} has no trained weights; load it with load_weights=False and "
            "train it."
        )
    try:
        model.load_weights(str(weights))
    except Exception as error:  # h5py meets damage with errors of every kind
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise FaceAlignError(f"{weights} cannot be read ({reason}); restore the file.") from error
    for variable in model.weights:
        if not np.isfinite(np.asarray(variable.numpy(), np.float32)).all():
            raise FaceAlignError(f"{weights}: {variable.path} is not finite; restore the file.")
    _load_calibration(model, folder / CALIBRATION)
    return model


def _load_calibration(model: FaceAlignModel, path: Path) -> None:
    from keras_facealign.calibration import read_calibration, weights_fingerprint

    if not path.is_file():
        return
    calibration = read_calibration(path)
    expected = model.scheme.name, model.input_size
    if (calibration.scheme.name, calibration.input_size) != expected:
        raise FaceAlignError(
            f"{path} is for {calibration.scheme.name} and {calibration.input_size} pixels, but the "
            f"network for {expected[0]} and {expected[1]}; delete the file and calibrate again."
        )
    if calibration.fingerprint != weights_fingerprint(model):
        warnings.warn(
            f"{path} was made for other weights and is not used; run keras-facealign calibrate.",
            stacklevel=3,
        )
        return
    model.calibration = calibration


def _save_calibration(model: FaceAlignModel, path: Path) -> None:
    """Writes a calibration if it fits the weights."""
    from keras_facealign.calibration import weights_fingerprint, write_calibration

    if model.calibration is not None:
        if model.calibration.fingerprint == weights_fingerprint(model):
            write_calibration(model.calibration, path)
        else:
            warnings.warn(
                "The calibration was made for other weights and is not saved; run keras-facealign "
                "calibrate.",
                stacklevel=3,
            )


def preset_architecture(name: str | Path) -> Architecture:
    """The architecture of a preset, without building its network.

    Args:
        name: A bundled preset's name, or a folder that `save_to_preset` wrote.

    Returns:
        The architecture.

    Raises:
        FaceAlignError: If the preset is unknown or damaged.

    Example:
        >>> preset_architecture("sat2_cab").topology
        'sat'
    """
    from keras_facealign.networks import Architecture

    folder = find_preset(name)
    _, config = _read_config(folder)
    try:
        return Architecture(**config["architecture"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _bad_config(folder, error) from error


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Name of the family, and the arguments of its `from_config`."""
    value = _read_json(folder / CONFIG)
    family = value.get("class_name")
    if not isinstance(family, str) or family not in _families():
        raise FaceAlignError(
            f"{folder / CONFIG}: class_name is {family!r}; choose one of: {', '.join(_families())}."
        )
    if not isinstance(value.get("config"), dict):
        raise _bad_config(folder, KeyError("config"))
    return family, value["config"]


def _bad_config(folder: Path, error: Exception) -> FaceAlignError:
    reason = f"lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
    return FaceAlignError(f"{folder / CONFIG} does not describe a model: {reason}.")


def save_to_preset(
    model: FaceAlignModel, folder: str | Path, metadata: dict[str, Any] | None = None
) -> Path:
    """Writes a model as a preset folder.

    A preset that is there already is replaced as a whole once the new one is written: whenever this
    is stopped, there is the old one or the new one. Its model card (README.md and card.png) is
    kept; its exports (model.tflite and so on) go with the weights that they were made of, which a
    warning says.

    Args:
        model: The model, trained.
        folder: Where to write; made if missing. A subclass is written as the family it comes from:
            what it adds to training is not part of a preset.
        metadata: What `list_presets` shows: description, license, accuracy and so on. The number of
            parameters and the operations of a forward pass are added.

    Returns:
        The folder.

    Raises:
        FaceAlignError: If the folder holds anything but a preset, or cannot be written.
    """
    from keras_facealign.networks import count_macs

    folder = Path(folder)
    # A copy: a trained model would also save its optimizer's state, twice the size of the weights.
    family = next(c for c in type(model).__mro__ if _families().get(c.__name__) is c)
    described = family.get_config(model)
    copy = family.from_config(described)
    copy.set_weights(model.get_weights())
    cost = {"parameters": model.count_params(), "gflops": round(2e-9 * count_macs(model), 3)}
    with replacing(folder) as new:
        copy.save_weights(str(new / WEIGHTS))
        _save_calibration(model, new / CALIBRATION)
        _write_json(new / CONFIG, {"class_name": family.__name__, "config": described})
        _write_json(new / METADATA, {**(metadata or {}), **cost})
    return folder


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise FaceAlignError(f"{path} is larger than a preset's description can be.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FaceAlignError(f"{path} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise FaceAlignError(f"{path} must hold a JSON object.")
    return value


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
