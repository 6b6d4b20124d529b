"""Affine geometry in pixels, for NumPy arrays and Keras tensors alike.

One convention holds everywhere: an affine matrix of shape (2, 3) maps *points* from a source
frame to a target frame, `p' = M[:, :2] @ p + M[:, 2]`, with p = (x, y) in pixels, x to the right, y
down, and (0, 0) the center of the top-left pixel. `keras_facealign.ops.warp_affine` moves the
image with its points when it is given the same matrix.

Functions return NumPy arrays for NumPy input and backend tensors for tensor input. They accept
single matrices (2, 3) and batches (B, 2, 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def array_namespace(*arrays: Any) -> Any:
    """NumPy if all arguments are NumPy arrays or numbers, else `keras.ops`."""
    if all(isinstance(a, (np.ndarray, np.generic, float, int, list, tuple)) for a in arrays):
        return np
    from keras import ops

    return ops


def _matrix(xp: Any, rows: tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]) -> Any:
    """Stacks six scalars or (B,) vectors into (2, 3) or (B, 2, 3)."""
    if xp is np:
        matrix = np.array(rows)  # a tenth of the time of stacking
        return matrix if matrix.ndim == 2 else np.ascontiguousarray(np.moveaxis(matrix, 2, 0))
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def compose(second: Any, first: Any) -> Any:
    """Composes two matrices: the result applies `first`, then `second`.

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
    xp = array_namespace(second, first)
    linear = xp.matmul(second[..., :2], first[..., :2])
    offset = xp.matmul(second[..., :2], first[..., 2:]) + second[..., 2:]
    return xp.concatenate([linear, offset], axis=-1)


def invert(matrix: Any) -> Any:
    """Inverts an affine matrix.

    Args:
        matrix: float (2, 3) or (B, 2, 3), not singular.

    Returns:
        float (2, 3) or (B, 2, 3).
    """
    xp = array_namespace(matrix)
    a, b, tx = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    c, d, ty = matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2]
    det = a * d - b * c
    ia, ib, ic, id_ = d / det, -b / det, -c / det, a / det
    return _matrix(xp, ((ia, ib, -(ia * tx + ib * ty)), (ic, id_, -(ic * tx + id_ * ty))))


def transform_points(matrix: Any, points: Any) -> Any:
    """Transforms points by an affine matrix.

    Args:
        matrix: float (2, 3), or (B, 2, 3) for one matrix per image.
        points: float (..., K, 2) or (B, K, 2), pixels, x before y.

    Returns:
        Points of the same shape in the target frame.
    """
    xp = array_namespace(matrix, points)
    # A matmul would be slow for K x 2 by 2 x 2 products, and lose precision on backends that run
    # matmuls in reduced precision.
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
    xp = array_namespace(dx, dy)
    one, zero = xp.ones_like(dx), xp.zeros_like(dx)
    return _matrix(xp, ((one, zero, dx), (zero, one, dy)))


def similarity(
    scale: Any, rotation: Any, translation: tuple[Any, Any], center: tuple[float, float]
) -> Any:
    """The matrix of rotation and scaling about a center, then a translation.

    Args:
        scale: Factor, scalar or (B,).
        rotation: Radians, scalar or (B,); positive turns x towards y, clockwise as seen on screen.
        translation: (dx, dy) in pixels, scalars or (B,) each, added after scaling.
        center: (x, y) in pixels, the fixed point of scaling and rotation.

    Returns:
        float (2, 3) or (B, 2, 3).
    """
    xp = array_namespace(scale, rotation, *translation)
    cos, sin = scale * xp.cos(rotation), scale * xp.sin(rotation)
    cx, cy = center
    return _matrix(
        xp,
        (
            (cos, -sin, cx - cos * cx + sin * cy + translation[0]),
            (sin, cos, cy - sin * cx - cos * cy + translation[1]),
        ),
    )


def fit_similarity(source: Any, target: Any) -> Any:
    """Fits rotation, uniform scale and translation to pairs of points, by least squares.

    In the plane, Umeyama's estimate (IEEE TPAMI 13(4), 1991) has a closed form without a singular
    value decomposition.

    Args:
        source: float (K, 2) or (B, K, 2), pixels.
        target: float (K, 2) or (B, K, 2): where they are to be.

    Returns:
        float (2, 3) or (B, 2, 3), from source to target; not finite if all source points coincide.

    Example:
        >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> fit_similarity(square, 3 * square + 5)
        array([[ 3., -0.,  5.],
               [ 0.,  3.,  5.]])
    """
    xp = array_namespace(source, target)
    middle, goal = xp.mean(source, axis=-2), xp.mean(target, axis=-2)
    p, q = source - middle[..., None, :], target - goal[..., None, :]
    size = xp.sum(p * p, axis=(-2, -1))
    cos = xp.sum(p * q, axis=(-2, -1)) / size
    sin = xp.sum(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0], axis=-1) / size
    x, y = middle[..., 0], middle[..., 1]
    dx, dy = goal[..., 0] - (cos * x - sin * y), goal[..., 1] - (sin * x + cos * y)
    return _matrix(xp, ((cos, -sin, dx), (sin, cos, dy)))


def turn_matrix(degrees: float, center: tuple[float, float]) -> np.ndarray:
    """The matrix, float64 (2, 3), that turns about a center (x, y), clockwise on the screen.

    Example:
        >>> transform_points(turn_matrix(90, (1, 1)), np.array([[2.0, 1.0]])).round(9)
        array([[1., 2.]])
    """
    return similarity(np.float64(1), np.radians(np.float64(degrees)), (0.0, 0.0), center)


def flip_matrix(flip: Any, width: int) -> Any:
    """The matrix that mirrors x in a frame of `width` pixels if `flip` is 1, else the identity.

    Args:
        flip: float 0 or 1, scalar or (B,).
        width: Width of the frame in pixels; column x goes to width - 1 - x.

    Returns:
        float (2, 3) or (B, 2, 3).
    """
    xp = array_namespace(flip)
    one, zero = xp.ones_like(flip), xp.zeros_like(flip)
    return _matrix(xp, ((one - 2.0 * flip, zero, flip * (width - 1.0)), (zero, one, zero)))


def resize_matrix(scale: float) -> np.ndarray:
    """The matrix of a resize by `scale` under half-pixel centers: x' = (x + 0.5) * scale - 0.5."""
    offset = 0.5 * scale - 0.5
    return np.array([[scale, 0.0, offset], [0.0, scale, offset]], np.float32)
