"""The layer that draws two views of every face, and moves images and landmarks alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import keras
from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.objective.corruptions import Corruptions
from keras_facealign.objective.transform_range import TransformRange, as_range, override_range
from keras_facealign.ops.warp import warp_affine

__all__ = ["AugmentedView", "PairedAugmentation"]

_RANGES = ("base", "pair")
_STRENGTHS = tuple(field.name for field in fields(Corruptions))


@dataclass
class AugmentedView:
    """One augmented view of a batch.

    Attributes:
        images: float32 (B, S, S, 3), RGB 0 to 255.
        landmarks: float32 (B, K, 2), pixels of the view, in scheme order after mirroring.
        visible: float32 (B, K), 1 where the landmark has a position inside the view, else 0.
        labeled: float32 (B,), 1 for faces that have any landmark's position, inside the view or
            not, else 0. None: all have.
    """

    images: Any
    landmarks: Any
    visible: Any
    labeled: Any = None

    def in_frames(self, matrix: Any, size: int) -> AugmentedView:
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
        return AugmentedView(self.images, landmarks, self.visible * inside, self.labeled)


def _inside(landmarks: Any, size: int) -> Any:
    """bool (B, K): which landmarks lie on a pixel of a square frame."""
    limit = size - 0.5
    return ops.all(ops.logical_and(landmarks >= -0.5, landmarks <= limit), axis=-1)


@keras.saving.register_keras_serializable(package="keras_facealign")
class PairedAugmentation(keras.layers.Layer):
    """Draws (A, T) for a batch and applies both to images and landmarks.

    Source: Stacked Dense U-Nets, sections 3.3 (the outside transformer) and 4.1 (ranges). The
    disturbances of the pictures are additions.

    Args:
        size: Side of the views in pixels.
        flip_permutation: int sequence (K,), see `LandmarkScheme.flip_permutation`.
        base: Range of A.
        pair: Range of T.
        color: Strength of the changes of light, drawn for each view by itself as all that follow;
            see `Corruptions` for their units. 0: none.
        erase: Probability that one upright rectangle is covered by one color.
        occlusion: Probability that textured shapes cover parts of the view.
        hue: Largest turn of the hue in degrees.
        gray: Probability that the view loses its colors.
        blur: Largest standard deviation of a blur in pixels.
        low_resolution: By how much more than 1 the resolution may be reduced.
        noise: Largest standard deviation of noise, of 255.
        jpeg: By how much less than 100 a JPEG's quality may be.
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
        *,
        occlusion: float = 0.0,
        hue: float = 0.0,
        gray: float = 0.0,
        blur: float = 0.0,
        low_resolution: float = 0.0,
        noise: float = 0.0,
        jpeg: float = 0.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.size = size
        self.flip_permutation = [int(i) for i in flip_permutation]
        self.base = as_range(base, TransformRange())
        self.pair = as_range(pair, TransformRange(translation=0.03))
        self.color = color
        self.erase = erase
        self.occlusion = occlusion
        self.hue = hue
        self.gray = gray
        self.blur = blur
        self.low_resolution = low_resolution
        self.noise = noise
        self.jpeg = jpeg
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._given = {"base": self.base, "pair": self.pair, **asdict(self.disturbances)}
        self.built = True

    @property
    def disturbances(self) -> Corruptions:
        """The strengths of what spoils the views."""
        return Corruptions(**{name: getattr(self, name) for name in _STRENGTHS})

    def configure(
        self, settings: dict[str, Any] | None = None, pair: TransformRange | None = None
    ) -> None:
        """Sets what the layer draws: what it was made with, and `settings` over that.

        Args:
            settings: New values of `base`, `pair`, `seed` and the strengths of the disturbances. A
                dict for a range replaces single fields of it. Only a seed that is given restarts
                the random state.
            pair: Range of T where `settings` say nothing of it. Default: that of the layer.

        Raises:
            FaceAlignError: If a name is unknown or a value out of range.

        Example:
            >>> layer = PairedAugmentation(128, [0])
            >>> layer.configure({"base": {"rotation": 10.0}, "blur": 1.5})
            >>> layer.base.rotation, layer.base.flip, layer.blur
            (10.0, 0.5, 1.5)
        """
        settings = dict(settings or {})
        unknown = sorted(set(settings) - {*self._given, "seed"})
        if unknown:
            raise FaceAlignError(
                f"Unknown augmentation setting {unknown[0]!r}; there are base, pair, "
                f"{', '.join(_STRENGTHS)} and seed."
            )
        # What an earlier call changed is not to linger.
        usual = {**self._given, **({} if pair is None else {"pair": pair})}
        ranges = {name: override_range(name, usual[name], settings.get(name)) for name in _RANGES}
        strengths = {name: float(settings.get(name, usual[name])) for name in _STRENGTHS}
        for name, value in {**ranges, **asdict(Corruptions(**strengths))}.items():
            setattr(self, name, value)
        if "seed" in settings:
            self.seed = settings["seed"]
            fresh = keras.random.SeedGenerator(self.seed)
            self.seed_generator.state.assign(fresh.state)

    def sample_base(self, count: Any, crop_size: int) -> tuple[Any, Any]:
        """Draws A: crop pixels to view pixels, float32 (B, 2, 3), and its flips, float32 (B,)."""
        matrix, flip = self.base.draw(count, self.size, self.seed_generator)
        return geometry.compose(matrix, self.centering(crop_size)), flip

    def sample_transform(self, count: Any) -> tuple[Any, Any]:
        """Draws T: pixels of the first view to pixels of the second, (B, 2, 3), and its flips."""
        return self.pair.draw(count, self.size, self.seed_generator)

    def centering(self, crop_size: int) -> Any:
        """float32 (1, 2, 3): from a crop's pixels to those of the frame in its middle."""
        shift = ops.full((1,), (self.size - crop_size) / 2, dtype="float32")
        return geometry.translation_matrix(shift, shift)

    def view(self, batch: dict[str, Any], matrix: Any, flip: Any) -> AugmentedView:
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
        labeled = ops.cast(batch["visibility"], "float32") > 0
        labeled_face = ops.cast(ops.any(labeled, axis=-1), "float32")
        # A position that is missing may be NaN, and NaN times a mask of 0 is still NaN.
        known = ops.expand_dims(labeled, -1)
        landmarks = ops.where(known, ops.cast(batch["landmarks"], "float32"), 0.0)
        landmarks = geometry.transform_points(matrix, landmarks)
        swap = ops.convert_to_tensor(self.flip_permutation, dtype="int32")
        mirrored = ops.reshape(flip, (-1, 1)) > 0.5
        landmarks = ops.where(
            ops.expand_dims(mirrored, -1), ops.take(landmarks, swap, axis=1), landmarks
        )
        labeled = ops.where(mirrored, ops.take(labeled, swap, axis=1), labeled)
        visible = ops.cast(ops.logical_and(labeled, _inside(landmarks, self.size)), "float32")
        return AugmentedView(images, landmarks, visible, labeled_face)

    def disturb(self, images: Any) -> Any:
        """Spoils the pictures as `disturbances` says, drawn anew for each image; geometry stays.

        Args:
            images: float (B, S, S, 3), RGB 0 to 255.

        Returns:
            float (B, S, S, 3), RGB 0 to 255.
        """
        return self.disturbances.apply(images, self.seed_generator)

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
            **asdict(self.disturbances),
            "seed": self.seed,
        }
