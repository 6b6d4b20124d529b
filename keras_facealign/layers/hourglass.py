"""Hourglass topology."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.factory import make_block, max_pool
from keras_facealign.layers.upsampling import upsampling


@keras.saving.register_keras_serializable(package="keras_facealign")
class Hourglass(Block):
    """A recursive encoder and decoder with one lateral block at every resolution.

    Source: Newell et al., Stacked Hourglass Networks (ECCV 2016), as used in Stacked Dense U-Nets,
    figure 2b.

    Args:
        filters: Channels of input, output and all blocks.
        depth: Number of 2x poolings; height and width must be divisible by 2 ** depth.
        block: Kind of convolution block, see `make_block`.
        learned_upsampling: Whether a learned depthwise kernel doubles the resolution, as in the
            code of the paper's time, instead of repeated pixels.

    Input shape:
        (B, H, W, filters).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> tuple(Hourglass(32, depth=3, block="resnet")(keras.ops.zeros((1, 16, 16, 32))).shape)
        (1, 16, 16, 32)
    """

    def __init__(
        self,
        filters: int,
        depth: int = 4,
        block: str = "resnet",
        learned_upsampling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        self.depth = depth
        self.block = block
        self.learned_upsampling = learned_upsampling

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        batch, height, width, channels = input_shape
        half = (batch, height and height // 2, width and width // 2, self.filters)

        def block(name: str, shape: tuple[int | None, ...]) -> Any:
            return self._part(make_block(self.block, channels, self.filters, name), shape)

        self.up1 = self._part(self._lateral(channels, "up1_0"), input_shape)
        self.low1 = block("low1_0", half)
        if self.depth > 1:
            self.low2 = self._part(self._inner(f"{self.depth - 1}"), half)
        else:
            self.low2 = block("low2_0", half)
        self.low3 = block("low3_0", half)
        up = upsampling(self.learned_upsampling, f"upsampling_{self.depth}")
        self.upsampling = self._part(up, half)
        self.built = True

    def _lateral(self, channels: int | None, name: str) -> keras.layers.Layer:
        return make_block(self.block, channels, self.filters, name)

    def _inner(self, name: str) -> Hourglass:
        # A subclass nests itself.
        return type(self)(
            self.filters, self.depth - 1, self.block, self.learned_upsampling, name=name
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        low = max_pool(inputs)
        for layer in (self.low1, self.low2, self.low3):
            low = layer(low, training=training)
        return self.up1(inputs, training=training) + self.upsampling(low)
