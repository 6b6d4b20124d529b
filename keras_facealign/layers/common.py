"""Pieces that every block is made of: convolutions and batch norm with the original settings.

Composite layers create and build their parts in `build`, so that a weight's path, with its slashes
read as underscores, is the name that the original MXNet checkpoints use.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError

__all__ = ["ConvBatchNorm", "batch_norm", "check_channels", "conv", "he_normal"]


def he_normal(fan_in: int | None = None) -> keras.initializers.Initializer:
    """Gaussian with variance 2 / fan-in, not truncated: the original's Xavier setting.

    Args:
        fan_in: Inputs of one output unit. Default: taken from the kernel's shape, which is wrong
            for depth-wise kernels (Keras counts all channels), hence the argument.
    """
    if fan_in is not None:
        return keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / fan_in))
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv(
    filters: int, kernel_size: int, name: str, use_bias: bool = False, **kwargs: Any
) -> keras.layers.Conv2D:
    """A "same" convolution with the original initialisation."""
    kwargs.setdefault("padding", "same")
    kwargs.setdefault("kernel_initializer", he_normal())
    return keras.layers.Conv2D(filters, kernel_size, use_bias=use_bias, name=name, **kwargs)


def batch_norm(name: str, **kwargs: Any) -> keras.layers.BatchNormalization:
    """Batch norm with the original's epsilon and momentum."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=2e-5, name=name, **kwargs)


def check_channels(layer: keras.layers.Layer, filters: int, divisor: int) -> None:
    """Raises a `FaceAlignError` unless `filters` can be split into `divisor` equal parts."""
    if filters < divisor or filters % divisor:
        raise FaceAlignError(
            f"{type(layer).__name__} {layer.name!r} needs filters divisible by {divisor}, "
            f"got {filters}."
        )


@keras.saving.register_keras_serializable(package="keras_facealign")
class ConvBatchNorm(keras.layers.Layer):
    """Convolution, batch norm and ReLU, the unit that aggregation blocks are made of.

    Args:
        filters: Output channels. A depth-wise unit keeps its input's channels, which must equal it.
        kernel_size: Side of the square kernel.
        depthwise: Whether every channel is convolved on its own.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, H, W, filters).
    """

    def __init__(
        self, filters: int, kernel_size: int = 3, depthwise: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.depthwise = depthwise

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.depthwise:
            self.conv = keras.layers.DepthwiseConv2D(
                self.kernel_size,
                padding="same",
                use_bias=False,
                depthwise_initializer=he_normal(fan_in=self.kernel_size**2),
                name="conv",
                dtype=self.dtype_policy,
            )
        else:
            self.conv = conv(self.filters, self.kernel_size, "conv", dtype=self.dtype_policy)
        self.conv.build(input_shape)
        self.bn = batch_norm("bn", dtype=self.dtype_policy)
        self.bn.build((*input_shape[:-1], self.filters))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return keras.ops.relu(self.bn(self.conv(inputs), training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "depthwise": self.depthwise,
        }
