"""Crops faces from images of any size without aliasing."""

from __future__ import annotations

import math

import numpy as np

from keras_facealign import geometry
from keras_facealign._opencv import cv2

# Bilinear sampling reads 2 x 2 pixels around a point, so below half size it would skip pixels.
_SAFE_SCALE = 0.5


def crop_face(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Crops a square from an image; pixels outside the image are black.

    Where the crop reduces the image to less than half its size, the image is halved first until it
    does not, which prevents aliasing. Halving takes a tenth of the time of other reductions.

    Args:
        image: uint8 (H, W, 3).
        matrix: float (2, 3), image pixels to crop pixels: a similarity, such as from
            `crop_matrix`.
        size: Side of the crop in pixels.

    Returns:
        uint8 (size, size, 3).

    Example:
        >>> image = np.full((400, 400, 3), 7, np.uint8)
        >>> matrix = geometry.crop_matrix(np.array([100, 100, 200, 200]))
        >>> crop_face(image, matrix, 128).shape
        (128, 128, 3)
    """
    matrix = np.asarray(matrix, np.float64)
    times = math.ceil(math.log2(_SAFE_SCALE / math.hypot(matrix[0, 0], matrix[1, 0])) - 1e-9)
    if times > 0:
        image, place = _halve(image, matrix, size, times)
        matrix = geometry.compose(matrix, place)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _halve(
    image: np.ndarray, matrix: np.ndarray, size: int, times: int
) -> tuple[np.ndarray, np.ndarray]:
    """Halves the part of the image that is inside the crop, as often as asked.

    Returns:
        The smaller image, and the (2, 3) matrix from its pixels to those of `image`.
    """
    height, width = image.shape[:2]
    # Of an image that is smaller than a pixel of the crop, one pixel stays.
    block = 2 ** min(times, int(math.log2(min(height, width))))
    corners = np.array([[-1.0, -1.0], [size, -1.0], [size, size], [-1.0, size]])
    corners = geometry.transform_points(geometry.invert(matrix), corners)
    low, high = corners.min(axis=0) - block, corners.max(axis=0) + block + 1
    left, right = _whole_blocks(low[0], high[0], width, block)
    top, bottom = _whole_blocks(low[1], high[1], height, block)
    part = image[top:bottom, left:right]
    for _ in range(int(math.log2(block))):
        half = part.shape[1] // 2, part.shape[0] // 2
        part = cv2.resize(part, half, interpolation=cv2.INTER_AREA)
    offset = geometry.translation_matrix(np.float64(left), np.float64(top))
    return part, geometry.compose(offset, geometry.resize_matrix(block))


def _whole_blocks(low: float, high: float, side: int, block: int) -> tuple[int, int]:
    """Finds a range of whole blocks that covers another one, as far as the image reaches."""
    end = min(side, max(block, math.ceil(high)))
    count = math.ceil((end - min(low, end - 1)) / block)
    start = max(0, end - count * block)
    return start, start + (end - start) // block * block
