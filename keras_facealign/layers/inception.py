"""Inception-ResNet block."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.common import ConvBatchNorm, check_channels, check_same_channels


@keras.saving.register_keras_serializable(package="keras_facealign")
class InceptionBlock(Block):
    """Three branches of growing depth, joined, mixed by a 1x1 convolution, and added to the input.

    The width stays the same; for other widths `make_block` makes a `ResNetBlock`, like the
    original. Source: block 35 of Szegedy et al., Inception-v4, Inception-ResNet and the Impact
    of Residual Connections on Learning (AAAI 2017), with the widths of the original code's
    "inception" networks (Stacked Dense U-Nets, Table 1).

    Args:
        filters: Channels of input and output, divisible by 8.

    Input shape:
        (B, H, W, filters).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> tuple(InceptionBlock(32)(keras.ops.zeros((1, 8, 8, 32))).shape)
        (1, 8, 8, 32)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        check_channels(self, self.filters, 8)
        check_same_channels(self, input_shape[-1], self.filters)
        quarter, middle, half = self.filters // 4, 3 * self.filters // 8, self.filters // 2

        def branch(*units: tuple[str, int, int]) -> list[keras.layers.Layer]:
            layers, shape = [], input_shape
            for name, width, size in units:
                unit = ConvBatchNorm(width, size, name=f"block35_{name}")
                layers.append(self._part(unit, shape))
                shape = (*input_shape[:-1], width)
            return layers

        self.branches = [
            branch(("conv", quarter, 1)),
            branch(("conv1_0", quarter, 1), ("conv1_1", quarter, 3)),
            branch(("conv2_0", quarter, 1), ("conv2_1", middle, 3), ("conv2_2", half, 3)),
        ]
        mix = ConvBatchNorm(self.filters, 1, activation=None, name="block35_conv_out")
        self.mix = self._part(mix, input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = []
        for layers in self.branches:
            x = inputs
            for layer in layers:
                x = layer(x, training=training)
            outputs.append(x)
        mixed = self.mix(keras.ops.concatenate(outputs, axis=-1), training=training)
        return keras.ops.relu(inputs + mixed)
