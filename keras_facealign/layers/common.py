"""Parts of all blocks: convolutions and batch normalization with the original settings.

Composite layers create and build their parts in `build`, so that a weight's path, with its slashes
read as underscores, is the name that the original MXNet checkpoints use.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers.batch_norm import BatchNormalization
from keras_facealign.layers.block import Block
from keras_facealign.layers.deformable_conv2d import DeformableConv2D


def he_normal(fan_in: int | None = None) -> keras.initializers.Initializer:
    """Makes the original's Xavier initializer: Gaussian of variance 2 / fan-in, not truncated.

    Args:
        fan_in: Inputs of one output unit. Default: from the kernel's shape, which is wrong for
            depthwise kernels, where Keras counts all channels.
    """
    if fan_in is not None:
        return keras.initializers.RandomNormal(stddev=math.sqrt(2.0 / fan_in))
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv(
    filters: int, kernel_size: int, name: str, use_bias: bool = False, **kwargs: Any
) -> keras.layers.Conv2D:
    """Makes a "same" convolution with the original initialization."""
    kwargs.setdefault("padding", "same")
    kwargs.setdefault("kernel_initializer", he_normal())
    return keras.layers.Conv2D(filters, kernel_size, use_bias=use_bias, name=name, **kwargs)


def deformable_conv(filters: int, name: str, **kwargs: Any) -> DeformableConv2D:
    """Makes a 3x3 deformable convolution with the original's rule at the border."""
    kwargs.setdefault("kernel_initializer", he_normal())
    return DeformableConv2D(filters, 3, border="mxnet", name=name, **kwargs)


def batch_norm(name: str, **kwargs: Any) -> BatchNormalization:
    """Makes batch normalization with the original's epsilon and momentum."""
    return BatchNormalization(momentum=0.9, epsilon=2e-5, name=name, **kwargs)


def check_same_channels(layer: keras.layers.Layer, channels: int | None, filters: int) -> None:
    """Raises a `FaceAlignError` where a layer cannot change the number of channels."""
    if channels != filters:
        raise FaceAlignError(
            f"{type(layer).__name__} {layer.name!r} keeps its width: filters={filters} needs an "
            f"input of {filters} channels, got {channels}."
        )


def check_channels(layer: keras.layers.Layer, filters: int, divisor: int) -> None:
    """Raises a `FaceAlignError` unless `filters` can be split into `divisor` equal parts."""
    if filters < divisor or filters % divisor:
        raise FaceAlignError(
            f"{type(layer).__name__} {layer.name!r} needs filters divisible by {divisor}, "
            f"got {filters}."
        )


@keras.saving.register_keras_serializable(package="keras_facealign")
class ConvBatchNorm(Block):
    """Convolution, batch normalization and ReLU, the unit of aggregation blocks.

    Args:
        filters: Output channels. For a depthwise unit, the channels of its input.
        kernel_size: Side of the square kernel.
        depthwise: Whether every channel is convolved separately.
        activation: Name of the Keras activation at the end, or None.
        strides: Stride of the convolution. With 2, an odd kernel is padded equally on all sides.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, H, W, filters).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        depthwise: bool = False,
        activation: str | None = "relu",
        strides: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        self.kernel_size = kernel_size
        self.depthwise = depthwise
        self.activation = activation
        self.strides = strides

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.depthwise:
            convolution: Any = keras.layers.DepthwiseConv2D(
                self.kernel_size,
                padding="same",
                use_bias=False,
                depthwise_initializer=he_normal(fan_in=self.kernel_size**2),
                name="conv",
            )
        else:
            padding = "same" if self.strides == 1 else "valid"
            convolution = conv(
                self.filters, self.kernel_size, "conv", strides=self.strides, padding=padding
            )
        batch, *sides, channels = input_shape
        pad = 2 * self._padding
        padded = (batch, *(side and side + pad for side in sides), channels)
        self.conv = self._part(convolution, padded)
        self.bn = self._part(batch_norm("bn"), self.compute_output_shape(input_shape))
        self.activate = keras.activations.get(self.activation)
        self.built = True

    @property
    def _padding(self) -> int:
        """Pixels to pad on every side, where Keras's "same" would pad one side only."""
        return 0 if self.strides == 1 else self.kernel_size // 2

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self._padding:
            sides = (self._padding, self._padding)
            inputs = keras.ops.pad(inputs, ((0, 0), sides, sides, (0, 0)))
        return self.activate(self.bn(self.conv(inputs), training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, _ = input_shape
        return (batch, *(side and -(-side // self.strides) for side in sides), self.filters)
