"""Affine geometry in pixels, for NumPy arrays and Keras tensors alike.

One convention holds everywhere: an affine matrix of shape (2, 3) moves *points* from a source
frame to a target frame, `p' = M[:, :2] @ p + M[:, 2]`, with p = (x, y) in pixels, x to the right, y
down, and (0, 0) the centre of the top-left pixel. `keras_facealign.ops.warp_affine` moves the
picture along with its points when it is given the same matrix.

Functions return NumPy arrays for NumPy input and backend tensors for tensor input. They take single
matrices (2, 3) and batches (B, 2, 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = [
    "CROP_MARGIN",
    "box_overlap",
    "compose",
    "crop_matrix",
    "flip_matrix",
    "invert",
    "landmarks_box",
    "resize_matrix",
    "similarity",
    "transform_points",
    "translation_matrix",
]

# Side of the square network crop in units of the face box's longer side.
CROP_MARGIN = 1.3


def _namespace(*arrays: Any) -> Any:
    """NumPy when every argument is an array or number of NumPy's, else `keras.ops`."""
    if all(isinstance(a, (np.ndarray, np.generic, float, int, list, tuple)) for a in arrays):
        return np
    from keras import ops

    return ops


def _matrix(xp: Any, rows: tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]) -> Any:
    """Stacks six scalars or (B,) vectors into (2, 3) or (B, 2, 3)."""
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def compose(second: Any, first: Any) -> Any:
    """The matrix that applies `first`, then `second`.

    Args:
        second: float (2, 3) or (B, 2, 3).
        first: float (2, 3) or (B, 2, 3).

    Returns:
        float (2, 3) or (B, 2, 3).

    Example:
        >>> import numpy as np
        >>> shift = translation_matrix(np.float32(2), np.float32(0))
        >>> compose(shift, shift)[0, 2]
        np.float32(4.0)
    """
    xp = _namespace(second, first)
    linear = xp.matmul(second[..., :2], first[..., :2])
    offset = xp.matmul(second[..., :2], first[..., 2:]) + second[..., 2:]
    return xp.concatenate([linear, offset], axis=-1)


def invert(matrix: Any) -> Any:
    """The matrix that undoes `matrix`.

    Args:
        matrix: float (2, 3) or (B, 2, 3), not singular.

    Returns:
        float (2, 3) or (B, 2, 3).
    """
    xp = _namespace(matrix)
    a, b, tx = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    c, d, ty = matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2]
    det = a * d - b * c
    ia, ib, ic, id_ = d / det, -b / det, -c / det, a / det
    return _matrix(xp, ((ia, ib, -(ia * tx + ib * ty)), (ic, id_, -(ic * tx + id_ * ty))))


def transform_points(matrix: Any, points: Any) -> Any:
    """Moves points by an affine matrix.

    Args:
        matrix: float (2, 3), or (B, 2, 3) for a matrix an image.
        points: float (..., K, 2) or (B, K, 2), pixels, x before y.

    Returns:
        Points of the same shape in the target frame.
    """
    xp = _namespace(matrix, points)
    # Written out instead of a matmul: K x 2 by 2 x 2 products are slow and lose precision when a
    # backend runs matmuls in reduced precision.
    x, y = points[..., 0], points[..., 1]
    m = matrix[..., None, :, :]
    return xp.stack(
        [
            m[..., 0, 0] * x + m[..., 0, 1] * y + m[..., 0, 2],
            m[..., 1, 0] * x + m[..., 1, 1] * y + m[..., 1, 2],
        ],
        axis=-1,
    )


def translation_matrix(dx: Any, dy: Any) -> Any:
    """The matrix that adds (dx, dy) pixels; scalars give (2, 3), vectors (B,) give (B, 2, 3)."""
    xp = _namespace(dx, dy)
    one, zero = xp.ones_like(dx), xp.zeros_like(dx)
    return _matrix(xp, ((one, zero, dx), (zero, one, dy)))


def similarity(
    scale: Any, rotation: Any, translation: tuple[Any, Any], centre: tuple[float, float]
) -> Any:
    """Rotation and scaling about a centre, then a translation.

    Args:
        scale: Factor, scalar or (B,).
        rotation: Radians, scalar or (B,); positive turns x towards y, clockwise as seen on screen.
        translation: (dx, dy) in pixels, scalars or (B,) each, added after scaling.
        centre: (x, y) in pixels, the point that scaling and rotation leave in place.

    Returns:
        float (2, 3) or (B, 2, 3).
    """
    xp = _namespace(scale, rotation, *translation)
    cos, sin = scale * xp.cos(rotation), scale * xp.sin(rotation)
    cx, cy = centre
    return _matrix(
        xp,
        (
            (cos, -sin, cx - cos * cx + sin * cy + translation[0]),
            (sin, cos, cy - sin * cx - cos * cy + translation[1]),
        ),
    )


def flip_matrix(flip: Any, width: int) -> Any:
    """Mirrors x inside a frame of `width` pixels where `flip` is 1, and is the identity where 0.

    Args:
        flip: float 0 or 1, scalar or (B,).
        width: Width of the frame in pixels; column x goes to width - 1 - x.

    Returns:
        float (2, 3) or (B, 2, 3).
    """
    xp = _namespace(flip)
    one, zero = xp.ones_like(flip), xp.zeros_like(flip)
    return _matrix(xp, ((one - 2.0 * flip, zero, flip * (width - 1.0)), (zero, one, zero)))


def resize_matrix(scale: float) -> np.ndarray:
    """The matrix of a resize by `scale` under half-pixel centres: x' = (x + 0.5) * scale - 0.5."""
    offset = 0.5 * scale - 0.5
    return np.array([[scale, 0.0, offset], [0.0, scale, offset]], np.float32)


def landmarks_box(landmarks: np.ndarray, visibility: np.ndarray | None = None) -> np.ndarray:
    """The tight box around the landmarks that have a position.

    Args:
        landmarks: float (K, 2) in pixels.
        visibility: (K,), 0 where a landmark has no position. Default: all have one.

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
            "give a box or drop the sample."
        )
    points = points[keep]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes.

    Args:
        first: (4,): x0, y0, x1, y1 in pixels.
        second: (4,), likewise.

    Returns:
        0 to 1; 0 also where both boxes are empty.

    Example:
        >>> round(box_overlap(np.array([0, 0, 2, 2]), np.array([1, 0, 3, 2])), 3)
        0.333
    """
    # Python's floats are 64-bit: squares of pixels in float32 would lose their low digits.
    ax0, ay0, ax1, ay1 = (float(side) for side in first)
    bx0, by0, bx1, by1 = (float(side) for side in second)
    width = min(ax1, bx1) - max(ax0, bx0)
    height = min(ay1, by1) - max(ay0, by0)
    shared = max(width, 0.0) * max(height, 0.0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    return shared / union if union > 0 else 0.0


def crop_matrix(box: np.ndarray, size: int = 128, margin: float = CROP_MARGIN) -> np.ndarray:
    """From image pixels to the pixels of a square crop around a face box.

    Args:
        box: float (4,): x0, y0, x1, y1 in image pixels; tight around the landmarks.
        size: Side of the crop in pixels.
        margin: Side of the cropped square in units of the box's longer side.

    Returns:
        float32 (2, 3): scaling and translation only.

    Raises:
        FaceAlignError: If the box is not four finite numbers or has no area.

    Example:
        >>> m = crop_matrix(np.array([0, 0, 100, 100]), size=128, margin=1.28)
        >>> transform_points(m, np.array([[50.0, 50.0]])).round(3)
        array([[63.5, 63.5]])
    """
    corners = np.asarray(box, np.float64).reshape(-1)
    if corners.size != 4:
        raise FaceAlignError(f"A box is four numbers, x0, y0, x1, y1 in pixels; got {box!r}.")
    x0, y0, x1, y1 = (float(v) for v in corners)
    if not np.isfinite([x0, y0, x1, y1]).all() or x1 <= x0 or y1 <= y0:
        raise FaceAlignError(
            f"Box {[x0, y0, x1, y1]} has no area; give x0, y0, x1, y1 in pixels with x0 < x1 and "
            "y0 < y1."
        )
    scale = size / (margin * max(x1 - x0, y1 - y0))
    half = (size - 1) / 2
    return np.array(
        [
            [scale, 0.0, half - scale * (x0 + x1) / 2],
            [0.0, scale, half - scale * (y0 + y1) / 2],
        ],
        np.float32,
    )
