"""MobileFaceNet, a small network from face crops to embeddings.

Source: Chen et al., MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on
Mobile Devices, CCBR 2018 (arXiv:1804.07573), Table 1. It has 0.99 million parameters, with batch
normalization folded into the convolutions, and 221 million multiply-adds for 112x112 pixels and 128
numbers.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.errors import FaceAlignError, check_integer

_STRIDE = 16
# Expansion, channels, repetitions, stride of the first: the bottlenecks of Table 1.
_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def MobileFaceNet(
    embedding_size: int = 128, input_size: int = 112, width: float = 1.0, **kwargs: Any
) -> keras.Model:
    """Builds the network with random weights.

    The global depthwise convolution at the end weights each place of the face on its own, so faces
    have to be normalized: `keras_facealign.recognition.norm_crop`.

    Args:
        embedding_size: Length of the embeddings, 128 to 512 in use.
        input_size: Side of the crops in pixels, a multiple of 16.
        width: Factor of the numbers of channels, except that of the embeddings.
        **kwargs: As of `keras.Model`, such as its name.

    Returns:
        A functional model from float (B, S, S, 3), (pixels - 127.5) / 128, to (B, embedding_size),
        not normalized.

    Raises:
        FaceAlignError: If a size or the width is out of range.

    Example:
        >>> from keras_facealign.networks import count_macs
        >>> network = MobileFaceNet()
        >>> network.count_params(), count_macs(network)
        (1022720, 220965376)
    """
    check_integer("embedding_size", embedding_size, 8, 4096)
    check_integer("input_size", input_size, 2 * _STRIDE, 1024)
    if input_size % _STRIDE:
        raise FaceAlignError(f"input_size is {input_size}; it must be a multiple of {_STRIDE}.")
    if not 0.05 <= width <= 4:
        raise FaceAlignError(f"width is {width}; give a factor from 0.05 to 4.")

    def channels(count: int) -> int:
        return max(8, round(width * count / 8) * 8)

    inputs = keras.Input((input_size, input_size, 3), name="crops")
    x = _unit(inputs, channels(64), 3, "conv", strides=2)
    x = _unit(x, None, 3, "depthwise")
    for stage, (expansion, count, repetitions, stride) in enumerate(_BOTTLENECKS):
        for k in range(repetitions):
            name = f"stage{stage}_{k}"
            x = _bottleneck(x, expansion, channels(count), stride if k == 0 else 1, name)
    x = _unit(x, channels(512), 1, "expand")
    x = _unit(x, None, input_size // _STRIDE, "global", linear=True, padding="valid")
    x = _unit(x, embedding_size, 1, "linear", linear=True)
    return keras.Model(inputs, keras.layers.Flatten(name="embedding")(x), **kwargs)


def _unit(
    x: Any, filters: int | None, kernel: int, name: str, linear: bool = False, **kwargs: Any
) -> Any:
    """Convolution, depthwise without `filters`, batch normalization and PReLU."""
    kwargs = {"padding": "same", "use_bias": False, "name": f"{name}_conv", **kwargs}
    if filters is None:
        x = keras.layers.DepthwiseConv2D(kernel, **kwargs)(x)
    else:
        x = keras.layers.Conv2D(filters, kernel, kernel_initializer="he_normal", **kwargs)(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
    if linear:
        return x
    slope = keras.initializers.Constant(0.25)
    return keras.layers.PReLU(slope, shared_axes=[1, 2], name=f"{name}_prelu")(x)


def _bottleneck(x: Any, expansion: int, filters: int, stride: int, name: str) -> Any:
    """Expansion, depthwise convolution and linear reduction, around them a shortcut."""
    inner = _unit(x, expansion * x.shape[-1], 1, f"{name}_expand")
    inner = _unit(inner, None, 3, f"{name}_depthwise", strides=stride)
    inner = _unit(inner, filters, 1, f"{name}_reduce", linear=True)
    return keras.layers.Add(name=f"{name}_add")([x, inner]) if inner.shape == x.shape else inner
