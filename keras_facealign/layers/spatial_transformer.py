"""Spatial transformer in front of a network, which rotates faces upright."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign import geometry
from keras_facealign.layers.common import batch_norm, conv, he_normal
from keras_facealign.layers.factory import max_pool
from keras_facealign.ops.warp import warp_affine

MAX_ANGLE = 0.5


@keras.saving.register_keras_serializable(package="keras_facealign")
class RotateImages(keras.layers.Layer):
    """Rotates each image about its center by its own angle: bilinear sampling, 0 outside.

    Args:
        dtype: As in Keras; positions are always computed in float32.

    Input shape:
        Images (B, H, W, C), and angles (B, 1) in radians. The result at `p` is the input at `p`
        rotated by the angle, x towards y.

    Output shape:
        The rotated images, (B, H, W, C), and float32 (B, 2, 3), the matrices that transform points
        of the input, in pixels, to those of the result.

    Example:
        >>> rotated, matrices = RotateImages()([ops.ones((1, 8, 8, 3)), ops.zeros((1, 1))])
        >>> tuple(rotated.shape), tuple(matrices.shape)
        ((1, 8, 8, 3), (1, 2, 3))
    """

    def call(self, inputs: Any) -> tuple[Any, Any]:
        images, angles = inputs
        center = ((int(images.shape[2]) - 1) / 2, (int(images.shape[1]) - 1) / 2)
        angle = -ops.cast(angles[:, 0], "float32")
        zero = ops.zeros_like(angle)
        matrices = geometry.similarity(ops.ones_like(angle), angle, (zero, zero), center)
        return warp_affine(images, matrices), matrices

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, Any]:
        images = tuple(input_shape[0])
        return images, (images[0], 2, 3)

    def compute_output_spec(self, inputs: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        images, matrices = self.compute_output_shape([x.shape for x in inputs])
        return (
            keras.KerasTensor(images, dtype=self.compute_dtype),
            keras.KerasTensor(matrices, dtype="float32"),
        )


def estimate_rotation(
    images: keras.KerasTensor, filters: tuple[int, int] = (64, 128), units: int = 128
) -> keras.KerasTensor:
    """Builds the localization network of the original code: one rotation angle per image.

    Two convolutions and two dense layers in a functional graph, named as in the original's
    checkpoints. The last layer is initialized with zeros, so that an untrained network does not
    rotate. Source: Jaderberg et al., Spatial Transformer Networks (NIPS 2015), as compared in
    Stacked Dense U-Nets, Table 1.

    Args:
        images: Symbolic (B, H, W, 3), normalized to about -1 to 1, of known size.
        filters: Channels of the two convolutions.
        units: Width of the first dense layer.

    Returns:
        Symbolic (B, 1), radians between -0.5 and 0.5.
    """
    x = keras.layers.ZeroPadding2D(3, name="stn_pad0")(images)
    x = conv(filters[0], 7, "stn_conv0", strides=2, padding="valid")(x)
    x = keras.layers.ReLU(name="stn_relu0")(batch_norm("stn_bn0")(x))
    x = conv(filters[1], 3, "stn_conv1")(x)
    x = keras.layers.ReLU(name="stn_relu1")(batch_norm("stn_bn1")(x))
    # Channels first, as in the original's dense weights.
    x = keras.layers.Permute((3, 1, 2), name="stn_permute")(max_pool(x))
    x = keras.layers.Flatten(name="stn_flatten")(x)
    x = keras.layers.Dense(
        units, "tanh", kernel_initializer=he_normal(), name="loc_net_half", dtype="float32"
    )(x)
    x = keras.layers.Dense(
        1, "tanh", kernel_initializer="zeros", name="loc_theta", dtype="float32"
    )(x)
    return keras.layers.Rescaling(MAX_ANGLE, name="stn_angle", dtype="float32")(x)
