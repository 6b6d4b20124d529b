"""Views of an image: squares of any scale and angle, without aliasing, and tiles that cover it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from keras_facealign import geometry
from keras_facealign._opencv import cv2

__all__ = ["Pyramid", "tiles"]


class Pyramid:
    """An image and its halves, quarters and so on, each made when it is first needed.

    Halving takes a tenth of the time of a reduction by any other factor, and all levels together
    a third of the image's memory. Where the half is not needed, the quarter is made of the middle
    2 x 2 of each 4 x 4 pixels: reading the image takes most of the time.

    Args:
        image: uint8 (H, W, 3), RGB.
    """

    def __init__(self, image: np.ndarray) -> None:
        self._levels = {0: image}
        self.height, self.width = image.shape[:2]

    def view(self, matrix: np.ndarray, size: int) -> np.ndarray:
        """Samples a square; what lies outside the image is black.

        Args:
            matrix: float (2, 3), a similarity from pixels of the image to pixels of the square.
            size: Side of the square in pixels.

        Returns:
            uint8 (size, size, 3).
        """
        # Bilinear sampling reads 2 x 2 pixels, so from half size on it would skip some.
        level = math.floor(-math.log2(math.hypot(matrix[0, 0], matrix[1, 0])) + 1e-9)
        level = max(0, min(level, int(math.log2(min(self.height, self.width)))))
        matrix = geometry.compose(matrix, geometry.resize_matrix(2.0**level))
        return cv2.warpAffine(self._level(level), matrix, (size, size), flags=cv2.INTER_LINEAR)

    def _level(self, level: int) -> np.ndarray:
        while level not in self._levels:
            made = max(number for number in self._levels if number < level)
            step = min(level - made, 2)
            last = self._levels[made]
            height, width = (side // 2**step for side in last.shape[:2])
            self._levels[made + step] = cv2.resize(
                last[: height * 2**step, : width * 2**step],
                (width, height),
                interpolation=cv2.INTER_AREA if step == 1 else cv2.INTER_LINEAR,
            )
        return self._levels[level]


def tiles(
    width: int, height: int, scale: float, size: int, overlap: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lists squares that cover an image.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        scale: Pixels of a square for a pixel of the image.
        size: Side of the squares in their own pixels.
        overlap: Smallest overlap of neighbors, in pixels of the squares.

    Yields:
        A matrix (2, 3) from pixels of the image to those of the square, and the part of the
        square, (4,) x0, y0, x1, y1, beyond whose sides the image goes on: a box that reaches
        across one of them is cut off. Sides where the image ends are infinite.

    Example:
        >>> [matrix[:, 2] for matrix, _ in tiles(100, 50, 1.0, 64, 20)]
        [array([0., 7.]), array([-36.,   7.])]
    """

    def starts(side: float) -> np.ndarray:
        if side < size + 0.5:
            return np.array([(side - size) / 2])  # one square, the image in its middle
        return np.linspace(0, side - size, math.ceil((side - overlap) / (size - overlap)))

    def limits(start: float, side: float) -> tuple[float, float]:
        low = -math.inf if start <= 0 else -0.5
        return low, math.inf if start + size >= side - 1e-6 else size - 0.5

    for top in starts(height * scale):
        for left in starts(width * scale):
            shift = 0.5 * scale - 0.5
            matrix = np.array([[scale, 0, shift - left], [0, scale, shift - top]])
            (x0, x1), (y0, y1) = limits(left, width * scale), limits(top, height * scale)
            yield matrix, np.array([x0, y0, x1, y1])
