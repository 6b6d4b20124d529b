"""Presets: architectures with trained weights, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach
from keras_facealign.storage.presets import find_preset, list_presets

if TYPE_CHECKING:
    from keras_facealign.presets.models import from_preset, preset_architecture, save_to_preset

__all__ = ["find_preset", "from_preset", "list_presets", "preset_architecture", "save_to_preset"]

__getattr__, _ = attach(
    __name__, {"models": ("from_preset", "preset_architecture", "save_to_preset")}
)


def __dir__() -> list[str]:
    return sorted(__all__)
