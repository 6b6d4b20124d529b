"""Learned up-sampling of each channel on its own."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["DepthwiseUpsampling2D", "upsampling"]


def _top_left(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Kernels that write each pixel to the top left of its four and leave the rest zero."""
    corner = ops.one_hot(ops.zeros((1,), "int32"), shape[0] * shape[1], dtype=dtype)
    return ops.reshape(corner, (*shape[:2], 1, 1)) * ops.ones(shape, dtype=dtype)


@keras.saving.register_keras_serializable(package="keras_facealign")
class DepthwiseUpsampling2D(keras.layers.Layer):
    """Doubles height and width by a transposed 2x2 convolution of stride 2 in every channel alone.

    With a kernel of ones it repeats pixels. The released code of the paper's time had it where
    later versions repeat pixels; it starts, as there, by writing each pixel to the top left of its
    four.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, 2H, 2W, C).

    Example:
        >>> DepthwiseUpsampling2D()(keras.ops.ones((1, 4, 4, 8))).shape
        (1, 8, 8, 8)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # Laid out as the kernel of a depth-wise convolution.
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
    """Doubles the resolution: by a learned depth-wise kernel, or by repeating pixels."""
    if learned:
        return DepthwiseUpsampling2D(name=name)
    return keras.layers.UpSampling2D(2, name=name)
