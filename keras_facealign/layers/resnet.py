"""Pre-activation bottleneck residual block."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.common import batch_norm, check_channels, conv


@keras.saving.register_keras_serializable(package="keras_facealign")
class ResNetBlock(Block):
    """Batch norm and ReLU before each of three convolutions (1x1, 3x3, 1x1), plus a shortcut.

    The shortcut is the input itself where the width stays, else a 1x1 convolution of the
    *activated* input. Source: the residual units of the original code's "resnet" networks
    (Stacked Dense U-Nets, Table 1).

    Args:
        filters: Output channels, even.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> tuple(ResNetBlock(64)(keras.ops.zeros((1, 8, 8, 32))).shape)
        (1, 8, 8, 64)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        check_channels(self, self.filters, 2)
        middle = (*input_shape[:-1], self.filters // 2)
        self.bn1 = self._part(batch_norm("bn1"), input_shape)
        self.conv1 = self._part(conv(self.filters // 2, 1, "conv1"), input_shape)
        self.bn2 = self._part(batch_norm("bn2"), middle)
        self.conv2 = self._part(conv(self.filters // 2, 3, "conv2"), middle)
        self.bn3 = self._part(batch_norm("bn3"), middle)
        self.conv3 = self._part(conv(self.filters, 1, "conv3"), middle)
        self.shortcut = None
        if input_shape[-1] != self.filters:
            self.shortcut = self._part(conv(self.filters, 1, "sc"), input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        relu = keras.ops.relu
        active = relu(self.bn1(inputs, training=training))
        x = self.conv1(active)
        x = self.conv2(relu(self.bn2(x, training=training)))
        x = self.conv3(relu(self.bn3(x, training=training)))
        return x + (inputs if self.shortcut is None else self.shortcut(active))
