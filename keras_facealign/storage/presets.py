"""Preset folders by name: where they are, and the descriptions in them.

A preset is a folder with `config.json` (class and architecture), `metadata.json` (description,
accuracy, license), `model.weights.h5`, and `calibration.json` if these weights have been
calibrated. Reading them executes nothing, and needs neither Keras nor a backend.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.storage.preset_folders import CONFIG, METADATA, WEIGHTS, previous_preset
from keras_facealign.storage.reading import one_line


def _roots() -> list[Path]:
    """Where presets are: inside an installed package, next to the package in a source tree."""
    package = Path(__file__).resolve().parents[1]
    return [package / "saved_models", package.parent / "saved_models"]


def _bundled() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in _roots():
        if root.is_dir():
            for folder in sorted(root.iterdir()):
                # Names of unfinished replacements start with a dot.
                if (folder / CONFIG).is_file() and not folder.name.startswith("."):
                    found.setdefault(folder.name, folder)
    return found


def find_preset(name: str | Path) -> Path:
    """Finds the folder of a preset.

    Args:
        name: A bundled preset's name, or a folder that `save_to_preset` wrote.

    Returns:
        The folder.

    Raises:
        FaceAlignError: If there is neither; the message lists the bundled names.
    """
    folder = Path(name)
    # Unlike the methods of Path, os.path accepts names that are too long for the file system.
    if os.path.isfile(folder / CONFIG):
        return folder
    bundled = _bundled()
    if str(name) in bundled:
        return bundled[str(name)]
    if os.path.isdir(folder):
        raise FaceAlignError(f"{folder} is not a preset: it has no {CONFIG}.")
    previous = previous_preset(folder)
    if previous is not None:
        return previous
    known = ", ".join(bundled) or "none"
    raise FaceAlignError(f"Unknown preset {str(name)!r}; bundled presets: {known}.")


def list_presets() -> dict[str, dict[str, Any]]:
    """Describes the bundled presets.

    Returns:
        Name: metadata, with "weights" telling whether there are trained weights.
    """
    return {
        name: {**read_json_object(folder / METADATA), "weights": (folder / WEIGHTS).is_file()}
        for name, folder in _bundled().items()
    }


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Reads the description of a preset's model.

    Args:
        folder: A preset's folder.

    Returns:
        Name of the class, and the arguments of its `from_config`.

    Raises:
        FaceAlignError: If `config.json` cannot be read or is something else.
    """
    value = read_json_object(folder / CONFIG)
    name, config = value.get("class_name"), value.get("config")
    if not isinstance(name, str):
        raise FaceAlignError(
            f"{folder / CONFIG}: class_name is {repr(name)[:80]}; it must be a string."
        )
    if not isinstance(config, dict):
        raise bad_config(folder, KeyError("config"))
    return name, config


def bad_config(folder: Path, error: Exception) -> FaceAlignError:
    """Makes the error for a `config.json` that does not describe a model."""
    reason = f"lacks {error}" if isinstance(error, KeyError) else one_line(error).rstrip(".")
    return FaceAlignError(f"{folder / CONFIG} does not describe a model: {reason}.")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON object, indented."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
