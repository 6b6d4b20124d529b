"""Face boxes, (x0, y0, x1, y1) in pixels, and the square crops around them."""

from __future__ import annotations

import numpy as np

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry.affine import compose, turn_matrix

# Side of the square network crop in units of the face box's longer side.
CROP_SCALE = 1.3


def landmarks_box(landmarks: np.ndarray, visibility: np.ndarray | None = None) -> np.ndarray:
    """Computes the tight box around the landmarks that have a position.

    Args:
        landmarks: float (K, 2) in pixels.
        visibility: (K,), 0 where a landmark has no position. Default: all have a position.

    Returns:
        float32 (4,): x0, y0, x1, y1.

    Raises:
        FaceAlignError: If no landmark has a finite position.
    """
    points = np.asarray(landmarks, np.float32)
    keep = np.isfinite(points).all(axis=-1)
    if visibility is not None:
        keep &= np.asarray(visibility) > 0
    if not keep.any():
        raise FaceAlignError(
            "No landmark has a finite position, so there is no box around them; "
            "give a box or leave the sample out."
        )
    points = points[keep]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Computes the intersection over union of two boxes.

    Args:
        first: (4,): x0, y0, x1, y1 in pixels.
        second: (4,): x0, y0, x1, y1 in pixels.

    Returns:
        0 to 1; 0 if both boxes are empty.

    Example:
        >>> round(box_overlap(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])), 3)
        0.333
    """
    # In float32, products of pixel coordinates would lose precision.
    ax0, ay0, ax1, ay1 = (float(side) for side in first)
    bx0, by0, bx1, by1 = (float(side) for side in second)
    width = min(ax1, bx1) - max(ax0, bx0)
    height = min(ay1, by1) - max(ay0, by0)
    shared = max(width, 0.0) * max(height, 0.0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    return shared / union if union > 0 else 0.0


@renamed_arguments(margin="crop_scale")
def crop_matrix(
    box: np.ndarray, size: int = 128, crop_scale: float = CROP_SCALE, roll: float = 0.0
) -> np.ndarray:
    """Makes the matrix from image pixels to the pixels of a square crop around a face box.

    Args:
        box: float (4,): x0, y0, x1, y1 in image pixels; tight around the landmarks.
        size: Side of the crop in pixels.
        crop_scale: Side of the cropped square in units of the box's longer side.
        roll: Degrees by which box and square are turned about the box's center, clockwise on the
            screen: a face that leans by this angle is upright in the crop.

    Returns:
        float32 (2, 3): scaling and translation, and rotation unless `roll` is 0.

    Raises:
        FaceAlignError: If the box is not four finite numbers or has no area.

    Example:
        >>> from keras_facealign.geometry import transform_points
        >>> m = crop_matrix(np.array([0, 0, 100, 100]), size=128, crop_scale=1.28)
        >>> transform_points(m, np.array([[50.0, 50.0]])).round(3)
        array([[63.5, 63.5]])
    """
    corners = np.asarray(box, np.float64).ravel()
    if corners.size != 4:
        raise FaceAlignError(f"A box is four numbers, x0, y0, x1, y1 in pixels; got {box!r}.")
    x0, y0, x1, y1 = (float(v) for v in corners)
    if not np.isfinite([x0, y0, x1, y1]).all() or x1 <= x0 or y1 <= y0:
        raise FaceAlignError(
            f"Box {[x0, y0, x1, y1]} has no area; give x0, y0, x1, y1 in pixels with x0 < x1 and "
            "y0 < y1."
        )
    scale = size / (crop_scale * max(x1 - x0, y1 - y0))
    half = (size - 1) / 2
    matrix = np.array(
        [
            [scale, 0.0, half - scale * (x0 + x1) / 2],
            [0.0, scale, half - scale * (y0 + y1) / 2],
        ]
    )
    if roll:
        matrix = compose(turn_matrix(-roll, (half, half)), matrix)
    return matrix.astype(np.float32)
