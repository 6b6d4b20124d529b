"""Models from presets, and presets from models, as functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_facealign.landmarks import LandmarkScheme
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture
from keras_facealign.storage.presets import bad_config, find_preset, read_config


def from_preset(
    name: str | Path,
    load_weights: bool = True,
    *,
    scheme: str | Path | dict[str, Any] | LandmarkScheme | None = None,
    num_landmarks: int | None = None,
    mapping: Mapping[int, int] | None = None,
) -> FaceAlignModel:
    """Builds a model from a preset; the same as `FaceAlignModel.from_preset`.

    Args:
        name: A bundled preset's name, or a folder that `save_to_preset` wrote.
        load_weights: Whether to load the trained weights; False gives the untrained network,
            without `landmark_offset`.
        scheme: Other landmarks to find: a scheme, its name, or a scheme file.
        num_landmarks: Their number, instead of a scheme or in addition.
        mapping: For new landmarks that are to start from a known one: index of the new, and of the
            preset's.

    Returns:
        The model.

    Raises:
        FaceAlignError: If the preset is unknown, damaged, or has no trained weights; or the scheme
            cannot be used.

    Example:
        >>> model = from_preset("sat1_cab_mobile")
        >>> model.input_size
        128
    """
    return FaceAlignModel.from_preset(
        name, load_weights, scheme=scheme, num_landmarks=num_landmarks, mapping=mapping
    )


def preset_architecture(name: str | Path) -> Architecture:
    """Reads the architecture of a preset, without building its network.

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
    folder = find_preset(name)
    _, config = read_config(folder)
    try:
        return Architecture.from_dict(config["architecture"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise bad_config(folder, error) from error


def save_to_preset(
    model: FaceAlignModel, folder: str | Path, metadata: dict[str, Any] | None = None
) -> Path:
    """Writes a model as a preset folder; the same as `model.save_to_preset`.

    Args:
        model: The model, trained.
        folder: Where to write; made if missing.
        metadata: Content of `metadata.json`: description, license, accuracy and so on.

    Returns:
        The folder.

    Raises:
        FaceAlignError: If the folder holds anything but a preset, or cannot be written.
    """
    return model.save_to_preset(folder, metadata)
