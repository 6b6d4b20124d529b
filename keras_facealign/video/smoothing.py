"""Smooths the landmarks of a video with the One-Euro filter, adapted to faces.

Source: Casiez, Roussel and Vogel, 1€ Filter, CHI 2012: a low-pass filter whose cutoff rises with
speed, because jitter is visible at low speed and lag at high speed. It is applied twice here. The
motion common to all landmarks (shift, rotation, scaling) can be estimated far more precisely than
that of a single one; so each landmark is first smoothed *relative to the face*, which adds no lag
when the head moves, and then the face as a whole. The cutoff of the first filter decreases with the
landmark's confidence, because less confident landmarks jitter more.

Speeds are in face sizes per second, so that one setting fits faces of every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from keras_facealign.errors import FaceAlignError

# Lower confidences count as this, so that no landmark is frozen.
_LEAST_CONFIDENCE = 0.05


@dataclass(frozen=True)
class Smoothing:
    """Settings of the landmark smoothing. `benchmarks/video.py` measured the defaults.

    Cutoffs are in hertz; a lower one means less jitter. The cutoff of a landmark within the face is
    `(min_cutoff + beta * speed) * confidence ** confidence_power`, with its speed relative to the
    face; that of the face is `face_min_cutoff + face_beta * speed`. A higher beta means less lag.

    Args:
        min_cutoff: Of a landmark with confidence 1 that does not move relative to the face, in
            hertz.
        beta: Increase of the cutoff for a speed of one face size per second, in hertz.
        derivative_cutoff: Of the low-pass filter that estimates a landmark's speed, in hertz.
        face_min_cutoff: Of a face that does not move, in hertz.
        face_beta: Increase of the cutoff for a face that moves by its size per second, in hertz.
        face_derivative_cutoff: Of the low-pass filter that estimates the face's speed, in hertz.
        confidence_power: Influence of the confidence; with 0 all landmarks are smoothed equally.

    Raises:
        FaceAlignError: If a value is negative or not finite, or a cutoff is 0.

    Example:
        >>> Smoothing(min_cutoff=1.0).face_beta
        80.0
    """

    min_cutoff: float = 0.5
    beta: float = 20.0
    derivative_cutoff: float = 2.0
    face_min_cutoff: float = 0.7
    face_beta: float = 80.0
    face_derivative_cutoff: float = 1.0
    confidence_power: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            may_be_zero = not item.name.endswith("cutoff")
            if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
                raise FaceAlignError(
                    f"Smoothing: {item.name} is {value}; give a finite number "
                    + ("of at least 0" if may_be_zero else "above 0")
                )


DEFAULT_SMOOTHING = Smoothing()
"""The default settings."""


class OneEuroFilter:
    """Smooths the landmarks of one face over time, in constant memory.

    Args:
        smoothing: The settings.

    Example:
        >>> smooth = OneEuroFilter()
        >>> points = np.random.default_rng(0).uniform(0, 100, (68, 2))
        >>> smooth(points, time=0.0).shape
        (68, 2)
    """

    def __init__(self, smoothing: Smoothing = DEFAULT_SMOOTHING) -> None:
        self.smoothing = smoothing
        self.reset()

    def reset(self) -> None:
        """Resets the state: the next landmarks are returned unchanged."""
        self._time = -math.inf
        # All complex (K,): the last landmarks; the same smoothed relative to the face; the output;
        # the velocity of each landmark relative to the face, and that due to the face's motion.
        self._raw: np.ndarray | None = None
        self._shape = self._smoothed = np.empty(0, complex)
        self._velocity = self._face_velocity = np.empty(0, complex)

    def __call__(
        self, landmarks: np.ndarray, time: float, confidence: np.ndarray | None = None
    ) -> np.ndarray:
        """Smooths the landmarks of the next frame.

        Args:
            landmarks: (K, 2), pixels.
            time: Seconds; must increase from call to call.
            confidence: (K,), 0 to 1. Default: 1 for all.

        Returns:
            float64 (K, 2).

        Raises:
            FaceAlignError: If time does not increase, the number of landmarks changes, they are
                not finite (K, 2), or the confidence has another length.
        """
        points = np.asarray(landmarks, np.float64)
        weight = np.ones(len(points)) if confidence is None else np.asarray(confidence, np.float64)
        problem = None
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            problem = f"landmarks of shape {points.shape} are not finite (K, 2); skip the frame"
        elif weight.shape != (len(points),):
            problem = f"confidence has shape {weight.shape}; give ({len(points)},)"
        elif self._raw is not None and len(points) != len(self._raw):
            problem = (
                f"{len(points)} landmarks after {len(self._raw)}; use one filter for each face, or "
                "reset it"
            )
        elif not time > self._time:
            problem = f"time {time} does not follow {self._time}; give increasing seconds"
        if problem:
            raise FaceAlignError(f"OneEuroFilter: {problem}")
        # Complex numbers: a rotation with scaling is a product.
        now = points[:, 0] + 1j * points[:, 1]
        if self._raw is None:
            self._shape = self._smoothed = now
            self._velocity = self._face_velocity = np.zeros_like(now)
        else:
            size = max(float(np.ptp(points, axis=0).max()), 1e-6)
            self._advance(now, self._raw, time - self._time, size, weight)
        self._raw, self._time = now, time
        return np.stack([np.real(self._smoothed), np.imag(self._smoothed)], axis=-1)

    def _advance(
        self, now: np.ndarray, before: np.ndarray, step: float, size: float, confidence: np.ndarray
    ) -> None:
        """Advances both filters by one step.

        Args:
            now: complex (K,), the landmarks of this frame.
            before: complex (K,), those of the frame before.
            step: Seconds between the two.
            size: Of the face in pixels.
            confidence: (K,), 0 to 1.
        """
        settings = self.smoothing
        turn, shift = fit_similarity(before, now)
        carried = turn * before + shift

        share = _share(settings.derivative_cutoff, step)
        self._velocity = self._velocity + share * ((now - carried) / step - self._velocity)
        speed = np.abs(self._velocity) / size
        weight = np.clip(confidence, _LEAST_CONFIDENCE, 1.0) ** settings.confidence_power
        cutoff = (settings.min_cutoff + settings.beta * speed) * weight
        # The smoothed landmarks move with the face; only their motion relative to it is smoothed.
        moved = turn * self._shape + shift
        self._shape = moved + _share(cutoff, step) * (now - moved)

        share = _share(settings.face_derivative_cutoff, step)
        self._face_velocity = self._face_velocity + share * (
            (carried - before) / step - self._face_velocity
        )
        face_speed = math.sqrt(float(np.mean(np.abs(self._face_velocity) ** 2))) / size
        face_cutoff = settings.face_min_cutoff + settings.face_beta * face_speed
        # The present shape at the smoothed face's last place, moved towards its present place.
        turn, shift = fit_similarity(self._shape, self._smoothed)
        held = turn * self._shape + shift
        self._smoothed = held + _share(face_cutoff, step) * (self._shape - held)


def fit_similarity(source: np.ndarray, target: np.ndarray) -> tuple[complex, complex]:
    """Fits a rotation with scaling, and a shift, by least squares.

    Args:
        source: complex (K,), points x + iy.
        target: complex (K,), where they are to be mapped.

    Returns:
        Factor and summand of the map.

    Example:
        >>> factor, shift = fit_similarity(np.array([0, 1, 1j]), np.array([2, 2 + 2j, 0]))
        >>> bool(np.allclose([factor, shift], [2j, 2]))
        True
    """
    a, b = source - source.mean(), target - target.mean()
    size = float(np.vdot(a, a).real)
    turn = complex(np.vdot(a, b) / size) if size > 1e-12 else 1.0 + 0.0j
    return turn, complex(target.mean() - turn * source.mean())


def _share(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Computes the weight of the newest value in a first-order low-pass, for a cutoff in hertz."""
    turns = 2 * math.pi * cutoff * step
    return turns / (turns + 1.0)
