"""From the shape of heatmaps to a standard deviation and a probability of being visible.

Three numbers say it all. The `spread` of a landmark's heatmap is the standard deviation in pixels
of the Gaussian that covers as much of the map: a blob of probabilities p has the effective area
(sum p)^2 / sum p^2, which for a Gaussian is 4 pi s^2. The `peak` is the logit of the map's highest
probability. The `turn` of the face is how far the landmarks on its symmetry line lie off the middle
of the paired ones, in units of their distance: a head that turns hides the side that it turns away.

Everything works on NumPy arrays, without Keras, and on tensors through `keras.ops`, with nothing
but sums, products and elementwise functions, which every format of exported graphs knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme

__all__ = ["MAX_KNOTS", "Calibration", "spread_of_heatmaps", "turn_of_faces", "turn_sides"]

MAX_KNOTS = 20
"""Most knots that the map from spread to standard deviation has."""

# A probability is held this far from 0 and 1 before its logit is taken.
_EDGE = 1e-6


def _namespace(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return np
    from keras import ops

    return ops


def _constant(xp: Any, array: np.ndarray) -> Any:
    """An array as the namespace's own kind: not all backends multiply tensors by NumPy's arrays."""
    array = np.asarray(array, np.float32)
    return array if xp is np else xp.convert_to_tensor(array)


def _sigmoid(x: Any) -> Any:
    xp = _namespace(x)
    return 0.5 * (1.0 + np.tanh(0.5 * x)) if xp is np else xp.sigmoid(x)


def spread_of_heatmaps(heatmaps: Any, input_size: int) -> Any:
    """The standard deviation of the Gaussian that covers as much of each heatmap.

    Args:
        heatmaps: float32 (B, M, M, K), logits.
        input_size: Side of the network's input in pixels.

    Returns:
        float32 (B, K), pixels of the input.

    Example:
        >>> flat = np.zeros((1, 8, 8, 2), np.float32)
        >>> spread_of_heatmaps(flat, 32).round(3).tolist()  # 32 x 32 pixels are 4 pi s^2
        [[9.027, 9.027]]
    """
    xp = _namespace(heatmaps)
    probability = _sigmoid(heatmaps)
    # Means and not sums: both stay between 0 and 1, and run fast on every runtime.
    mean = xp.mean(probability, axis=(1, 2)) + 1e-9
    square = xp.mean(probability * probability, axis=(1, 2)) + 1e-18
    return (input_size / math.sqrt(4.0 * math.pi)) * mean / xp.sqrt(square)


def turn_sides(scheme: LandmarkScheme) -> np.ndarray:
    """Which landmarks are on the person's right (1), left (-1) or neither side (0); float32 (K,).

    Only schemes that know their mirror images and have points on the symmetry line can tell how far
    a face is turned; all others give zeros.
    """
    sides = np.zeros(scheme.num_landmarks, np.float32)
    pairs = np.asarray(scheme.flip_pairs, np.int64).reshape(-1, 2)
    if scheme.has_flip_pairs and 0 < 2 * len(pairs) < scheme.num_landmarks:
        sides[pairs[:, 0]], sides[pairs[:, 1]] = 1.0, -1.0
    return sides


def turn_of_faces(landmarks: Any, sides: np.ndarray) -> Any:
    """How far faces are turned, as their landmarks show it.

    Args:
        landmarks: float32 (B, K, 2), pixels.
        sides: float32 (K,), of `turn_sides`.

    Returns:
        float32 (B, 1), -1 to 1: 0 for a frontal face, negative where the person's right side is
        turned away.

    Example:
        >>> face = np.array([[[0.0, 0], [10, 0], [4, 2]]], np.float32)  # right, left, middle
        >>> turn_of_faces(face, np.array([1, -1, 0], np.float32)).tolist()
        [[-0.10000000149011612]]
    """
    xp = _namespace(landmarks)
    if not sides.any():
        return xp.sum(landmarks[:, :1] * 0.0, axis=-1)
    right, left, middle = (sides == 1), (sides == -1), (sides == 0)
    right, left, middle = (part / part.sum() for part in (right, left, middle))
    weights = (left - right)[:, None], (middle - (left + right) / 2)[:, None]
    across, offset = (xp.sum(landmarks * _constant(xp, w), axis=1) for w in weights)
    length = xp.sum(across * across, axis=-1, keepdims=True)
    turn = xp.sum(across * offset, axis=-1, keepdims=True) / xp.maximum(length, 1.0)
    return xp.clip(turn, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the heatmaps of one network with one set of weights mean.

    The standard deviation is a piecewise linear function of the spread, the same for all landmarks,
    that never falls and is level beyond its ends, times a factor of the landmark. The probability
    of being visible is the sigmoid of a weighted sum of peak, logarithm of the spread, and turn.

    Attributes:
        scheme: What the landmarks are.
        input_size: Side of the network's input in pixels.
        spreads: float32 (N,), rising; the knots, pixels.
        sigmas: float32 (N,), positive, not falling; the standard deviations there, pixels.
        factors: float32 (K,), positive.
        bias: float32 (K,).
        peak_weights: float32 (K,), not negative.
        spread_weights: float32 (K,), not positive.
        turn_weights: float32 (K,).
        fitted_on: The faces, in words.
        fingerprint: Of the weights that it belongs to, see `weights_fingerprint`.

    Raises:
        FaceAlignError: If a value is not as described.
    """

    scheme: LandmarkScheme
    input_size: int
    spreads: np.ndarray
    sigmas: np.ndarray
    factors: np.ndarray
    bias: np.ndarray
    peak_weights: np.ndarray
    spread_weights: np.ndarray
    turn_weights: np.ndarray
    fitted_on: str = ""
    fingerprint: int = 0
    _sides: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = self.scheme.num_landmarks
        if not 1 <= self.input_size <= 4096:
            raise FaceAlignError(f"input_size is {self.input_size}; give 1 to 4096 pixels.")
        for name in (f.name for f in fields(self) if "ndarray" in str(f.type) and f.init):
            array = np.asarray(getattr(self, name), np.float32)
            knots = name in ("spreads", "sigmas")
            if array.ndim != 1 or not (
                2 <= len(array) <= MAX_KNOTS if knots else len(array) == count
            ):
                wanted = f"2 to {MAX_KNOTS}" if knots else f"{count}"
                raise FaceAlignError(f"{name} has shape {array.shape}; it takes {wanted} numbers.")
            if not (np.abs(array) <= 1e4).all():
                raise FaceAlignError(f"{name} must be numbers between -10000 and 10000.")
            object.__setattr__(self, name, array)
        if len(self.spreads) != len(self.sigmas):
            raise FaceAlignError(
                f"spreads and sigmas have {len(self.spreads)} and {len(self.sigmas)} numbers; "
                "each knot takes one of both."
            )
        for name, good, rule in (
            ("spreads", (np.diff(self.spreads) > 0).all() and self.spreads[0] > 0, "rise above 0"),
            ("sigmas", (np.diff(self.sigmas) >= 0).all() and self.sigmas[0] > 0, "rise above 0"),
            ("factors", (self.factors > 0).all(), "be positive"),
            ("peak_weights", (self.peak_weights >= 0).all(), "not be negative"),
            ("spread_weights", (self.spread_weights <= 0).all(), "not be positive"),
        ):
            if not good:
                raise FaceAlignError(f"{name} must {rule}.")
        object.__setattr__(self, "_sides", turn_sides(self.scheme))

    def __call__(self, heatmaps: Any, landmarks: Any, confidence: Any) -> dict[str, Any]:
        """Standard deviation and visibility of landmarks.

        Args:
            heatmaps: float32 (B, M, M, K), logits; NumPy arrays or tensors, as all arguments.
            landmarks: float32 (B, K, 2), decoded from them, in pixels of the input.
            confidence: float32 (B, K), the highest probability of each heatmap.

        Returns:
            `sigma`, float32 (B, K), the standard deviation of the landmark's position along each
            axis, in pixels of the input; and `visibility`, float32 (B, K), the probability that the
            landmark is hidden neither by the head itself nor by anything before it.
        """
        spread = spread_of_heatmaps(heatmaps, self.input_size)
        turn = turn_of_faces(landmarks, self._sides)
        return {
            "sigma": self.sigma(spread),
            "visibility": self.visibility(spread, confidence, turn),
        }

    def sigma(self, spread: Any) -> Any:
        """Standard deviations, float32 (B, K) in pixels, for spreads (B, K) in pixels."""
        xp = _namespace(spread)
        starts, lengths = self.spreads[:-1], np.diff(self.spreads)
        slopes = np.diff(self.sigmas) / lengths
        starts, lengths, slopes, factors = (
            _constant(xp, array) for array in (starts, lengths, slopes, self.factors)
        )
        # Every stretch between knots adds what of it lies below the spread.
        below = xp.minimum(xp.maximum(xp.expand_dims(spread, -1) - starts, 0.0), lengths)
        return (xp.sum(below * slopes, axis=-1) + float(self.sigmas[0])) * factors

    def visibility(self, spread: Any, confidence: Any, turn: Any) -> Any:
        """Probabilities of being visible, float32 (B, K).

        Args:
            spread: float32 (B, K), pixels.
            confidence: float32 (B, K), 0 to 1.
            turn: float32 (B, 1), of `turn_of_faces`.
        """
        xp = _namespace(spread)
        sure = xp.clip(confidence, _EDGE, 1.0 - _EDGE)
        peak = xp.log(sure) - xp.log(1.0 - sure)
        bias, of_peak, of_spread, of_turn = (
            _constant(xp, array)
            for array in (self.bias, self.peak_weights, self.spread_weights, self.turn_weights)
        )
        return _sigmoid(peak * of_peak + xp.log(spread) * of_spread + turn * of_turn + bias)
