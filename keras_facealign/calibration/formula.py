"""Computes standard deviations and probabilities of visibility from the shape of heatmaps.

Three numbers are used. The `spread` of a landmark's heatmap is the standard deviation in pixels
of the Gaussian that covers as much of the map: a blob of probabilities p has the effective area
(sum p)^2 / sum p^2, which for a Gaussian is 4 pi s^2. The `peak` is the logit of the map's highest
probability. The `yaw asymmetry` of the face is the offset of the landmarks on its symmetry line
from the middle of the paired ones, in units of their distance: a head that turns hides the side
that it turns away.

Everything works on NumPy arrays, without Keras, and on tensors through `keras.ops`, with nothing
but sums, products and elementwise functions, which every format of exported graphs has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry.affine import array_namespace
from keras_facealign.landmarks import LandmarkScheme

MAX_KNOTS = 20
"""Most knots that the map from spread to standard deviation has."""

VISIBILITY = ("bias", "peak_weights", "spread_weights", "yaw_weights")
"""The fields of a calibration that visibility is computed from."""

# Probabilities are clipped to this distance from 0 and 1 before their logits are computed.
_EDGE = 1e-6


def _all(array: np.ndarray | None, rule: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether all numbers follow a rule; of none, they do."""
    return array is None or bool(rule(array).all())


def _constant(xp: Any, array: np.ndarray) -> Any:
    """Converts an array for the namespace: not all backends multiply tensors by NumPy's arrays."""
    array = np.asarray(array, np.float32)
    return array if xp is np else xp.convert_to_tensor(array)


def _sigmoid(x: Any) -> Any:
    xp = array_namespace(x)
    return 0.5 * (1.0 + np.tanh(0.5 * x)) if xp is np else xp.sigmoid(x)


def spread_of_heatmaps(heatmaps: Any, input_size: int) -> Any:
    """Computes the standard deviation of the Gaussian with the effective area of each heatmap.

    Args:
        heatmaps: float32 (B, M, M, K), logits.
        input_size: Side of the network's input in pixels.

    Returns:
        float32 (B, K), pixels of the input.

    Example:
        >>> flat = np.zeros((1, 8, 8, 2), np.float32)
        >>> spread_of_heatmaps(flat, 32).astype(int).tolist()  # 32 x 32 pixels are 4 pi 9.027^2
        [[9, 9]]
    """
    xp = array_namespace(heatmaps)
    probability = _sigmoid(heatmaps)
    # Means and not sums: both stay between 0 and 1, and run fast on every runtime.
    mean = xp.mean(probability, axis=(1, 2)) + 1e-9
    square = xp.mean(probability * probability, axis=(1, 2)) + 1e-18
    return (input_size / math.sqrt(4.0 * math.pi)) * mean / xp.sqrt(square)


def face_sides(scheme: LandmarkScheme) -> np.ndarray:
    """Returns the side of the face of each landmark.

    Args:
        scheme: The landmark scheme.

    Returns:
        float32 (K,): 1 on the person's right, -1 on the left, 0 on the symmetry line. Zeros for
        schemes without flip pairs or without points on the symmetry line, which do not show the
        yaw.
    """
    sides = np.zeros(scheme.num_landmarks, np.float32)
    pairs = np.asarray(scheme.flip_pairs, np.int64).reshape(-1, 2)
    if scheme.has_flip_pairs and 0 < 2 * len(pairs) < scheme.num_landmarks:
        sides[pairs[:, 0]], sides[pairs[:, 1]] = 1.0, -1.0
    return sides


def yaw_asymmetry(landmarks: Any, sides: np.ndarray) -> Any:
    """Measures how asymmetric the yaw of the head makes a face.

    Args:
        landmarks: float32 (B, K, 2), pixels.
        sides: float32 (K,), of `face_sides`.

    Returns:
        float32 (B, 1), -1 to 1: 0 for a frontal face, negative where the person's right side is
        turned away.

    Example:
        >>> face = np.array([[[0.0, 0], [10, 0], [4, 2]]], np.float32)  # right, left, middle
        >>> yaw_asymmetry(face, np.array([1, -1, 0], np.float32)).tolist()
        [[-0.10000000149011612]]
    """
    xp = array_namespace(landmarks)
    if not sides.any():
        return xp.sum(landmarks[:, :1] * 0.0, axis=-1)
    right, left, middle = (sides == 1), (sides == -1), (sides == 0)
    right, left, middle = (part / part.sum() for part in (right, left, middle))
    weights = (left - right)[:, None], (middle - (left + right) / 2)[:, None]
    across, offset = (xp.sum(landmarks * _constant(xp, w), axis=1) for w in weights)
    length = xp.sum(across * across, axis=-1, keepdims=True)
    along = xp.sum(across * offset, axis=-1, keepdims=True)
    return xp.clip(along / xp.maximum(length, 1.0), -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Maps the heatmaps of one network with one set of weights to sigma and visibility.

    The standard deviation is a piecewise linear function of the spread, the same for all landmarks,
    that never falls and is constant beyond its ends, times a factor of the landmark. The
    probability of being visible is the sigmoid of a weighted sum of peak, logarithm of the spread,
    and yaw asymmetry. A calibration on labels that do not tell what is hidden has none of the
    numbers of visibility.

    Attributes:
        scheme: Scheme of the landmarks.
        input_size: Side of the network's input in pixels.
        spreads: float32 (N,), rising; the knots, pixels.
        sigmas: float32 (N,), positive, not falling; the standard deviations there, pixels.
        factors: float32 (K,), positive.
        bias: float32 (K,); None, as the weights, without visibility.
        peak_weights: float32 (K,), not negative.
        spread_weights: float32 (K,), not positive.
        yaw_weights: float32 (K,).
        fitted_on: Description of the faces.
        fingerprint: Checksum of the network's weights, see `weights_fingerprint`.

    Raises:
        FaceAlignError: If a value is not as described.
    """

    scheme: LandmarkScheme
    input_size: int
    spreads: np.ndarray
    sigmas: np.ndarray
    factors: np.ndarray
    bias: np.ndarray | None = None
    peak_weights: np.ndarray | None = None
    spread_weights: np.ndarray | None = None
    yaw_weights: np.ndarray | None = None
    fitted_on: str = ""
    fingerprint: int = 0
    _sides: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = self.scheme.num_landmarks
        if not 1 <= self.input_size <= 4096:
            raise FaceAlignError(f"input_size is {self.input_size}; give 1 to 4096 pixels.")
        given = [getattr(self, name) is not None for name in VISIBILITY]
        if any(given) and not all(given):
            missing = VISIBILITY[given.index(False)]
            raise FaceAlignError(f"{missing} is missing; give all numbers of visibility, or none.")
        arrays = [f.name for f in fields(self) if "ndarray" in str(f.type) and f.init]
        for name in arrays if all(given) else [a for a in arrays if a not in VISIBILITY]:
            array = np.asarray(getattr(self, name), np.float32)
            knots = name in ("spreads", "sigmas")
            low, high = (2, MAX_KNOTS) if knots else (count, count)
            if array.ndim != 1 or not low <= len(array) <= high:
                number = f"{low} to {high}" if knots else count
                raise FaceAlignError(f"{name} has shape {array.shape}; it needs {number} numbers.")
            if not (np.abs(array) <= 1e4).all():
                raise FaceAlignError(f"{name} must be numbers between -10000 and 10000.")
            object.__setattr__(self, name, array)
        if len(self.spreads) != len(self.sigmas):
            raise FaceAlignError(
                f"spreads and sigmas have {len(self.spreads)} and {len(self.sigmas)} numbers; "
                "each knot needs one of both."
            )
        for name, good, rule in (
            ("spreads", (np.diff(self.spreads) > 0).all() and self.spreads[0] > 0, "rise above 0"),
            ("sigmas", (np.diff(self.sigmas) >= 0).all() and self.sigmas[0] > 0, "rise above 0"),
            ("factors", (self.factors > 0).all(), "be positive"),
            ("peak_weights", _all(self.peak_weights, lambda w: w >= 0), "not be negative"),
            ("spread_weights", _all(self.spread_weights, lambda w: w <= 0), "not be positive"),
        ):
            if not good:
                raise FaceAlignError(f"{name} must {rule}.")
        object.__setattr__(self, "_sides", face_sides(self.scheme))

    @property
    def has_visibility(self) -> bool:
        """Whether it tells which landmarks are hidden."""
        return self.bias is not None

    def __call__(self, heatmaps: Any, landmarks: Any, confidence: Any) -> dict[str, Any]:
        """Computes standard deviation and visibility of landmarks.

        Args:
            heatmaps: float32 (B, M, M, K), logits; NumPy arrays or tensors, as all arguments.
            landmarks: float32 (B, K, 2), decoded from them, in pixels of the input.
            confidence: float32 (B, K), the highest probability of each heatmap.

        Returns:
            `sigma`, float32 (B, K), the standard deviation of the landmark's position along each
            axis, in pixels of the input; and `visibility`, float32 (B, K), the probability that the
            landmark is hidden neither by the head itself nor by anything in front of it, if the
            calibration has it.
        """
        spread = spread_of_heatmaps(heatmaps, self.input_size)
        if not self.has_visibility:
            return {"sigma": self.sigma(spread)}
        asymmetry = yaw_asymmetry(landmarks, self._sides)
        return {
            "sigma": self.sigma(spread),
            "visibility": self.visibility(spread, confidence, asymmetry),
        }

    def sigma(self, spread: Any) -> Any:
        """Computes standard deviations, float32 (B, K) in pixels, from spreads (B, K) in pixels."""
        xp = array_namespace(spread)
        starts, lengths = self.spreads[:-1], np.diff(self.spreads)
        slopes = np.diff(self.sigmas) / lengths
        starts, lengths, slopes, factors = (
            _constant(xp, array) for array in (starts, lengths, slopes, self.factors)
        )
        # Each interval between knots contributes its part below the spread.
        below = xp.minimum(xp.maximum(xp.expand_dims(spread, -1) - starts, 0.0), lengths)
        return (xp.sum(below * slopes, axis=-1) + float(self.sigmas[0])) * factors

    def visibility(self, spread: Any, confidence: Any, asymmetry: Any) -> Any:
        """Computes probabilities of being visible, float32 (B, K).

        Args:
            spread: float32 (B, K), pixels.
            confidence: float32 (B, K), 0 to 1.
            asymmetry: float32 (B, 1), of `yaw_asymmetry`.

        Raises:
            FaceAlignError: If the calibration has no visibility.
        """
        weights = [getattr(self, name) for name in VISIBILITY]
        if weights[0] is None:
            raise FaceAlignError(
                "This calibration has no visibility; calibrate on labels of hidden landmarks."
            )
        xp = array_namespace(spread)
        sure = xp.clip(confidence, _EDGE, 1.0 - _EDGE)
        peak = xp.log(sure) - xp.log(1.0 - sure)
        bias, of_peak, of_spread, of_asymmetry = (_constant(xp, array) for array in weights)
        return _sigmoid(
            peak * of_peak + xp.log(spread) * of_spread + asymmetry * of_asymmetry + bias
        )
