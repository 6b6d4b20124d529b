"""What spoils pictures in the wild, drawn anew for every image of a batch; geometry stays."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.objective import corruption_ops as effects

__all__ = ["Corruptions"]

# Of the pictures, how many blur, low resolution, noise and JPEG befall, each by itself: the network
# is to see clean pictures as well, and is not to learn that the four come together.
_SHARE = 0.5
# Shapes that cover an occluded picture: one, and then perhaps more.
_SHAPES = 3
_MORE_SHAPES = 0.5
# Half the extent of a shape in units of the picture's side; log-uniform.
_SHAPE_REACH = (0.05, 0.28)
# Cells along a side of the clouds that a shape may be filled with.
_CLOUD_CELLS = 12
# The least blur, in pixels, that a Gaussian on the pixels' grid still shows.
_LEAST_SIGMA = 0.2

_HIGHEST = {"erase": 1.0, "occlusion": 1.0, "gray": 1.0, "hue": 180.0, "jpeg": 99.0}


@dataclass(frozen=True)
class Corruptions:
    """How strongly pictures are disturbed; 0 leaves a disturbance out, and draws nothing for it.

    They come in the order in which they befall a photo: what stands before the face, the light and
    the camera, the lens, the sensor, the file. Blur, low resolution, noise and JPEG each spare half
    of the pictures, those exactly.

    Args:
        color: Brightness and contrast change by up to this fraction, and color channels by half of
            it.
        erase: Probability that an upright rectangle of 10 to 45 % of the side is covered by one
            color.
        occlusion: Probability that one to three rectangles or ellipses, of 10 to 56 % of the side
            and turned at will, cover parts of the picture; each is filled with a part of another
            picture of the batch, upside down or turned by a quarter, with colored clouds, or with
            one color.
        hue: Largest turn of the hue in degrees either way.
        gray: Probability that the picture loses its colors.
        blur: Largest standard deviation, in pixels, of a Gaussian blur.
        low_resolution: The picture is reduced by a factor between 1 and 1 + this, and enlarged
            again; log-uniform.
        noise: Largest standard deviation of Gaussian noise in steps of gray (of 255).
        jpeg: The picture goes through a JPEG of a quality between 100 - this and 100.

    Raises:
        FaceAlignError: If a value is negative, not finite or too large.

    Example:
        >>> blurred = Corruptions(blur=2.0).apply(images, keras.random.SeedGenerator(0))
    """

    color: float = 0.0
    erase: float = 0.0
    occlusion: float = 0.0
    hue: float = 0.0
    gray: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, highest = getattr(self, field.name), _HIGHEST.get(field.name, math.inf)
            if not (0 <= value <= highest and math.isfinite(value)):
                bound = (
                    "a number that is not negative" if highest == math.inf else f"0 to {highest:g}"
                )
                raise FaceAlignError(f"{field.name}={value} must be {bound}; 0 leaves it out.")

    def apply(self, images: Any, seed: Any) -> Any:
        """Disturbs every image by itself.

        Args:
            images: float32 (B, S, S, 3), RGB 0 to 255.
            seed: A `keras.random.SeedGenerator`.

        Returns:
            float32 (B, S, S, 3), RGB 0 to 255. No gradient flows back through it.
        """
        draw = _Draw(ops.shape(images)[0], seed)
        if self.occlusion > 0:
            images = _occlude(images, draw, self.occlusion)
        if self.hue > 0 or self.gray > 0:
            images = _change_hue(images, draw, self.hue, self.gray)
        if self.color > 0:
            images = _change_light(images, draw, self.color)
        if self.erase > 0:
            images = _erase(images, draw, self.erase)
        if self.blur > 0 or self.low_resolution > 0:
            images = _lose_detail(images, draw, self.blur, self.low_resolution)
        if self.noise > 0:
            deviation = draw.uniform((1, 1, 1), 0.0, self.noise) * draw.chosen((1, 1, 1), _SHARE)
            images = images + deviation * draw.normal(tuple(images.shape[1:]))
        if self.jpeg > 0:
            # A file holds what the sensor could show.
            images = ops.clip(images, 0.0, 255.0)
            quality = draw.uniform((), 100.0 - self.jpeg, 100.0)
            stored = effects.jpeg(images, quality)
            images = ops.where(draw.chosen((1, 1, 1), _SHARE) > 0, stored, images)
        return ops.stop_gradient(ops.clip(images, 0.0, 255.0))


class _Draw:
    """Random numbers for each of `count` images."""

    def __init__(self, count: Any, seed: Any) -> None:
        self.count = count
        self.seed = seed

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Any:
        """float32 (B, *shape)."""
        shape = (self.count, *shape)
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.seed)

    def spread(self, shape: tuple[int, ...], reach: float) -> Any:
        """float32 (B, *shape), from -reach to reach."""
        return self.uniform(shape, -reach, reach)

    def normal(self, shape: tuple[int, ...]) -> Any:
        """float32 (B, *shape), standard normal."""
        return keras.random.normal((self.count, *shape), dtype="float32", seed=self.seed)

    def chosen(self, shape: tuple[int, ...], probability: float) -> Any:
        """float32 (B, *shape) of 0 and 1."""
        return ops.cast(self.uniform(shape, 0.0, 1.0) < probability, "float32")


def _change_light(images: Any, draw: _Draw, color: float) -> Any:
    contrast = 1.0 + draw.spread((1, 1, 1), color)
    channel = 1.0 + draw.spread((1, 1, 3), color / 2)
    brightness = 128.0 * draw.spread((1, 1, 1), color)
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return ((images - mean) * contrast + mean) * channel + brightness


def _change_hue(images: Any, draw: _Draw, hue: float, gray: float) -> Any:
    angle = draw.spread((), math.radians(hue))
    saturation = 1.0 - draw.chosen((), gray)
    return effects.turn_colors(images, angle, saturation)


def _erase(images: Any, draw: _Draw, probability: float) -> Any:
    """Covers a rectangle of 10 to 45 % of the side with one random color."""
    size = int(images.shape[1])
    grid = ops.arange(size, dtype="float32") / size
    inside = 1.0
    for axis_shape in ((1, 1, size, 1), (1, size, 1, 1)):
        center = 0.5 + draw.spread((1, 1, 1), 0.5)
        half = 0.14 + draw.spread((1, 1, 1), 0.09)
        near = ops.abs(ops.reshape(grid, axis_shape) - center) < half
        inside = inside * ops.cast(near, "float32")
    chosen = ops.cast(0.5 + draw.spread((1, 1, 1), 0.5) < probability, "float32")
    color = 127.5 + draw.spread((1, 1, 3), 127.5)
    cover = inside * chosen
    return images * (1.0 - cover) + color * cover


def _occlude(images: Any, draw: _Draw, probability: float) -> Any:
    """Covers parts of the pictures by textured shapes."""
    size = int(images.shape[1])
    clouds = effects.smooth_noise(draw.uniform((_CLOUD_CELLS, _CLOUD_CELLS, 3), 0.0, 255.0), size)
    chosen = draw.chosen((1, 1, 1), probability) > 0
    low, high = (math.log(reach) for reach in _SHAPE_REACH)
    original = images
    for i in range(_SHAPES):
        center = draw.uniform((2,), 0.0, 1.0)
        half = ops.exp(draw.uniform((2,), low, high))
        angle = draw.uniform((), 0.0, math.pi)
        oval = draw.chosen((), 0.5) > 0
        cover = ops.logical_and(effects.shape_mask(center, half, angle, oval, size), chosen)
        if i:
            cover = ops.logical_and(cover, draw.chosen((1, 1, 1), _MORE_SHAPES) > 0)
        # Another face in its place would show landmarks that are not the picture's own.
        other = ops.roll(original, i + 1, axis=0)
        other = ops.flip(other, axis=1) if i % 2 else ops.flip(ops.swapaxes(other, 1, 2), axis=1)
        kind = draw.uniform((1, 1, 1), 0.0, 3.0)
        color = draw.uniform((1, 1, 3), 0.0, 255.0)
        texture = ops.where(kind < 1.0, other, ops.where(kind < 2.0, clouds, color))
        images = ops.where(cover, texture, images)
    return images


def _lose_detail(images: Any, draw: _Draw, blur: float, low_resolution: float) -> Any:
    """Blurs by the lens, and then by the sensor's or the file's few pixels, in one product."""
    size = int(images.shape[1])
    matrix = ops.expand_dims(ops.convert_to_tensor(np.eye(size, dtype=np.float32)), 0)
    touched = 0.0
    if blur > 0:
        sigma = draw.uniform((), min(_LEAST_SIGMA, blur), blur)
        chosen = draw.chosen((1, 1), _SHARE)
        matrix = ops.where(chosen > 0, effects.gaussian_matrix(sigma, size), matrix)
        touched = chosen
    if low_resolution > 0:
        factor = ops.exp(draw.uniform((), 0.0, math.log1p(low_resolution)))
        chosen = draw.chosen((1, 1), _SHARE)
        coarse = effects.low_resolution_matrix(factor, size)
        matrix = ops.where(chosen > 0, ops.matmul(coarse, matrix), matrix)
        touched = ops.maximum(touched, chosen)
    return ops.where(ops.expand_dims(touched, -1) > 0, effects.resample(images, matrix), images)
