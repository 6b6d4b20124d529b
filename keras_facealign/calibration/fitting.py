"""Fits a `Calibration` to the outputs of a network on labeled faces, with NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from keras_facealign.calibration.formula import MAX_KNOTS, VISIBILITY, Calibration, face_sides
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme

# Quantiles of the spread that separate bins: finer where errors are large and rise fast.
_SHARES = np.concatenate([np.linspace(0.0, 0.9, 15), [0.93, 0.96, 0.98, 0.99, 1.0]])
# Number of imaginary landmarks with a factor of 1, which regularizes the factors.
_FACTOR_PRIOR = 20.0
# Strength of the pull of a landmark's logistic weights towards those of all landmarks: the inverse
# variance of weights for features of unit variance.
_WEIGHT_PRIOR = 5.0
_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Observations:
    """Outputs of a network for faces, and their errors against labels.

    Attributes:
        scheme: Scheme of the landmarks.
        input_size: Side of the network's input in pixels, the unit of all lengths.
        spread: float32 (N, K), of the heatmaps.
        confidence: float32 (N, K), highest probability of the heatmaps.
        yaw_asymmetry: float32 (N, 1), of the faces.
        errors: float32 (N, K), distance of landmark and label; NaN where there is no label to
            compare with.
        unregistered: float32 (N, K), the same before labels were moved onto the prediction.
        visibility: int32 (N, K), 0 hidden by the head itself, 1 behind something, 2 visible, -1
            where the label does not tell.
        face: int32 (N,), number of the row's face; several rows may be views of one face.
        left_out: Rows without any error, because the labels do not fit the prediction.
    """

    scheme: LandmarkScheme
    input_size: int
    spread: np.ndarray
    confidence: np.ndarray
    yaw_asymmetry: np.ndarray
    errors: np.ndarray
    unregistered: np.ndarray
    visibility: np.ndarray
    face: np.ndarray
    left_out: int = 0

    @property
    def faces(self) -> int:
        """Number of different faces."""
        return len(np.unique(self.face))


def fit_calibration(seen: Observations, fitted_on: str = "", fingerprint: int = 0) -> Calibration:
    """Fits the calibration under which the observations are most likely.

    The standard deviation is fitted by isotonic regression of squared errors on the spread, in
    bins, alternating with the estimation of a factor for each landmark. Visibility is fitted by a
    logistic regression for all landmarks and then one for each, regularized towards the former.
    Landmarks that are mirror images of each other share their numbers. Where no landmark is labeled
    as hidden, or none as visible, the calibration has no visibility.

    Args:
        seen: Faces that the network was not trained on, each as often mirrored as not.
        fitted_on: Description of these faces.
        fingerprint: Checksum of the network's weights, see `weights_fingerprint`.

    Returns:
        The calibration.

    Raises:
        FaceAlignError: If there are too few landmarks, or their heatmaps are all alike.
    """
    known = np.isfinite(seen.errors)
    if known.sum() < 50 * MAX_KNOTS:
        raise FaceAlignError(
            f"There are {int(known.sum())} landmarks with an error to calibrate on; give faces "
            f"with at least {50 * MAX_KNOTS}."
        )
    told = seen.visibility >= 0
    visible = seen.visibility == 2
    both = visible.any() and (told & ~visible).any()
    weights = _fit_visibility(seen, visible, told).T if both else (None,) * len(VISIBILITY)
    return Calibration(
        seen.scheme,
        seen.input_size,
        *_fit_sigma(seen, known),
        **dict(zip(VISIBILITY, weights, strict=True)),
        fitted_on=fitted_on,
        fingerprint=fingerprint,
    )


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes the nondecreasing sequence nearest to values in weighted least squares.

    Pool adjacent violators (Ayer et al., 1955): decreasing neighbors are replaced by their mean.

    Args:
        values: float (N,).
        weights: float (N,), positive.

    Returns:
        float64 (N,).

    Example:
        >>> isotonic(np.array([1.0, 3, 2, 4]), np.ones(4)).tolist()
        [1.0, 2.5, 2.5, 4.0]
    """
    pools: list[list[float]] = []  # mean, weight and length of each
    for value, weight in zip(values, weights, strict=True):
        pools.append([float(value), float(weight), 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, mass, length = pools.pop()
            below = pools[-1]
            total = below[1] + mass
            below[:] = [(below[0] * below[1] + mean * mass) / total, total, below[2] + length]
    return np.repeat([p[0] for p in pools], [int(p[2]) for p in pools])


def _fit_sigma(seen: Observations, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns knots, values there, and factors of the landmarks."""
    # A squared distance is the sum over both axes.
    variance = np.where(known, np.nan_to_num(seen.errors) ** 2 / 2, 0.0).astype(np.float64)
    order = np.argsort(seen.spread[known], kind="stable")
    borders = np.unique(np.round(_SHARES * len(order)).astype(int))
    bins = [order[a:b] for a, b in pairwise(borders)]
    sorted_spread = seen.spread[known].astype(np.float64)
    centers = np.array([sorted_spread[part].mean() for part in bins])
    counts = np.array([len(part) for part in bins], float)
    # Spreads of many landmarks can be equal, for example of empty maps.
    different = np.append(True, np.diff(centers) > 1e-4)
    if different.sum() < 2:
        raise FaceAlignError(
            "All heatmaps have the same spread, so nothing can be calibrated; check the "
            "preset's weights."
        )
    mirror = seen.scheme.flip_permutation
    factors = np.ones(seen.scheme.num_landmarks)
    squares = np.ones(len(bins))
    for _ in range(_ROUNDS):
        rest = (variance / factors**2)[known]
        squares = isotonic(np.array([rest[part].mean() for part in bins]), counts)
        squares = np.maximum(squares, 1e-4)
        expected = np.interp(seen.spread, centers[different], np.sqrt(squares[different])) ** 2
        ratio = np.where(known, variance / expected, 0.0).sum(axis=0)
        number = known.sum(axis=0)
        factors = np.sqrt(
            (ratio + ratio[mirror] + _FACTOR_PRIOR) / (number + number[mirror] + _FACTOR_PRIOR)
        )
    return centers[different], np.sqrt(squares[different]), factors


def _fit_visibility(seen: Observations, visible: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Returns bias and weights of peak, log spread and yaw asymmetry, float64 (K, 4)."""
    sides = face_sides(seen.scheme)
    sure = np.clip(seen.confidence, 1e-6, 1 - 1e-6).astype(np.float64)
    features = np.stack(
        [np.log(sure / (1 - sure)), -np.log(seen.spread), seen.yaw_asymmetry * sides], axis=-1
    )
    flat = features[told]
    mean, scale = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)
    features = (features - mean) / scale
    everyone = fit_logistic(features[told], visible[told], np.zeros(4), 1.0)
    weights = np.empty((seen.scheme.num_landmarks, 4))
    mirror = seen.scheme.flip_permutation
    for k, twin in enumerate(mirror):
        both = sorted({k, int(twin)})
        these = told[:, both]
        x, y = features[:, both][these], visible[:, both][these]
        weights[k] = fit_logistic(x, y, everyone, _WEIGHT_PRIOR)
    # Undoes the standardization of the features.
    weights[:, 1:] /= scale
    weights[:, 0] -= weights[:, 1:] @ mean
    weights[:, 2] *= -1.0
    weights[:, 3] *= sides
    return weights


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, prior: np.ndarray, strength: float
) -> np.ndarray:
    """Fits a logistic regression whose first two weights are not negative.

    Newton's method on the log-likelihood minus strength / 2 times the squared distance from the
    prior. A weight that would become negative is set to zero, and the others are fitted again.

    Args:
        features: float (N, F), of about unit variance.
        labels: bool (N,).
        prior: float (F + 1,), bias first.
        strength: Positive.

    Returns:
        float64 (F + 1,), bias first.
    """
    x = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    weights, free = prior.astype(np.float64), np.ones(len(prior), bool)
    while True:
        for _ in range(50):
            p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
            slope = x.T @ (p - labels) + strength * (weights - prior)
            curvature = (x.T * (p * (1 - p))) @ x + strength * np.eye(len(weights))
            step = np.zeros(len(weights))
            step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
            # Far from the optimum a Newton step may be too long.
            weights = weights - np.clip(step, -2.0, 2.0)
            if np.abs(step).max() < 1e-8:
                break
        negative = np.isin(np.arange(len(weights)), (1, 2)) & (weights < 0)
        if not negative.any():
            return weights
        weights[negative], free[negative] = 0.0, False
