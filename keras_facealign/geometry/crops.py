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

    If the crop reduces the image to less than half its size, the image is first averaged down to
    twice the crop's resolution, which prevents aliasing.

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
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < _SAFE_SCALE:
        image, reduction = _reduce(image, matrix, size, scale / _SAFE_SCALE)
        matrix = geometry.compose(matrix, geometry.invert(reduction))
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )


def _reduce(
    image: np.ndarray, matrix: np.ndarray, size: int, factor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Averages the part of the image that is inside the crop down by about `factor`.

    Returns:
        The smaller image, and the (2, 3) matrix from pixels of `image` to its pixels.
    """
    height, width = image.shape[:2]
    corners = np.array([[-1.0, -1.0], [size, -1.0], [size, size], [-1.0, size]])
    corners = geometry.transform_points(geometry.invert(matrix), corners)
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    # One more pixel of the smaller image on each side, so that its border averages whole pixels.
    border = 1 / factor
    left, top = max(0, math.floor(x0 - border)), max(0, math.floor(y0 - border))
    right, bottom = min(width, math.ceil(x1 + border) + 1), min(height, math.ceil(y1 + border) + 1)
    # A crop that barely overlaps the image still needs a strip of one pixel.
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = image[top:bottom, left:right]
    small_width = max(1, round(part.shape[1] * factor))
    small_height = max(1, round(part.shape[0] * factor))
    small = cv2.resize(part, (small_width, small_height), interpolation=cv2.INTER_AREA)
    scale_x, scale_y = small_width / part.shape[1], small_height / part.shape[0]
    # Half-pixel centers: x' = (x - left + 0.5) * scale - 0.5.
    reduction = np.array(
        [
            [scale_x, 0.0, (0.5 - left) * scale_x - 0.5],
            [0.0, scale_y, (0.5 - top) * scale_y - 0.5],
        ]
    )
    return small, reduction
