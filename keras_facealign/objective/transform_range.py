"""Ranges of random similarity transformations."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.objective.face_random import uniform_per_face


@dataclass(frozen=True)
class TransformRange:
    """Ranges from which the transformation of each image is sampled.

    Args:
        rotation: Largest rotation in degrees either way; uniform.
        scale: Smallest and largest magnification; log-uniform.
        translation: Largest shift either way in units of the frame's side; uniform in x and y.
        flip: Probability of a horizontal flip.

    Raises:
        FaceAlignError: If a value is out of range.
    """

    rotation: float = 40.0
    scale: tuple[float, float] = (0.8, 1.2)
    translation: float = 0.05
    flip: float = 0.5

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high:
            raise FaceAlignError(f"scale={self.scale} must be (low, high) with 0 < low <= high.")
        if not 0 <= self.flip <= 1:
            raise FaceAlignError(f"flip={self.flip} is a probability; give 0 to 1.")
        if self.rotation < 0 or self.translation < 0:
            raise FaceAlignError(
                f"rotation={self.rotation} and translation={self.translation} are magnitudes; "
                "give numbers that are not negative."
            )

    def sample(self, count: Any, size: int, seed: Any) -> tuple[Any, Any]:
        """Samples `count` transformations of a square frame onto itself.

        Args:
            count: How many (B), int or scalar tensor.
            size: Side of the frame in pixels.
            seed: A `keras.random.SeedGenerator`.

        Returns:
            float32 (B, 2, 3) in pixels, and float32 (B,), 1 where the transformation flips.
        """

        def uniform(low: float, high: float) -> Any:
            return uniform_per_face(count, (), low, high, seed)

        angle = uniform(-1.0, 1.0) * math.radians(self.rotation)
        scale = ops.exp(uniform(math.log(self.scale[0]), math.log(self.scale[1]) + 1e-9))
        reach = self.translation * size
        dx, dy = uniform(-1.0, 1.0) * reach, uniform(-1.0, 1.0) * reach
        flip = ops.cast(uniform(0.0, 1.0) < self.flip, "float32")
        center = (size - 1) / 2
        turned = geometry.similarity(scale, angle, (dx, dy), (center, center))
        return geometry.compose(turned, geometry.flip_matrix(flip, size)), flip

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain Python values."""
        return asdict(self)


def as_range(value: TransformRange | dict[str, Any] | None, default: TransformRange) -> Any:
    """Returns a range from a configuration's value: a range, its dict, or None for the default."""
    if value is None:
        return default
    if isinstance(value, TransformRange):
        return value
    return TransformRange(**{**value, "scale": tuple(value["scale"])})


def override_range(name: str, usual: TransformRange, value: Any) -> TransformRange:
    """Returns a range with some fields overridden by a dict, or the setting where it is a range."""
    if value is None:
        return usual
    if isinstance(value, TransformRange):
        return value
    try:
        return as_range({**usual.to_dict(), **value}, usual)
    except TypeError as error:
        raise FaceAlignError(
            f"augmentation[{name!r}] is {value!r}; give a TransformRange or a dict of its "
            f"fields {', '.join(TransformRange.__dataclass_fields__)} ({error})."
        ) from error
