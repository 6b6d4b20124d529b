"""The augmentation that training draws on the device: two views of every face.

Each example brings a crop with a border around the network's frame. A base augmentation A maps the
crop to the first view, I; a second transformation T maps the first view to the second, T . I. The
second view is sampled from the crop through T . A, so that what the border holds fills the corners
that T would otherwise leave black.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import keras
from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.warp import warp_affine

__all__ = ["PairedAugmentation", "TransformRange", "View"]


@dataclass(frozen=True)
class TransformRange:
    """What a random transformation may do, each image drawing its own.

    Args:
        rotation: Largest rotation in degrees either way; uniform.
        scale: Smallest and largest magnification; log-uniform.
        translation: Largest shift either way in units of the frame's side; uniform in x and y.
        flip: Probability of mirroring.
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

    def draw(self, count: Any, size: int, seed: Any) -> tuple[Any, Any]:
        """Draws `count` transformations of a square frame onto itself.

        Args:
            count: How many (B), int or scalar tensor.
            size: Side of the frame in pixels.
            seed: A `keras.random.SeedGenerator`.

        Returns:
            float32 (B, 2, 3) in pixels, and float32 (B,), 1 where the transformation mirrors.
        """

        def uniform(low: float, high: float) -> Any:
            return keras.random.uniform((count,), low, high, dtype="float32", seed=seed)

        angle = uniform(-1.0, 1.0) * math.radians(self.rotation)
        scale = ops.exp(uniform(math.log(self.scale[0]), math.log(self.scale[1]) + 1e-9))
        reach = self.translation * size
        dx, dy = uniform(-1.0, 1.0) * reach, uniform(-1.0, 1.0) * reach
        flip = ops.cast(uniform(0.0, 1.0) < self.flip, "float32")
        centre = (size - 1) / 2
        turned = geometry.similarity(scale, angle, (dx, dy), (centre, centre))
        return geometry.compose(turned, geometry.flip_matrix(flip, size)), flip

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values."""
        return asdict(self)


@dataclass
class View:
    """One augmented view of a batch.

    Attributes:
        images: float32 (B, S, S, 3), RGB 0 to 255.
        landmarks: float32 (B, K, 2), pixels of the view, in scheme order after mirroring.
        visible: float32 (B, K), 1 where the landmark has a position inside the view, else 0.
    """

    images: Any
    landmarks: Any
    visible: Any

    def moved(self, matrix: Any, size: int) -> View:
        """The same view in the frame that a network looks at after it has moved the picture itself.

        Args:
            matrix: float (B, 2, 3), pixels of the view to pixels of the other frame.
            size: Side of that frame in pixels.

        Returns:
            The view with its landmarks moved; those that leave the frame no longer count. Images
            stay as they are.
        """
        landmarks = geometry.transform_points(matrix, self.landmarks)
        inside = ops.cast(_inside(landmarks, size), "float32")
        return View(self.images, landmarks, self.visible * inside)


def _inside(landmarks: Any, size: int) -> Any:
    """bool (B, K): which landmarks lie on a pixel of a square frame."""
    limit = size - 0.5
    return ops.all(ops.logical_and(landmarks >= -0.5, landmarks <= limit), axis=-1)


@keras.saving.register_keras_serializable(package="keras_facealign")
class PairedAugmentation(keras.layers.Layer):
    """Draws (A, T) for a batch and applies both to images and landmarks.

    Source: Stacked Dense U-Nets, sections 3.3 (the outside transformer) and 4.1 (ranges).

    Args:
        size: Side of the views in pixels.
        flip_permutation: int sequence (K,), see `LandmarkScheme.flip_permutation`.
        base: Range of A.
        pair: Range of T.
        color: Strength of the photometric changes that each view draws for itself: brightness and
            contrast change by up to this fraction, and colour channels by half of it. 0: none.
        erase: Probability that a random rectangle of a view is covered by one colour, which stands
            in for occlusion.
        seed: Integer; equal seeds draw equal augmentations.
    """

    def __init__(
        self,
        size: int,
        flip_permutation: Any,
        base: TransformRange | dict[str, Any] | None = None,
        pair: TransformRange | dict[str, Any] | None = None,
        color: float = 0.0,
        erase: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.size = size
        self.flip_permutation = [int(i) for i in flip_permutation]
        self.base = _as_range(base, TransformRange())
        self.pair = _as_range(pair, TransformRange(translation=0.03))
        self.color = color
        self.erase = erase
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._given = {"base": self.base, "pair": self.pair, "color": color, "erase": erase}
        self.built = True

    def configure(
        self, settings: dict[str, Any] | None = None, pair: TransformRange | None = None
    ) -> None:
        """Sets what the layer draws: what it was made with, and `settings` over that.

        Args:
            settings: New values of `base`, `pair`, `color`, `erase` and `seed`. A dict for a range
                replaces single fields of it. Only a seed that is given restarts the random state.
            pair: Range of T where `settings` say nothing of it. Default: that of the layer.

        Raises:
            FaceAlignError: If a name is unknown or a value out of range.

        Example:
            >>> layer = PairedAugmentation(128, [0])
            >>> layer.configure({"base": {"rotation": 10.0}})
            >>> layer.base.rotation, layer.base.flip
            (10.0, 0.5)
        """
        settings = dict(settings or {})
        unknown = sorted(set(settings) - {*self._given, "seed"})
        if unknown:
            raise FaceAlignError(
                f"Unknown augmentation setting {unknown[0]!r}; there are base, pair, color, erase "
                "and seed."
            )
        # What an earlier call changed is not to linger.
        usual = {**self._given, **({} if pair is None else {"pair": pair})}
        ranges = {name: _override(name, usual[name], settings.get(name)) for name in _RANGES}
        strengths = {
            name: float(settings.get(name, usual[name])) for name in usual if name not in _RANGES
        }
        for name, value in {**ranges, **strengths}.items():
            setattr(self, name, value)
        if "seed" in settings:
            self.seed = settings["seed"]
            fresh = keras.random.SeedGenerator(self.seed)
            self.seed_generator.state.assign(fresh.state)

    def draw_base(self, count: Any, crop_size: int) -> tuple[Any, Any]:
        """Draws A: crop pixels to view pixels, float32 (B, 2, 3), and its flips, float32 (B,)."""
        matrix, flip = self.base.draw(count, self.size, self.seed_generator)
        return geometry.compose(matrix, self.centring(crop_size)), flip

    def draw_pair(self, count: Any) -> tuple[Any, Any]:
        """Draws T: pixels of the first view to pixels of the second, (B, 2, 3), and its flips."""
        return self.pair.draw(count, self.size, self.seed_generator)

    def centring(self, crop_size: int) -> Any:
        """float32 (1, 2, 3): from a crop's pixels to those of the frame in its middle."""
        shift = ops.full((1,), (self.size - crop_size) / 2, dtype="float32")
        return geometry.translation_matrix(shift, shift)

    def view(self, batch: dict[str, Any], matrix: Any, flip: Any) -> View:
        """Applies a transformation to a batch.

        Args:
            batch: "image" (B, C, C, 3) uint8 or float, RGB 0 to 255; "landmarks" float (B, K, 2) in
                pixels of the crop; "visibility" (B, K), 0 where a landmark has no position.
            matrix: float (B, 2, 3), or (1, 2, 3) for all, crop pixels to view pixels.
            flip: float (B,), 1 where the matrix mirrors.

        Returns:
            The view.
        """
        count = ops.shape(batch["image"])[0]
        matrix = ops.broadcast_to(matrix, (count, 2, 3))
        images = warp_affine(batch["image"], matrix, (self.size, self.size))
        labelled = ops.cast(batch["visibility"], "float32") > 0
        # A position that is missing may be NaN, and NaN times a mask of 0 is still NaN.
        known = ops.expand_dims(labelled, -1)
        landmarks = ops.where(known, ops.cast(batch["landmarks"], "float32"), 0.0)
        landmarks = geometry.transform_points(matrix, landmarks)
        swap = ops.convert_to_tensor(self.flip_permutation, dtype="int32")
        mirrored = ops.reshape(flip, (-1, 1)) > 0.5
        landmarks = ops.where(
            ops.expand_dims(mirrored, -1), ops.take(landmarks, swap, axis=1), landmarks
        )
        labelled = ops.where(mirrored, ops.take(labelled, swap, axis=1), labelled)
        visible = ops.cast(ops.logical_and(labelled, _inside(landmarks, self.size)), "float32")
        return View(images, landmarks, visible)

    def disturb(self, images: Any) -> Any:
        """Photometric changes and erasing, drawn anew for each image; geometry stays.

        Args:
            images: float (B, S, S, 3), RGB 0 to 255.

        Returns:
            float (B, S, S, 3), RGB 0 to 255.
        """
        count = ops.shape(images)[0]
        if self.color > 0:
            contrast = 1.0 + self._uniform((count, 1, 1, 1), self.color)
            channel = 1.0 + self._uniform((count, 1, 1, 3), self.color / 2)
            brightness = 128.0 * self._uniform((count, 1, 1, 1), self.color)
            mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
            images = ((images - mean) * contrast + mean) * channel + brightness
        if self.erase > 0:
            images = self._erase(images, count)
        return ops.clip(images, 0.0, 255.0)

    def _uniform(self, shape: tuple[Any, ...], reach: float) -> Any:
        return keras.random.uniform(shape, -reach, reach, dtype="float32", seed=self.seed_generator)

    def _erase(self, images: Any, count: Any) -> Any:
        """Covers a rectangle of 10 to 45 % of the side with one random colour."""
        shape = (count, 1, 1, 1)
        grid = ops.arange(self.size, dtype="float32") / self.size
        inside = 1.0
        for axis_shape in ((1, 1, self.size, 1), (1, self.size, 1, 1)):
            centre = 0.5 + self._uniform(shape, 0.5)
            half = 0.14 + self._uniform(shape, 0.09)
            near = ops.abs(ops.reshape(grid, axis_shape) - centre) < half
            inside = inside * ops.cast(near, "float32")
        chosen = ops.cast(0.5 + self._uniform(shape, 0.5) < self.erase, "float32")
        color = 127.5 + self._uniform((count, 1, 1, 3), 127.5)
        cover = inside * chosen
        return images * (1.0 - cover) + color * cover

    def save_own_variables(self, store: Any) -> None:
        # Keras leaves random state out of its files; a resumed run is to draw what it would have.
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        # Files from elsewhere may lack it.
        if "seed_state" in list(store.keys()):
            self.seed_generator.state.assign(store["seed_state"])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "flip_permutation": self.flip_permutation,
            "base": self.base.to_dict(),
            "pair": self.pair.to_dict(),
            "color": self.color,
            "erase": self.erase,
            "seed": self.seed,
        }


_RANGES = ("base", "pair")


def _override(name: str, usual: TransformRange, value: Any) -> TransformRange:
    """A range with the fields that a setting gives, or the setting itself if it is a range."""
    if value is None:
        return usual
    if isinstance(value, TransformRange):
        return value
    try:
        return _as_range({**usual.to_dict(), **value}, usual)
    except TypeError as error:
        raise FaceAlignError(
            f"augmentation[{name!r}] is {value!r}; give a TransformRange or a dict of its "
            f"fields {', '.join(TransformRange.__dataclass_fields__)} ({error})."
        ) from error


def _as_range(value: TransformRange | dict[str, Any] | None, default: TransformRange) -> Any:
    if value is None:
        return default
    if isinstance(value, TransformRange):
        return value
    return TransformRange(**{**value, "scale": tuple(value["scale"])})
