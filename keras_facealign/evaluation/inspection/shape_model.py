"""A robust model of the shape of a set's faces, and how far each label lies from it.

Faces are moved, scaled and turned onto a mean shape. What differs then is pose, expression and
person, which a few components describe, and wrong labels, which they do not. All fits give
points that are far off little weight, so that a wrong label neither moves its neighbors nor
becomes a component of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_facealign.landmarks.guessing import shape_of

MIN_FACES, MIN_LANDMARKS = 10, 3
"""Fewer faces, or faces of fewer points, tell nothing about their shape."""

# Faces that the mean shape and the components are computed from.
_SAMPLED = 2000
_FIRST_SAMPLED = 300
_ROUNDS, _MEAN_ROUNDS, _FITS = 10, 4, 2
# Points lose weight from so many usual distances on.
_SCALE = 2.5
_MOST_COMPONENTS, _FACES_PER_COMPONENT, _POINTS_PER_COMPONENT = 10, 15, 4
# Deviations beyond so many typical ones do not shape the components.
_CLIPPED = 4.0
# Least typical deviation, in percent of the face.
_FLOOR = 0.2


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """The shape of a set of faces, in percent of the longer side of the mean shape.

    Attributes:
        mean: float64 (K, 2), the mean shape about the origin; NaN for points no face has.
        expected: float64 (N, K, 2), where the model expects each point, moved back into the
            face's pixels; NaN for faces without enough points.
        deviations: float64 (N, K), distance of each label from there; NaN without a label.
        typical: float64 (K,), the usual deviation of each landmark.
        components: Number of components.
    """

    mean: np.ndarray
    expected: np.ndarray
    deviations: np.ndarray
    typical: np.ndarray
    components: int

    @property
    def scores(self) -> np.ndarray:
        """float64 (N, K): the deviations in units of the landmark's usual one."""
        return self.deviations / self.typical

    @property
    def face_scores(self) -> np.ndarray:
        """float64 (N,): the median of a face's scores; NaN without enough points."""
        return row_median(self.scores)


def fit_shapes(landmarks: np.ndarray, visibility: np.ndarray) -> ShapeModel | None:
    """Fits the model to a set of faces.

    Args:
        landmarks: (N, K, 2) pixels.
        visibility: (N, K), 0 where a landmark has no position.

    Returns:
        The model; None if there are too few faces or points.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> faces = np.array([[0, 0], [9, 0], [4, 9]]) + rng.normal(0, 0.1, (20, 3, 2))
        >>> model = fit_shapes(faces, np.ones((20, 3)))
        >>> model.mean.shape, bool((model.deviations < 10).all())
        ((3, 2), True)
    """
    points = np.asarray(landmarks, np.float64) @ [1, 1j]
    points = np.where(np.asarray(visibility) > 0, points, np.nan)
    enough = np.isfinite(points).sum(axis=1) >= MIN_LANDMARKS
    if enough.sum() < MIN_FACES:
        return None
    used = points[enough]
    mean = _mean_shape(used)
    shape = mean[np.isfinite(mean)]
    if len(shape) < MIN_LANDMARKS or not np.ptp(np.real(shape)) + np.ptp(np.imag(shape)) > 0:
        return None
    moved, factor, offset = move_onto(used, np.broadcast_to(mean, used.shape))
    basis, variances = _components(moved - mean)
    model = mean + _describe(moved - mean, basis, variances)
    for _ in range(_FITS):
        moved, factor, offset = move_onto(used, model)
        model = mean + _describe(moved - mean, basis, variances)
    side = max(np.ptp(np.real(shape)), np.ptp(np.imag(shape)))
    deviations = np.full(points.shape, np.nan)
    deviations[enough] = 100 * np.abs(moved - model) / side
    expected = np.full(points.shape, complex(np.nan, np.nan))
    expected[enough] = (model - offset) / factor
    typical = row_median(deviations.T)
    typical = np.maximum(np.nan_to_num(typical, nan=_FLOOR), _FLOOR)
    return ShapeModel(_pairs(mean), _pairs(expected), deviations, typical, len(basis))


def _pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([np.real(values), np.imag(values)], axis=-1)


def row_median(values: np.ndarray) -> np.ndarray:
    """The median of the known values of each row; NaN where there are none."""
    result = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    result[some] = np.nanmedian(np.where(np.isfinite(values), values, np.nan)[some], axis=1)
    return result


def _spread(count: int, limit: int) -> np.ndarray:
    """At most `limit` of the first `count` numbers, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(int))


def _mean_shape(points: np.ndarray) -> np.ndarray:
    """The mean shape (K,), complex: the median of the moved faces, which outliers do not move."""
    first = points[_spread(len(points), _FIRST_SAMPLED)]
    mean = shape_of(_pairs(np.nan_to_num(first)), np.isfinite(first)) @ [1, 1j]
    points = points[_spread(len(points), _SAMPLED)]
    for _ in range(_MEAN_ROUNDS):
        moved, _, _ = move_onto(points, np.broadcast_to(mean, points.shape))
        mean = row_median(np.real(moved).T) + 1j * row_median(np.imag(moved).T)
        known = mean[np.isfinite(mean)]
        mean = (mean - known.mean()) / max(float(np.abs(known - known.mean()).std()), 1e-9)
        known = mean[np.isfinite(mean)]
        mean = mean / max(float(np.sqrt((np.abs(known) ** 2).mean())), 1e-9)
    return mean


def move_onto(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moves, scales and turns faces onto others; points that do not fit get little weight.

    Args:
        points: complex (N, K), NaN where there is no position.
        target: complex (N, K).

    Returns:
        The moved points, complex (N, K); factor and offset, complex (N, 1), that moved them.
    """
    known = np.isfinite(points) & np.isfinite(target)
    z, t = np.where(known, points, 0), np.where(known, target, 0)
    weights = known.astype(np.float64)
    factor = offset = np.zeros((len(points), 1), complex)
    for _ in range(_ROUNDS):
        total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        center = (weights * z).sum(axis=1, keepdims=True) / total
        goal = (weights * t).sum(axis=1, keepdims=True) / total
        p, q = z - center, t - goal
        size = np.maximum((weights * np.abs(p) ** 2).sum(axis=1, keepdims=True), 1e-12)
        factor = (weights * np.conj(p) * q).sum(axis=1, keepdims=True) / size
        factor = np.where(np.abs(factor) > 1e-9, factor, 1e-9)
        offset = goal - factor * center
        weights = known * _weights(np.where(known, np.abs(factor * z + offset - t), np.nan))
    return factor * points + offset, factor, offset


def _weights(distances: np.ndarray) -> np.ndarray:
    """Weights (N, K) that fall fast beyond the usual distance of a face's points, and of all."""
    known = distances[np.isfinite(distances)]
    all_faces = float(np.median(known)) if known.size else 0.0
    usual = np.maximum(np.nan_to_num(row_median(distances)), max(all_faces, 1e-9))[:, None]
    return 1.0 / (1.0 + (np.nan_to_num(distances) / (_SCALE * usual)) ** 2) ** 2


def _components(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions (C, K), complex, in which shapes differ most, and the variances (C,)."""
    count, landmarks = residuals.shape
    number = min(
        _MOST_COMPONENTS, count // _FACES_PER_COMPONENT, landmarks // _POINTS_PER_COMPONENT
    )
    if number < 1:
        return np.zeros((0, landmarks), complex), np.zeros(0)
    residuals = residuals[_spread(count, _SAMPLED)]
    limit = np.nan_to_num(_CLIPPED * row_median(np.abs(residuals).T), nan=0.0)
    size = np.abs(np.nan_to_num(residuals))
    clipped = np.nan_to_num(residuals) * np.minimum(1.0, limit / np.maximum(size, 1e-12))
    flat = np.concatenate([np.real(clipped), np.imag(clipped)], axis=1)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    chosen = vectors[:, ::-1][:, :number].T
    return chosen[:, :landmarks] + 1j * chosen[:, landmarks:], values[::-1][:number]


def _describe(residuals: np.ndarray, basis: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """What the components say about the residuals (N, K), complex, of each face."""
    if not len(basis):
        return np.zeros(residuals.shape, complex)
    known = np.isfinite(residuals)
    values = np.where(known, residuals, 0)
    weights = known.astype(np.float64)
    described = np.zeros(residuals.shape, complex)
    for _ in range(_ROUNDS):
        left = np.where(known, np.abs(values - described), np.nan)
        noise = np.nanmedian(left) ** 2 + 1e-12
        weights = known * _weights(left)
        # As many numbers as components for each face, pulled to zero as far as they vary little.
        normal = np.einsum("ck,nk,dk->ncd", basis, weights, np.conj(basis)).real
        normal = normal + np.diag(noise / np.maximum(variances, 1e-12))
        right = np.einsum("ck,nk->nc", np.conj(basis), weights * values).real
        factors = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        described = factors @ basis
    return described
