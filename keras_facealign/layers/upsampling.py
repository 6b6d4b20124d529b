"""Learned up-sampling of each channel separately."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def _top_left(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Makes kernels that write each pixel to the top left of its four, and 0 to the others."""
    corner = ops.one_hot(ops.zeros((1,), "int32"), shape[0] * shape[1], dtype=dtype)
    return ops.reshape(corner, (*shape[:2], 1, 1)) * ops.ones(shape, dtype=dtype)


@keras.saving.register_keras_serializable(package="keras_facealign")
class DepthwiseUpsampling2D(keras.layers.Layer):
    """Doubles height and width by a transposed depthwise 2x2 convolution of stride 2.

    With a kernel of ones it repeats pixels. The released code of the paper's time has it where
    later versions repeat pixels. As there, it is initialized to write each pixel to the top left of
    its four.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, 2H, 2W, C).

    Example:
        >>> tuple(DepthwiseUpsampling2D()(keras.ops.ones((1, 4, 4, 8))).shape)
        (1, 8, 8, 8)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # The layout of a depthwise convolution's kernel.
        self.kernel = self.add_weight(
            name="kernel", shape=(2, 2, input_shape[-1], 1), initializer=_top_left
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        _, height, width, channels = inputs.shape
        kernel = ops.transpose(self.kernel, (3, 0, 1, 2))  # (1, 2, 2, C)
        # (B, H, 1, W, 1, C) times (1, 1, 2, 1, 2, C): row 2i + a, column 2j + b.
        pixels = ops.expand_dims(ops.expand_dims(inputs, 2), 4)
        kernel = ops.expand_dims(ops.expand_dims(kernel, 1), 3)
        return ops.reshape(pixels * kernel, (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return (batch, height and 2 * height, width and 2 * width, channels)


def upsampling(learned: bool, name: str) -> keras.layers.Layer:
    """Makes a layer that doubles the resolution, by a learned kernel or by repeating pixels."""
    if learned:
        return DepthwiseUpsampling2D(name=name)
    return keras.layers.UpSampling2D(2, name=name)
