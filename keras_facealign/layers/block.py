"""What all convolution blocks have in common: a width, and shapes that only change in width."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["Block"]


class Block(keras.layers.Layer):
    """Base of the blocks: maps (B, H, W, C) to (B, H, W, filters)."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def _part(self, layer: keras.layers.Layer, input_shape: tuple[int | None, ...]) -> Any:
        """Gives a part this block's dtype policy and builds it."""
        layer.dtype_policy = self.dtype_policy
        layer.build(input_shape)
        return layer

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}
