"""The One-Euro filter for faces: landmarks of a video that stand still when the face does, and keep
up with it when it moves.

Source: Casiez, Roussel and Vogel, 1€ Filter, CHI 2012: a low-pass filter whose cut-off rises with
speed, because jitter is seen where things are slow and lag where they are fast. It is applied twice
here. The motion that all landmarks share (shift, rotation, scaling) is known far better than that
of any one of them; so each landmark is first smoothed *relative to the face*, which costs no lag
when the head moves, and then the face as a whole. The cut-off of the first falls with the
landmark's confidence: what the network is less sure of jitters more, and is smoothed more.

Speeds are in sizes of the face, so that one setting suits faces near and far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["DEFAULT_SMOOTHING", "OneEuroFilter", "Smoothing"]

# A landmark of less confidence than this is smoothed as one of this: it is never frozen.
_LEAST_CONFIDENCE = 0.05


@dataclass(frozen=True)
class Smoothing:
    """How strongly landmarks are smoothed. `benchmarks/video.py` measured the defaults.

    Cut-offs are in hertz; a lower one means less jitter. The cut-off of a landmark within the face
    is `(min_cutoff + beta * speed) * confidence ** confidence_power`, with its speed relative to
    the face; that of the face is `face_min_cutoff + face_beta * speed`. A higher beta means less
    lag.

    Args:
        min_cutoff: Hertz, of a sure landmark that stands still in the face.
        beta: Hertz for a speed of one face size a second, as when an eye blinks.
        derivative_cutoff: Hertz, of the low-pass that estimates a landmark's speed.
        face_min_cutoff: Hertz, of a face that stands still.
        face_beta: Hertz for a face that moves by its size in a second.
        face_derivative_cutoff: Hertz, of the low-pass that estimates the face's speed.
        confidence_power: How much confidence matters; with 0 all landmarks are smoothed alike.

    Raises:
        FaceAlignError: If a value is negative or not finite, or a cut-off is 0.
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
"""The settings that are used where none are given."""


class OneEuroFilter:
    """Smooths the landmarks of one face over time; what it remembers does not grow.

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
        """Forgets the past: the next landmarks come out as they go in."""
        self._time = -math.inf
        self._raw: np.ndarray | None = None  # complex (K,), as all that follow
        self._shape = np.empty(0, complex)  # where the face is now, smoothed relative to it
        self._smoothed = np.empty(0, complex)
        self._velocity = np.empty(0, complex)  # of each landmark relative to the face
        self._face_velocity = np.empty(0, complex)  # that the motion of the face gives a landmark

    def __call__(
        self, landmarks: np.ndarray, time: float, confidence: np.ndarray | None = None
    ) -> np.ndarray:
        """Takes the landmarks of one moment and gives their smoothed positions.

        Args:
            landmarks: (K, 2), pixels.
            time: Seconds; later than in the call before.
            confidence: (K,), 0 to 1. Default: all landmarks are sure.

        Returns:
            float64 (K, 2).

        Raises:
            FaceAlignError: If time does not advance, the landmarks change their number or are not
                finite (K, 2), or the confidence has another length.
        """
        points = np.asarray(landmarks, np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise FaceAlignError(
                f"OneEuroFilter: landmarks of shape {points.shape} are not finite (K, 2); leave "
                "the frame out"
            )
        sure = np.ones(len(points)) if confidence is None else np.asarray(confidence, np.float64)
        if sure.shape != (len(points),):
            raise FaceAlignError(
                f"OneEuroFilter: confidence has shape {sure.shape}; give ({len(points)},)"
            )
        # Complex numbers: a rotation with scaling is a product.
        now = points[:, 0] + 1j * points[:, 1]
        if self._raw is None:
            self._shape = self._smoothed = now
            self._velocity = self._face_velocity = np.zeros_like(now)
        else:
            if now.shape != self._raw.shape:
                raise FaceAlignError(
                    f"OneEuroFilter: {len(now)} landmarks after {len(self._raw)}; use one filter "
                    "for each face, or reset it"
                )
            if not time > self._time:
                raise FaceAlignError(
                    f"OneEuroFilter: time {time} does not follow {self._time}; give seconds that "
                    "advance"
                )
            size = max(float(np.ptp(points, axis=0).max()), 1e-6)
            self._advance(now, self._raw, time - self._time, size, sure)
        self._raw, self._time = now, time
        return np.stack([np.real(self._smoothed), np.imag(self._smoothed)], axis=-1)

    def _advance(
        self, now: np.ndarray, before: np.ndarray, step: float, size: float, sure: np.ndarray
    ) -> None:
        """One step of both filters.

        Args:
            now: complex (K,), the landmarks of this moment.
            before: complex (K,), those of the moment before.
            step: Seconds between the two.
            size: Of the face in pixels.
            sure: (K,), confidence.
        """
        settings = self.smoothing
        turn, shift = _similarity(before, now)
        carried = turn * before + shift

        share = _share(settings.derivative_cutoff, step)
        self._velocity = self._velocity + share * ((now - carried) / step - self._velocity)
        speed = np.abs(self._velocity) / size
        weight = np.clip(sure, _LEAST_CONFIDENCE, 1.0) ** settings.confidence_power
        cutoff = (settings.min_cutoff + settings.beta * speed) * weight
        # The face takes its smoothed landmarks along; only what they do beyond that is smoothed.
        moved = turn * self._shape + shift
        self._shape = moved + _share(cutoff, step) * (now - moved)

        share = _share(settings.face_derivative_cutoff, step)
        self._face_velocity = self._face_velocity + share * (
            (carried - before) / step - self._face_velocity
        )
        face_speed = math.sqrt(float(np.mean(np.abs(self._face_velocity) ** 2))) / size
        face_cutoff = settings.face_min_cutoff + settings.face_beta * face_speed
        # The present shape, put where the smoothed face was, and from there part of the way back.
        turn, shift = _similarity(self._shape, self._smoothed)
        held = turn * self._shape + shift
        self._smoothed = held + _share(face_cutoff, step) * (self._shape - held)


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[complex, complex]:
    """The least-squares rotation with scaling, and shift, from one set of points to another."""
    a, b = source - source.mean(), target - target.mean()
    size = float(np.vdot(a, a).real)
    turn = complex(np.vdot(a, b) / size) if size > 1e-12 else 1.0 + 0.0j
    return turn, complex(target.mean() - turn * source.mean())


def _share(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """How much of the newest value a first-order low-pass takes, for a cut-off in hertz."""
    turns = 2 * math.pi * cutoff * step
    return turns / (turns + 1.0)
