"""Presets: architectures with trained weights, by name."""

from keras_facealign.presets.registry import (
    find_preset,
    from_preset,
    list_presets,
    preset_architecture,
    save_to_preset,
)

__all__ = ["find_preset", "from_preset", "list_presets", "preset_architecture", "save_to_preset"]
