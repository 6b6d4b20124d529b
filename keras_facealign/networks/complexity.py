"""Computational cost of networks."""

from __future__ import annotations

import math

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import DeformableConv2D, DepthwiseUpsampling2D


def count_macs(model: keras.Model) -> int:
    """Counts the multiply-adds of all convolutions in a forward pass for one image.

    Batch norm, activations, pooling and sums, which add a few per cent, are not counted, as usual.
    One multiply-add is two floating-point operations.

    Args:
        model: A built model whose spatial sizes are all known.

    Returns:
        The number of multiply-adds.

    Raises:
        FaceAlignError: If a convolution's size depends on the input.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> count_macs(keras.Model(inputs, keras.layers.Conv2D(4, 3, padding="same")(inputs)))
        6912
    """
    total = 0
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, _CONVOLUTIONS):
            continue
        shape = layer.get_build_config()["input_shape"]
        # A transposed convolution applies its kernel per input pixel, the others per output pixel.
        transposed = isinstance(layer, _TRANSPOSED)
        pixels = shape[1:3] if transposed else layer.compute_output_shape(shape)[1:3]
        if None in pixels:
            raise FaceAlignError(f"{layer.path} has no fixed size; build with a fixed input_size.")
        total += math.prod(layer.kernel.shape) * math.prod(pixels)
    return total


_TRANSPOSED = (keras.layers.Conv2DTranspose, DepthwiseUpsampling2D)
_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    DeformableConv2D,
    *_TRANSPOSED,
)
