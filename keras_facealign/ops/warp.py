"""Affine warping of image batches in `keras.ops`, compilable by XLA on every backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign import geometry


def _source_grid(matrix: Any, output_size: tuple[int, int]) -> tuple[Any, Any]:
    """Returns source coordinates (x, y), each (B, H', W'), of every target pixel."""
    height, width = output_size
    inverse = geometry.invert(ops.cast(matrix, "float32"))
    x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width))
    y = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1))
    row = [[ops.reshape(inverse[:, i, j], (-1, 1, 1)) for j in range(3)] for i in range(2)]
    return (
        row[0][0] * x + row[0][1] * y + row[0][2],
        row[1][0] * x + row[1][1] * y + row[1][2],
    )


def warp_affine(images: Any, matrix: Any, output_size: tuple[int, int] | None = None) -> Any:
    """Transforms images by affine matrices: bilinear sampling, 0 outside of the source.

    The matrix also transforms points (`keras_facealign.geometry`): a landmark at `p` in the source
    image is at `transform_points(matrix, p)` in the result. Differentiable with respect to
    `images`. It uses a gather, because `keras.ops.image.affine_transform` has no XLA kernel on
    TensorFlow's CPU backend.

    Args:
        images: (B, H, W, C), float or uint8, any range.
        matrix: float (B, 2, 3), source pixels to target pixels, invertible.
        output_size: (height, width) of the result in pixels. Default: that of the input.

    Returns:
        float (B, H', W', C); float32 for uint8 input, otherwise the input's dtype.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((1, 4, 4, 1), "float32"); image[0, 1, 1] = 1
        >>> shift = np.array([[[1, 0, 2], [0, 1, 0]]], "float32")
        >>> int(ops.argmax(warp_affine(image, shift)))  # row 1, column 3
        7
    """
    size = output_size or (int(images.shape[1]), int(images.shape[2]))
    return sample_bilinear(images, *_source_grid(matrix, size))


def sample_bilinear(images: Any, x: Any, y: Any) -> Any:
    """Samples images between their pixels: bilinear, 0 outside.

    Args:
        images: (B, H, W, C), float or uint8, any range.
        x: float32 (B, H', W'), columns to read, in pixels.
        y: float32 (B, H', W'), rows to read.

    Returns:
        float (B, H', W', C); float32 for uint8 input, otherwise the input's dtype.
    """
    images = ops.convert_to_tensor(images)
    dtype = keras.backend.standardize_dtype(images.dtype)
    if not dtype.startswith(("float", "bfloat")):
        dtype = "float32"
    height, width, channels = (int(n) for n in images.shape[1:])
    x_floor, y_floor = ops.floor(x), ops.floor(y)
    x_weight, y_weight = x - x_floor, y - y_floor
    # Clipped before the cast, so that all coordinates fit int32. The right neighbor of -2 is also
    # outside of the image.
    column = ops.cast(ops.clip(x_floor, -2.0, float(width)), "int32")
    row = ops.cast(ops.clip(y_floor, -2.0, float(height)), "int32")
    flat = ops.reshape(images, (-1, channels))
    start = ops.reshape(ops.arange(ops.shape(images)[0], dtype="int32"), (-1, 1, 1))
    start = start * (height * width)
    result = 0.0
    for dy, wy in ((0, 1.0 - y_weight), (1, y_weight)):
        for dx, wx in ((0, 1.0 - x_weight), (1, x_weight)):
            r, c = row + dy, column + dx
            inside = ops.logical_and(
                ops.logical_and(r >= 0, r < height), ops.logical_and(c >= 0, c < width)
            )
            index = start + ops.clip(r, 0, height - 1) * width + ops.clip(c, 0, width - 1)
            weight = ops.cast(wy * wx * ops.cast(inside, "float32"), dtype)
            corner = ops.cast(ops.take(flat, index, axis=0), dtype)
            result = result + corner * ops.expand_dims(weight, -1)
    return result


def inside_mask(matrix: Any, source_size: tuple[int, int], output_size: tuple[int, int]) -> Any:
    """Returns which target pixels of a warp read only pixels inside the source.

    Args:
        matrix: float (B, 2, 3), source pixels to target pixels.
        source_size: (height, width) in pixels.
        output_size: (height, width) in pixels.

    Returns:
        float32 (B, H', W', 1), 1 where bilinear sampling stays inside the source, else 0.
    """
    x, y = _source_grid(matrix, output_size)
    tolerance = 1e-4  # an identity warp's rounding must not mask the border
    inside = ops.logical_and(
        ops.logical_and(x >= -tolerance, x <= source_size[1] - 1 + tolerance),
        ops.logical_and(y >= -tolerance, y <= source_size[0] - 1 + tolerance),
    )
    return ops.expand_dims(ops.cast(inside, "float32"), -1)
