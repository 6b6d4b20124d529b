"""Random image corruptions, drawn separately for every image of a batch; geometry is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from keras import ops

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError
from keras_facealign.objective import corruption_ops
from keras_facealign.objective.face_random import normal_per_face, uniform_per_face
from keras_facealign.ops.replicas import all_gather, replica_count, replica_index

# Probability of applying blur, low resolution, noise and JPEG, each independently: the network
# should also see clean images, and should not learn that the four come together.
_SHARE = 0.5
# Largest number of shapes over an occluded image, and the probability of each after the first.
_SHAPES = 3
_MORE_SHAPES = 0.5
# Half the extent of a shape in units of the image's side; log-uniform.
_SHAPE_REACH = (0.05, 0.28)
# Cells per side of the cloudy texture that a shape may be filled with.
_CLOUD_CELLS = 12
# The smallest blur, in pixels, that a Gaussian sampled at whole pixels still shows.
_LEAST_SIGMA = 0.2

_HIGHEST = {"erase": 1.0, "occlusion": 1.0, "gray": 1.0, "hue": 180.0, "jpeg": 99.0}


@renamed_arguments(grey="gray")
@dataclass(frozen=True)
class Corruptions:
    """Strengths of random image corruptions; 0 disables one, which then draws no random numbers.

    They are applied in the order in which they arise in a photo: occlusion, light and camera, lens,
    sensor, file. Blur, low resolution, noise and JPEG each leave a random half of the images
    unchanged.

    Args:
        color: Brightness and contrast change by up to this fraction, and color channels by half of
            it.
        erase: Probability that an upright rectangle of 10 to 45 % of the side is covered by one
            color.
        occlusion: Probability that one to three rectangles or ellipses, of 10 to 56 % of the side
            and at any angle, cover parts of the image; each is filled with a part of another image
            of the batch (flipped vertically or rotated by 90 degrees), with a cloudy texture, or
            with one color.
        hue: Largest rotation of the hue in degrees either way.
        gray: Probability that the image is converted to gray.
        blur: Largest standard deviation, in pixels, of a Gaussian blur.
        low_resolution: The image is reduced by a factor between 1 and 1 + this, and enlarged
            again; log-uniform.
        noise: Largest standard deviation of Gaussian noise, in units of 1/255 of the range.
        jpeg: The image is compressed as a JPEG of a quality between 100 - this and 100.

    Raises:
        FaceAlignError: If a value is negative, not finite or too large.

    Example:
        >>> images = keras.random.uniform((4, 32, 32, 3), 0.0, 255.0)
        >>> Corruptions(blur=2.0).apply(images, keras.random.SeedGenerator(0)).shape
        (4, 32, 32, 3)
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
        """Corrupts every image independently.

        Args:
            images: float32 (B, S, S, 3), RGB 0 to 255.
            seed: A `keras.random.SeedGenerator`.

        Returns:
            float32 (B, S, S, 3), RGB 0 to 255. It passes no gradient.
        """
        random = _Random(ops.shape(images)[0], seed)
        if self.occlusion > 0:
            images = _occlude(images, random, self.occlusion)
        if self.hue > 0 or self.gray > 0:
            images = _change_hue(images, random, self.hue, self.gray)
        if self.color > 0:
            images = _change_light(images, random, self.color)
        if self.erase > 0:
            images = _erase(images, random, self.erase)
        if self.blur > 0 or self.low_resolution > 0:
            images = _lose_detail(images, random, self.blur, self.low_resolution)
        if self.noise > 0:
            deviation = random.uniform((1, 1, 1), 0.0, self.noise) * random.chosen(
                (1, 1, 1), _SHARE
            )
            images = images + deviation * random.normal(tuple(images.shape[1:]))
        if self.jpeg > 0:
            # A file holds values from 0 to 255 only.
            images = ops.clip(images, 0.0, 255.0)
            quality = random.uniform((), 100.0 - self.jpeg, 100.0)
            stored = corruption_ops.jpeg(images, quality)
            images = _choose(random.chosen((), _SHARE), images, stored)
        return ops.stop_gradient(ops.clip(images, 0.0, 255.0))


class _Random:
    """Draws random numbers for each of `count` images."""

    def __init__(self, count: Any, seed: Any) -> None:
        self.count = count
        self.seed = seed

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Any:
        """float32 (B, *shape)."""
        return uniform_per_face(self.count, shape, low, high, self.seed)

    def spread(self, shape: tuple[int, ...], reach: float) -> Any:
        """float32 (B, *shape), from -reach to reach."""
        return self.uniform(shape, -reach, reach)

    def normal(self, shape: tuple[int, ...]) -> Any:
        """float32 (B, *shape), standard normal."""
        return normal_per_face(self.count, shape, self.seed)

    def chosen(self, shape: tuple[int, ...], probability: float) -> Any:
        """float32 (B, *shape) of 0 and 1."""
        return ops.cast(self.uniform(shape, 0.0, 1.0) < probability, "float32")


def _change_light(images: Any, random: _Random, color: float) -> Any:
    contrast = 1.0 + random.spread((1, 1, 1), color)
    channel = 1.0 + random.spread((1, 1, 3), color / 2)
    brightness = 128.0 * random.spread((1, 1, 1), color)
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return ((images - mean) * contrast + mean) * channel + brightness


def _change_hue(images: Any, random: _Random, hue: float, gray: float) -> Any:
    angle = random.spread((), math.radians(hue))
    saturation = 1.0 - random.chosen((), gray)
    return corruption_ops.rotate_hue(images, angle, saturation)


def _erase(images: Any, random: _Random, probability: float) -> Any:
    """Covers a rectangle of 10 to 45 % of the side with one random color."""
    size = int(images.shape[1])
    grid = ops.arange(size, dtype="float32") / size
    inside = 1.0
    for axis_shape in ((1, 1, size, 1), (1, size, 1, 1)):
        center = 0.5 + random.spread((1, 1, 1), 0.5)
        half = 0.14 + random.spread((1, 1, 1), 0.09)
        near = ops.abs(ops.reshape(grid, axis_shape) - center) < half
        inside = inside * ops.cast(near, "float32")
    chosen = ops.cast(0.5 + random.spread((1, 1, 1), 0.5) < probability, "float32")
    color = 127.5 + random.spread((1, 1, 3), 127.5)
    cover = inside * chosen
    return images * (1.0 - cover) + color * cover


def _occlude(images: Any, random: _Random, probability: float) -> Any:
    """Covers parts of the images by textured shapes."""
    size = int(images.shape[1])
    clouds = corruption_ops.smooth_noise(
        random.uniform((_CLOUD_CELLS, _CLOUD_CELLS, 3), 0.0, 255.0), size
    )
    chosen = random.chosen((1, 1, 1), probability) > 0
    low, high = (math.log(reach) for reach in _SHAPE_REACH)
    earlier = _earlier_images(images)
    for i in range(_SHAPES):
        center = random.uniform((2,), 0.0, 1.0)
        half = ops.exp(random.uniform((2,), low, high))
        angle = random.uniform((), 0.0, math.pi)
        oval = random.chosen((), 0.5) > 0
        cover = ops.logical_and(corruption_ops.shape_mask(center, half, angle, oval, size), chosen)
        if i:
            cover = ops.logical_and(cover, random.chosen((1, 1, 1), _MORE_SHAPES) > 0)
        # Upright, another face would show landmarks that do not belong to the image.
        other = earlier(i + 1)
        other = ops.flip(other, axis=1) if i % 2 else ops.flip(ops.swapaxes(other, 1, 2), axis=1)
        kind = random.uniform((), 0.0, 3.0)
        color = random.uniform((1, 1, 3), 0.0, 255.0)
        texture = _choose(kind, other, clouds, ops.broadcast_to(color, ops.shape(images)))
        # Products with 0 and 1 are exact, and on TensorFlow's CPU faster than a selection.
        covered = ops.cast(cover, "float32")
        images = images * (1.0 - covered) + texture * covered
    return images


def _earlier_images(images: Any) -> Callable[[int], Any]:
    """Returns a function of d that gives for each image that d places before it in the batch.

    Before the first image comes the last one: of the whole batch, if replicas share it.
    """
    if replica_count() == 1:
        return lambda distance: ops.roll(images, distance, axis=0)
    last = images[-_SHAPES:]
    count = ops.shape(last)[0]
    # Beginning with this replica's: those just before its first image come last.
    last = ops.roll(all_gather(last), -replica_index() * count, axis=0)
    # Three times, as where a replica has one image, its neighbors may be few.
    line = ops.concatenate([last] * _SHAPES + [images], axis=0)
    before, count = ops.shape(last)[0] * _SHAPES, ops.shape(images)[0]
    return lambda distance: line[before - distance : before - distance + count]


def _choose(index: Any, *options: Any) -> Any:
    """Selects one of several tensors for every image of a batch, by copies of whole images.

    Args:
        index: float32 (B,), from 0 to the number of options, rounded down.
        *options: float32 (B, ...), all of one shape.

    Returns:
        float32 (B, ...).
    """
    count = ops.shape(options[0])[0]
    index = ops.clip(ops.cast(index, "int32"), 0, len(options) - 1)
    place = index * count + ops.arange(count, dtype="int32")
    return ops.take(ops.concatenate(options, axis=0), place, axis=0)


def _lose_detail(images: Any, random: _Random, blur: float, low_resolution: float) -> Any:
    """Blurs, then reduces the resolution, by one matrix product."""
    size = int(images.shape[1])
    matrix = ops.expand_dims(ops.convert_to_tensor(np.eye(size, dtype=np.float32)), 0)
    touched = 0.0
    if blur > 0:
        sigma = random.uniform((), min(_LEAST_SIGMA, blur), blur)
        chosen = random.chosen((1, 1), _SHARE)
        matrix = ops.where(chosen > 0, corruption_ops.gaussian_matrix(sigma, size), matrix)
        touched = chosen
    if low_resolution > 0:
        factor = ops.exp(random.uniform((), 0.0, math.log1p(low_resolution)))
        chosen = random.chosen((1, 1), _SHARE)
        coarse = corruption_ops.low_resolution_matrix(factor, size)
        matrix = ops.where(chosen > 0, ops.matmul(coarse, matrix), matrix)
        touched = ops.maximum(touched, chosen)
    resampled = corruption_ops.resample(images, matrix)
    return _choose(ops.reshape(touched, (-1,)), images, resampled)
