"""The deformable unit in front of a heatmap head."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.common import batch_norm, deformable_conv


@keras.saving.register_keras_serializable(package="keras_facealign")
class DeformableConvBatchNorm(Block):
    """Deformable 3x3 convolution, batch norm and ReLU: the inside transformer before a head.

    Source: Stacked Dense U-Nets, section 3.2.

    Args:
        filters: Output channels.
        norm_first: Whether batch norm and ReLU precede the convolution instead of following it, as
            in the code of the paper's time.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> tuple(DeformableConvBatchNorm(16)(keras.ops.zeros((1, 8, 8, 16))).shape)
        (1, 8, 8, 16)
    """

    def __init__(self, filters: int, norm_first: bool = False, **kwargs: Any) -> None:
        super().__init__(filters, **kwargs)
        self.norm_first = norm_first

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        output_shape = self.compute_output_shape(input_shape)
        self.bn = self._part(batch_norm("bn"), input_shape if self.norm_first else output_shape)
        self.conv = self._part(deformable_conv(self.filters, "conv"), input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self.norm_first:
            return self.conv(keras.ops.relu(self.bn(inputs, training=training)))
        return keras.ops.relu(self.bn(self.conv(inputs), training=training))
