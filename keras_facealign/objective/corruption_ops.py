"""Deterministic image corruptions; all random parameters are arguments.

All functions take a batch of square images, float32 (B, S, S, 3), RGB 0 to 255, and one parameter
per image. They consist of products and comparisons, which XLA compiles on every backend. Results
may leave the range of 0 to 255; the caller clips them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops

# JFIF's luma and chroma (ITU-R BT.601), chroma around 0.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_TO_RGB = np.linalg.inv(_TO_YCC.astype(np.float64)).astype(np.float32)

# ITU-T T.81, tables K.1 (luma) and K.2 (chroma), row by row.
_LUMA_STEPS = """
16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55
14 13 16 24  40  57  69  56   14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99"""
_CHROMA_STEPS = """
17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99
24 26 56 99 99 99 99 99   47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99"""
QUANTIZATION = np.array([_LUMA_STEPS.split(), _CHROMA_STEPS.split()], np.float32)
_BLOCK = 8


def rotate_hue(images: Any, angle: Any, saturation: Any) -> Any:
    """Rotates the hue and scales the saturation; brightness (BT.601 luma) is kept.

    Args:
        images: float32 (B, S, S, 3).
        angle: float32 (B,), radians in the plane of the two chroma channels.
        saturation: float32 (B,), factor of the chroma; 0 gives gray.

    Returns:
        float32 (B, S, S, 3).
    """
    across, along = saturation * ops.cos(angle), saturation * ops.sin(angle)
    zero, one = ops.zeros_like(angle), ops.ones_like(angle)
    rotation = ops.stack(
        [
            ops.stack([one, zero, zero], axis=-1),
            ops.stack([zero, across, -along], axis=-1),
            ops.stack([zero, along, across], axis=-1),
        ],
        axis=-2,
    )
    to_ycc, to_rgb = ops.convert_to_tensor(_TO_YCC), ops.convert_to_tensor(_TO_RGB)
    matrix = ops.matmul(to_rgb, ops.matmul(rotation, to_ycc))
    flat = ops.reshape(images, (-1, int(images.shape[1]) * int(images.shape[2]), 3))
    rotated = ops.matmul(flat, ops.transpose(matrix, (0, 2, 1)))
    return ops.reshape(rotated, (-1, *images.shape[1:]))


def gaussian_matrix(sigma: Any, size: int) -> Any:
    """Makes the matrix that blurs a line of pixels by a Gaussian.

    Args:
        sigma: float32 (B,), standard deviation in pixels, above 0.
        size: Pixels of the line (S).

    Returns:
        float32 (B, S, S); every row sums to 1, so that pixels beyond the ends have no weight.
    """
    grid = ops.arange(size, dtype="float32")
    distance = ops.expand_dims(grid, 1) - ops.expand_dims(grid, 0)
    spread = ops.reshape(2.0 * ops.square(sigma), (-1, 1, 1))
    weight = ops.exp(-ops.square(distance) / spread)
    return weight / ops.sum(weight, axis=-1, keepdims=True)


def low_resolution_matrix(factor: Any, size: int) -> Any:
    """Makes the matrix that reduces the resolution of a line of pixels and enlarges it again.

    The line is averaged over cells of `factor` pixels, from its start on, and restored by linear
    interpolation between the centers of the cells.

    Args:
        factor: float32 (B,), 1 or more.
        size: Pixels of the line (S).

    Returns:
        float32 (B, S, S); every row sums to 1; the identity for a factor of 1.
    """
    factor = ops.reshape(factor, (-1, 1, 1))
    grid = ops.arange(size, dtype="float32")
    # Cell j covers [j * factor, (j + 1) * factor), pixel k covers [k, k + 1).
    start = ops.reshape(grid, (1, size, 1)) * factor
    pixel = ops.reshape(grid, (1, 1, size))
    overlap = ops.minimum(start + factor, pixel + 1.0) - ops.maximum(start, pixel)
    overlap = ops.maximum(overlap, 0.0)
    # The last cell may reach beyond the line, and then averages its pixels inside.
    inside = ops.sum(overlap, axis=-1, keepdims=True)
    down = overlap / ops.maximum(inside, 1e-6)
    position = (ops.reshape(grid, (1, size, 1)) + 0.5) / factor - 0.5
    up = ops.maximum(1.0 - ops.abs(position - pixel), 0.0)
    up = up * ops.cast(ops.transpose(inside, (0, 2, 1)) > 1e-3, "float32")
    # Beyond the centers of the first and the last cell, their values are repeated.
    up = up / ops.sum(up, axis=-1, keepdims=True)
    return ops.matmul(up, down)


def resample(images: Any, matrix: Any) -> Any:
    """Applies one matrix to all columns and all rows of an image.

    Args:
        images: float32 (B, S, S, 3).
        matrix: float32 (B, S, S), maps a line of pixels to a line of pixels.

    Returns:
        float32 (B, S, S, 3).
    """
    size = int(images.shape[1])
    # Columns first, then rows: each pass ends with a swap of the two axes.
    for _ in range(2):
        lines = ops.matmul(matrix, ops.reshape(images, (-1, size, size * 3)))
        images = ops.transpose(ops.reshape(lines, (-1, size, size, 3)), (0, 2, 1, 3))
    return images


@lru_cache
def _cosines() -> np.ndarray:
    """Returns the 64 x 64 matrix of the orthonormal cosine transform of a flattened block."""
    k, x = np.mgrid[:_BLOCK, :_BLOCK]
    line = np.cos((2 * x + 1) * k * np.pi / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    line[0] /= np.sqrt(2)
    return np.kron(line, line).astype(np.float32)


def jpeg(images: Any, quality: Any) -> Any:
    """Applies the losses of JPEG compression.

    Cosine transform of blocks of 8 x 8 pixels, coefficients rounded to multiples that grow as the
    quality falls, in luma and chroma, the chroma at full resolution (4:4:4). Sides that are not a
    multiple of 8 are padded by reflection. Source: ITU-T T.81, with the quality scale of the IJG's
    library, which nearly all software uses.

    Args:
        images: float32 (B, S, S, 3).
        quality: float32 (B,), 1 to 100.

    Returns:
        float32 (B, S, S, 3).
    """
    size = int(images.shape[1])
    blocks = -(-size // _BLOCK)
    whole = blocks * _BLOCK
    if whole > size:
        rim = (0, whole - size)
        images = ops.pad(images, ((0, 0), rim, rim, (0, 0)), mode="symmetric")
    ycc = ops.matmul(images, ops.convert_to_tensor(_TO_YCC.T.copy()))
    ycc = ops.reshape(ycc, (-1, blocks, _BLOCK, blocks, _BLOCK, 3))
    ycc = ops.reshape(ops.transpose(ycc, (0, 1, 3, 5, 2, 4)), (-1, blocks**2, 3, _BLOCK**2))
    # Luma is stored around 0 as well, which only shifts the first coefficient.
    luma = np.zeros((3, _BLOCK**2), np.float32)
    luma[0, 0] = 128.0 * _BLOCK
    middle = ops.convert_to_tensor(luma)
    cosines = ops.convert_to_tensor(_cosines())
    steps = ops.expand_dims(_steps(quality), 1)
    waves = ops.matmul(ycc, ops.transpose(cosines)) - middle
    waves = ops.round(waves / steps) * steps + middle
    ycc = ops.reshape(ops.matmul(waves, cosines), (-1, blocks, blocks, 3, _BLOCK, _BLOCK))
    ycc = ops.reshape(ops.transpose(ycc, (0, 1, 4, 2, 5, 3)), (-1, whole, whole, 3))
    rgb = ops.matmul(ycc, ops.convert_to_tensor(_TO_RGB.T.copy()))
    return rgb[:, :size, :size]


def _steps(quality: Any) -> Any:
    """Returns the quantization steps of luma and the two chroma channels, float32 (B, 3, 64)."""
    quality = ops.reshape(quality, (-1, 1, 1))
    percent = ops.where(quality < 50.0, 5000.0 / quality, 200.0 - 2.0 * quality)
    tables = ops.convert_to_tensor(QUANTIZATION[[0, 1, 1]])
    return ops.clip(ops.floor((tables * percent + 50.0) / 100.0), 1.0, 255.0)


def shape_mask(center: Any, half: Any, angle: Any, oval: Any, size: int) -> Any:
    """Returns where a rotated rectangle or ellipse covers a square frame.

    Args:
        center: float32 (B, 2), x before y, in units of the frame's side.
        half: float32 (B, 2), half the extent along the shape's own axes, in the same units.
        angle: float32 (B,), radians from the frame's x axis to the shape's.
        oval: bool (B,), True for an ellipse.
        size: Side of the frame in pixels (S).

    Returns:
        bool (B, S, S, 1), True for the pixels whose center the shape covers.
    """
    grid = (ops.arange(size, dtype="float32") + 0.5) / size

    def per_image(values: Any) -> Any:
        return ops.reshape(values, (-1, 1, 1))

    x = ops.reshape(grid, (1, 1, size)) - per_image(center[:, 0])
    y = ops.reshape(grid, (1, size, 1)) - per_image(center[:, 1])
    cos, sin = per_image(ops.cos(angle)), per_image(ops.sin(angle))
    u = ops.square((x * cos + y * sin) / per_image(half[:, 0]))
    v = ops.square((y * cos - x * sin) / per_image(half[:, 1]))
    # An ellipse holds u + v below 1, a rectangle the larger of the two; the product with 0 or 1
    # costs less than a selection.
    inside = ops.maximum(u, v) + per_image(ops.cast(oval, "float32")) * ops.minimum(u, v) < 1.0
    return ops.expand_dims(inside, -1)


def smooth_noise(colors: Any, size: int) -> Any:
    """Enlarges a coarse grid of colors by linear interpolation, to a cloudy texture.

    Args:
        colors: float32 (B, G, G, 3), the grid.
        size: Side of the texture in pixels (S).

    Returns:
        float32 (B, S, S, 3), within the range of the colors.
    """
    cells = int(colors.shape[1])
    position = np.linspace(0.0, cells - 1, size)[:, None]
    weight = np.maximum(1.0 - np.abs(position - np.arange(cells)), 0.0)
    weight = ops.convert_to_tensor(weight.astype(np.float32))
    for length in (cells, size):
        lines = ops.matmul(weight, ops.reshape(colors, (-1, cells, length * 3)))
        colors = ops.transpose(ops.reshape(lines, (-1, size, length, 3)), (0, 2, 1, 3))
    return colors
