"""Base class of all convolution blocks."""

from __future__ import annotations

import inspect
from typing import Any

import keras


class Block(keras.layers.Layer):
    """Base of the blocks: maps (B, H, W, C) to (B, H, W, filters).

    Every argument of a block's constructor has an attribute of the same name.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def _part(self, layer: keras.layers.Layer, input_shape: tuple[int | None, ...]) -> Any:
        """Builds a sub-layer with this block's dtype policy."""
        layer.dtype_policy = self.dtype_policy
        layer.build(input_shape)
        return layer

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        names = [
            parameter.name
            for parameter in inspect.signature(type(self).__init__).parameters.values()
            if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD
        ]
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
