"""Hierarchical, parallel and multi-scale (HPM) residual block."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.common import batch_norm, check_channels, conv


@keras.saving.register_keras_serializable(package="keras_facealign")
class HPMBlock(Block):
    """Three 3x3 convolutions in a row whose outputs are concatenated, plus a shortcut.

    Each convolution is preceded by batch norm and ReLU; the raw outputs (half, a quarter and a
    quarter of the width) are joined. Source: Bulat and Tzimiropoulos, Binarized Convolutional
    Landmark Localizers (ICCV 2017), compared in Stacked Dense U-Nets, Table 1.

    Args:
        filters: Output channels, divisible by 4.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> tuple(HPMBlock(64)(keras.ops.zeros((1, 8, 8, 32))).shape)
        (1, 8, 8, 64)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        check_channels(self, self.filters, 4)
        half = (*input_shape[:-1], self.filters // 2)
        quarter = (*input_shape[:-1], self.filters // 4)
        self.bn1 = self._part(batch_norm("bn1"), input_shape)
        self.conv1 = self._part(conv(self.filters // 2, 3, "conv1"), input_shape)
        self.bn2 = self._part(batch_norm("bn2"), half)
        self.conv2 = self._part(conv(self.filters // 4, 3, "conv2"), half)
        self.bn3 = self._part(batch_norm("bn3"), quarter)
        self.conv3 = self._part(conv(self.filters // 4, 3, "conv3"), quarter)
        self.shortcut = None
        if input_shape[-1] != self.filters:
            self.shortcut = self._part(conv(self.filters, 1, "sc"), input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        relu = keras.ops.relu
        active = relu(self.bn1(inputs, training=training))
        x1 = self.conv1(active)
        x2 = self.conv2(relu(self.bn2(x1, training=training)))
        x3 = self.conv3(relu(self.bn3(x2, training=training)))
        joined = keras.ops.concatenate([x1, x2, x3], axis=-1)
        return joined + (inputs if self.shortcut is None else self.shortcut(active))
