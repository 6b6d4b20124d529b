"""Finds labels that are right, but of other points: left and right, or two points, exchanged."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from keras_facealign.evaluation.inspection.shape_model import ShapeModel, move_onto, row_median
from keras_facealign.landmarks.guessing import guess_flips

# A face counts as exchanged if that explains at least so much of its deviation.
_EXPLAINED = 0.5
# And a pair of points if both come so near to where the other one should be.
_NEAR = 0.4


def guess_permutation(model: ShapeModel, names: tuple[str, ...] | None) -> np.ndarray | None:
    """Guesses which points a mirror image exchanges.

    Args:
        model: The shape of the faces.
        names: The landmarks' names, if they have any.

    Returns:
        int (K,), the partner of each point, itself on the symmetry line; None if less than half of
        the points have a partner.
    """
    partner = np.arange(len(model.mean))
    for guess in guess_flips(model.mean, names):
        a, b = guess.points
        partner[a], partner[b] = b, a
    paired = (partner != np.arange(len(partner))).sum()
    return partner if 2 * paired >= len(partner) else None


def swapped_faces(
    landmarks: np.ndarray, visibility: np.ndarray, model: ShapeModel, partner: np.ndarray
) -> np.ndarray:
    """Finds faces whose left and right points are exchanged, unlike those of most faces.

    Args:
        landmarks: (N, K, 2) pixels.
        visibility: (N, K), 0 where a landmark has no position.
        model: The shape of the faces.
        partner: int (K,), as of `guess_permutation`.

    Returns:
        Indices of the faces.
    """
    points = np.asarray(landmarks, np.float64) @ [1, 1j]
    points = np.where(np.asarray(visibility) > 0, points, np.nan)
    target = np.broadcast_to(model.mean @ [1, 1j], points.shape)
    own = row_median(np.abs(move_onto(points, target)[0] - target))
    other = row_median(np.abs(move_onto(points[:, partner], target)[0] - target))
    known = np.isfinite(own) & np.isfinite(other)
    usual = float(np.median(own[known])) if known.any() else 0.0
    with np.errstate(invalid="ignore"):
        return np.flatnonzero(known & (other < _EXPLAINED * own) & (own > 2 * usual))


def exchanged_points(
    points: np.ndarray, expected: np.ndarray, suspects: np.ndarray
) -> list[tuple[int, int]]:
    """Finds pairs of points of a face that lie where the other one should.

    Args:
        points: (K, 2) pixels.
        expected: (K, 2) pixels, where the model expects them.
        suspects: Numbers of the points that are far from there.

    Returns:
        The pairs.

    Example:
        >>> expected = np.array([[0.0, 0], [9, 0], [4, 9]])
        >>> exchanged_points(expected[[1, 0, 2]], expected, np.array([0, 1]))
        [(0, 1)]
    """
    pairs = []
    for a, b in combinations(suspects.tolist(), 2):
        far = min(np.linalg.norm(points[i] - expected[i]) for i in (a, b))
        near = max(np.linalg.norm(points[a] - expected[b]), np.linalg.norm(points[b] - expected[a]))
        if near < _NEAR * far:
            pairs.append((a, b))
    return pairs
