"""The layer that transforms images and landmarks into two augmented views of every face."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import keras
from keras import ops

from keras_facealign import geometry
from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError
from keras_facealign.objective.corruptions import Corruptions
from keras_facealign.objective.transform_range import TransformRange, as_range, override_range
from keras_facealign.ops.warp import warp_affine

_RANGES = ("base", "pair")
_STRENGTHS = tuple(field.name for field in fields(Corruptions))


@dataclass
class AugmentedView:
    """One augmented view of a batch.

    Attributes:
        images: float32 (B, S, S, 3), RGB 0 to 255.
        landmarks: float32 (B, K, 2), pixels of the view, in scheme order after flipping.
        visible: float32 (B, K), 1 where the landmark has a position inside the view, else 0.
        labeled: float32 (B,), 1 for faces that have any landmark's position, inside the view or
            not, else 0. None: all have.
        present: float32 (B,), 0 for faces that only fill up a batch, else 1. None: all are 1.
    """

    images: Any
    landmarks: Any
    visible: Any
    labeled: Any = None
    present: Any = None

    def in_frames(self, matrix: Any, size: int) -> AugmentedView:
        """Returns the view in another frame, as that of a network that transforms its input itself.

        Args:
            matrix: float (B, 2, 3), pixels of the view to pixels of the other frame.
            size: Side of that frame in pixels.

        Returns:
            The view with transformed landmarks; those outside of the frame are no longer visible.
            Images are the same.
        """
        landmarks = geometry.transform_points(matrix, self.landmarks)
        inside = ops.cast(_inside(landmarks, size), "float32")
        return replace(self, landmarks=landmarks, visible=self.visible * inside)


def _inside(landmarks: Any, size: int) -> Any:
    """Returns which landmarks lie on a pixel of a square frame, bool (B, K)."""
    limit = size - 0.5
    return ops.all(ops.logical_and(landmarks >= -0.5, landmarks <= limit), axis=-1)


@renamed_arguments(grey="gray")
def _current_names(**settings: Any) -> dict[str, Any]:
    """Returns settings under their current names."""
    return settings


@keras.saving.register_keras_serializable(package="keras_facealign")
class PairedAugmentation(keras.layers.Layer):
    """Samples (A, T) for a batch and applies both to images and landmarks.

    Source: Stacked Dense U-Nets, sections 3.3 (the outside transformer) and 4.1 (ranges). The image
    corruptions are additions.

    Args:
        size: Side of the views in pixels.
        flip_permutation: int sequence (K,), see `LandmarkScheme.flip_permutation`.
        base: Range of A.
        pair: Range of T.
        seed: Integer; equal seeds give equal augmentations.
        **kwargs: Strengths of the corruptions, drawn separately for each view: the arguments of
            `Corruptions`, 0 by default; and the arguments of a Keras layer.

    Raises:
        FaceAlignError: If a strength is out of range.
    """

    def __init__(
        self,
        size: int,
        flip_permutation: Any,
        base: TransformRange | dict[str, Any] | None = None,
        pair: TransformRange | dict[str, Any] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs = {"dtype": "float32", **_current_names(**kwargs)}
        strengths = {name: kwargs.pop(name) for name in _STRENGTHS if name in kwargs}
        super().__init__(**kwargs)
        self.size = size
        self.flip_permutation = [int(i) for i in flip_permutation]
        self.base = as_range(base, TransformRange())
        self.pair = as_range(pair, TransformRange(translation=0.03))
        self.corruptions = Corruptions(**strengths)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._given = {"base": self.base, "pair": self.pair, **asdict(self.corruptions)}
        self.built = True

    def configure(
        self, settings: dict[str, Any] | None = None, pair: TransformRange | None = None
    ) -> None:
        """Sets the ranges and strengths: those given to the constructor, overridden by `settings`.

        Args:
            settings: New values of `base`, `pair`, `seed` and the corruptions' strengths. A dict
                for a range replaces single fields of it. The random state is reset only where
                there is a seed.
            pair: Range of T where `settings` has none. Default: that of the constructor.

        Raises:
            FaceAlignError: If a name is unknown or a value out of range.

        Example:
            >>> layer = PairedAugmentation(128, [0])
            >>> layer.configure({"base": {"rotation": 10.0}, "blur": 1.5})
            >>> layer.base.rotation, layer.base.flip, layer.corruptions.blur
            (10.0, 0.5, 1.5)
        """
        settings = _current_names(**(settings or {}))
        unknown = sorted(set(settings) - {*self._given, "seed"})
        if unknown:
            raise FaceAlignError(
                f"Unknown augmentation setting {unknown[0]!r}; there are base, pair, "
                f"{', '.join(_STRENGTHS)} and seed."
            )
        # Not the current values, which an earlier call may have changed.
        usual = {**self._given, **({} if pair is None else {"pair": pair})}
        base, second = (override_range(name, usual[name], settings.get(name)) for name in _RANGES)
        strengths = {name: float(settings.get(name, usual[name])) for name in _STRENGTHS}
        self.corruptions = Corruptions(**strengths)
        self.base, self.pair = base, second
        if "seed" in settings:
            self.seed = settings["seed"]
            fresh = keras.random.SeedGenerator(self.seed)
            self.seed_generator.state.assign(fresh.state)

    def sample_base(self, count: Any, crop_size: int) -> tuple[Any, Any]:
        """Samples A, crop pixels to view pixels: float32 (B, 2, 3), and its flips, float32 (B,)."""
        matrix, flip = self.base.sample(count, self.size, self.seed_generator)
        return geometry.compose(matrix, self.centering(crop_size)), flip

    def sample_transform(self, count: Any) -> tuple[Any, Any]:
        """Samples T, first view's pixels to second view's: float32 (B, 2, 3), and flips, (B,)."""
        return self.pair.sample(count, self.size, self.seed_generator)

    def centering(self, crop_size: int) -> Any:
        """Returns the map from a crop's pixels to those of its central frame, float32 (1, 2, 3)."""
        shift = ops.full((1,), (self.size - crop_size) / 2, dtype="float32")
        return geometry.translation_matrix(shift, shift)

    def view(self, batch: dict[str, Any], matrix: Any, flip: Any) -> AugmentedView:
        """Applies a transformation to a batch.

        Args:
            batch: "image" (B, C, C, 3) uint8 or float, RGB 0 to 255; "landmarks" float (B, K, 2) in
                pixels of the crop; "visibility" (B, K), 0 where a landmark has no position. And
                "present" (B,), 0 for faces that only fill up the batch, if there are any.
            matrix: float (B, 2, 3), or (1, 2, 3) for all, crop pixels to view pixels.
            flip: float (B,), 1 where the matrix flips.

        Returns:
            The view.
        """
        count = ops.shape(batch["image"])[0]
        matrix = ops.broadcast_to(matrix, (count, 2, 3))
        images = warp_affine(batch["image"], matrix, (self.size, self.size))
        labeled = ops.cast(batch["visibility"], "float32") > 0
        labeled_face = ops.cast(ops.any(labeled, axis=-1), "float32")
        present = batch.get("present")
        if present is not None:
            present = ops.cast(present, "float32")
            labeled = ops.logical_and(labeled, ops.expand_dims(present, -1) > 0)
            # Without labels, a face would take part in the coherent loss.
            labeled_face = ops.maximum(labeled_face, 1.0 - present)
        # Missing positions may be NaN, which a mask of 0 as a factor would not remove.
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
        return AugmentedView(images, landmarks, visible, labeled_face, present)

    def corrupt(self, images: Any) -> Any:
        """Applies the corruptions, drawn separately for each image; geometry is kept.

        Args:
            images: float (B, S, S, 3), RGB 0 to 255.

        Returns:
            float (B, S, S, 3), RGB 0 to 255.
        """
        return self.corruptions.apply(images, self.seed_generator)

    def save_own_variables(self, store: Any) -> None:
        # Keras does not save random state, which a resumed run needs.
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        # Files that other code has written may lack it.
        if "seed_state" in list(store.keys()):
            self.seed_generator.state.assign(store["seed_state"])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "flip_permutation": self.flip_permutation,
            "base": self.base.to_dict(),
            "pair": self.pair.to_dict(),
            **asdict(self.corruptions),
            "seed": self.seed,
        }
