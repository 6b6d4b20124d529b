"""`FaceAlignModel`: a network that trains on pairs of views and predicts landmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_facealign import geometry
from keras_facealign.augmentation import PairedAugmentation, TransformRange, View
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme, get_scheme
from keras_facealign.layers.heatmap_decoder import HeatmapDecoder
from keras_facealign.losses import coherent_loss, get_heatmap_loss, heatmap_mean
from keras_facealign.metrics import NormalizedMeanError
from keras_facealign.models.stacked import Architecture, build_network
from keras_facealign.models.steps import BackendSteps
from keras_facealign.ops.heatmap import (
    decode_heatmaps,
    draw_heatmaps,
    input_to_map,
    local_soft_argmax,
)

__all__ = ["FaceAlignModel", "Pair"]

# Beyond this error, in map pixels, the window around a peak does not hold the true position, and
# shaping its values would teach nothing.
_LANDMARK_LOSS_REACH = 6.0


class Pair:
    """Two views of a batch and the transformation between them.

    Attributes:
        first: The view I.
        second: The view T . I.
        matrix: float32 (B, 2, 3), T in input pixels, mirroring included.
        flip: float32 (B,), 1 where T mirrors.
    """

    def __init__(self, first: View, second: View, matrix: Any, flip: Any) -> None:
        self.first = first
        self.second = second
        self.matrix = matrix
        self.flip = flip


@keras.saving.register_keras_serializable(package="keras_facealign")
class FaceAlignModel(BackendSteps, keras.Model):
    """A heatmap network with the paper's training step and sub-pixel prediction.

    `model(images)` takes RGB images, 0 to 255, (B, S, S, 3), and gives a list with the raw heatmaps
    of every stack, float32 (B, 64, 64, K). `model.fit(dataset)` takes batches that are dicts:

    * "image": uint8 or float (B, C, C, 3), RGB 0 to 255, the face in the middle `S` pixels and a
      border around them that augmentation may bring in;
    * "landmarks": float32 (B, K, 2), pixels of that crop, x before y;
    * "visibility": (B, K), 0 where a landmark has no position, else 1 or 2.

    Each step draws two views of every image on the device and minimises equation 1 of Stacked Dense
    U-Nets (BMVC 2018), summed over the stacks; `draw_pair` and `pair_loss` are its two halves, and
    a subclass may override either, or `train_step`. Landmarks that have no position or lie outside
    a view do not count.

    Args:
        architecture: The network, an `Architecture` or its dict.
        scheme: Name of the landmark scheme. Its number of points must be the architecture's.
        name: Model name.

    Example:
        >>> model = FaceAlignModel(Architecture(stacks=1, width=0.125))
        >>> model.compile("adam")
        >>> landmarks, confidence = model.predict_landmarks(np.zeros((1, 128, 128, 3), "uint8"))
        >>> landmarks.shape, confidence.shape
        ((1, 68, 2), (1, 68))
    """

    def __init__(
        self,
        architecture: Architecture | dict[str, Any],
        scheme: str = "ibug68",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(architecture, dict):
            architecture = Architecture(**architecture)
        landmark_scheme = get_scheme(scheme)
        if architecture.num_landmarks != landmark_scheme.num_landmarks:
            raise FaceAlignError(
                f"num_landmarks={architecture.num_landmarks} does not fit scheme {scheme!r}, which "
                f"has {landmark_scheme.num_landmarks} points."
            )
        images, heatmaps = build_network(architecture)
        super().__init__(inputs=images, outputs=heatmaps, name=name, **kwargs)  # pyright: ignore[reportCallIssue]
        self.architecture = architecture
        self.scheme: LandmarkScheme = landmark_scheme
        self.decode_method = "taylor"
        self.augmentation = PairedAugmentation(
            architecture.input_size, landmark_scheme.flip_permutation, name="augmentation"
        )
        self._augmentation_defaults = self.augmentation.get_config()
        self._heatmap_tracker = keras.metrics.Mean(name="heatmap_loss")
        self._coherent_tracker = keras.metrics.Mean(name="coherent_loss")
        self._total_tracker = keras.metrics.Mean(name="loss")
        self._nme_tracker = NormalizedMeanError(name="nme", eye_corners=landmark_scheme.eye_corners)

    @property
    def input_size(self) -> int:
        """Side of the input in pixels."""
        return self.architecture.input_size

    @property
    def num_landmarks(self) -> int:
        """Landmarks of a face (K)."""
        return self.architecture.num_landmarks

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> list[Any]:
        heatmaps = super().call(inputs, training=training, mask=mask)
        # Keras unwraps a list of one output; callers rely on one entry a stack.
        return list(heatmaps) if isinstance(heatmaps, (list, tuple)) else [heatmaps]

    # ---- training -------------------------------------------------------------------------------

    def compile(  # type: ignore[override]
        self,
        optimizer: Any = "nadam",
        coherent_weight: float = 0.001,
        heatmap_loss: str | Callable[[Any, Any], Any] = "sigmoid_crossentropy",
        sigma: float = 1.5,
        foreground_weight: float = 0.0,
        landmark_weight: float = 0.0,
        augmentation: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Sets how the model trains.

        Args:
            optimizer: A Keras optimiser or its name.
            coherent_weight: Weight of the coherent loss (lambda; the paper's 0.001).
            heatmap_loss: Element-wise loss against the ground truth, see
                `keras_facealign.losses.get_heatmap_loss`.
            sigma: Standard deviation of the ground truth's Gaussians in map pixels.
            foreground_weight: Pixels weigh 1 + foreground_weight * target, so that the few pixels
                near a landmark are not drowned by the background. 0 is the paper's.
            landmark_weight: Weight of the mean distance, in map pixels, between the ground truth
                and the sub-pixel position that decoding reads. 0 is the paper's.
            augmentation: Overrides of `PairedAugmentation`'s arguments `base`, `pair`, `color`,
                `erase`, `seed`.
            **kwargs: `run_eagerly`, `jit_compile`, `steps_per_execution`, `auto_scale_loss`, as in
                Keras.

        Raises:
            FaceAlignError: If a value is out of range or a name is unknown.
        """
        for name in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise FaceAlignError(
                    f"compile() got {name}={kwargs[name]!r}; this model's loss is set by "
                    "heatmap_loss and coherent_weight, and it reports NME by itself."
                )
        for name, value in (
            ("coherent_weight", coherent_weight),
            ("foreground_weight", foreground_weight),
            ("landmark_weight", landmark_weight),
        ):
            if not value >= 0:
                raise FaceAlignError(f"{name} is {value}; it must not be negative.")
        if not sigma > 0:
            raise FaceAlignError(f"sigma is {sigma}; a Gaussian needs a positive one, such as 1.5.")
        get_heatmap_loss(heatmap_loss)
        self._configure_augmentation(augmentation or {})
        self._training = {
            "coherent_weight": float(coherent_weight),
            "heatmap_loss": heatmap_loss,
            "sigma": float(sigma),
            "foreground_weight": float(foreground_weight),
            "landmark_weight": float(landmark_weight),
            "augmentation": dict(augmentation or {}),
        }
        super().compile(optimizer=optimizer, **kwargs)

    def _configure_augmentation(self, overrides: dict[str, Any]) -> None:
        unknown = sorted(set(overrides) - {"base", "pair", "color", "erase", "seed"})
        if unknown:
            raise FaceAlignError(
                f"Unknown augmentation setting {unknown[0]!r}; there are base, pair, color, erase "
                "and seed."
            )
        # What an earlier compile() changed is not to linger.
        settings = {**self._augmentation_defaults, **overrides}
        ranges = {name: self._range(name, settings[name]) for name in ("base", "pair")}
        for name, value in ranges.items():
            setattr(self.augmentation, name, value)
        for name in ("color", "erase"):
            setattr(self.augmentation, name, float(settings[name]))
        if "seed" in overrides:
            seed = overrides["seed"]
            fresh = keras.random.SeedGenerator(seed)
            self.augmentation.seed = seed
            self.augmentation.seed_generator.state.assign(fresh.state)

    def _range(self, name: str, value: Any) -> TransformRange:
        if isinstance(value, TransformRange):
            return value
        try:
            fields = {**self._augmentation_defaults[name], **value}
            return TransformRange(**{**fields, "scale": tuple(fields["scale"])})
        except TypeError as error:
            raise FaceAlignError(
                f"augmentation[{name!r}] is {value!r}; give a TransformRange or a dict of its "
                f"fields {', '.join(TransformRange.__dataclass_fields__)} ({error})."
            ) from error

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if not config:
            return config
        training = dict(self._training)
        training["augmentation"] = {
            key: value.to_dict() if isinstance(value, TransformRange) else value
            for key, value in training["augmentation"].items()
        }
        for name in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            config.pop(name, None)
        return {**config, **keras.saving.serialize_keras_object(training)}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = {key: keras.saving.deserialize_keras_object(v) for key, v in config.items()}
        self.compile(**config)
        if hasattr(self, "optimizer") and self.built:
            self.optimizer.build(self.trainable_variables)

    def draw_pair(self, batch: dict[str, Any]) -> Pair:
        """Draws two views of every image, and the transformation between them, on the device.

        Args:
            batch: As `fit` takes it.

        Returns:
            The pair. All randomness comes from the model's own seed generator.
        """
        augmentation = self.augmentation
        count = ops.shape(batch["image"])[0]
        crop_size = int(batch["image"].shape[1])
        base, base_flip = augmentation.draw_base(count, crop_size)
        matrix, flip = augmentation.draw_pair(count)
        first = augmentation.view(batch, base, base_flip)
        both_flip = ops.abs(base_flip - flip)
        second = augmentation.view(batch, geometry.compose(matrix, base), both_flip)
        first.images = augmentation.disturb(first.images)
        second.images = augmentation.disturb(second.images)
        return Pair(first, second, matrix, flip)

    def pair_loss(self, pair: Pair, first: list[Any], second: list[Any]) -> dict[str, Any]:
        """The terms of equation 1, summed over stacks.

        Args:
            pair: What `draw_pair` drew.
            first: Heatmaps of the first view from every stack, each (B, H, W, K).
            second: Heatmaps of the second view from every stack.

        Returns:
            Scalars: "heatmap_loss", L(p-g1) + L(p-g2); "coherent_loss", L(p-p), unweighted;
            "landmark_loss"; and "loss", the weighted sum to minimise.
        """
        heatmap, landmark, coherent = 0.0, 0.0, 0.0
        for maps, view in ((first, pair.first), (second, pair.second)):
            view_heatmap, view_landmark = self.view_loss(view, maps)
            heatmap, landmark = heatmap + view_heatmap, landmark + view_landmark
        settings = self._training
        if settings["coherent_weight"] > 0:
            # A landmark outside the first view cannot be compared, wherever the second shows it.
            seen = self._seen_in_both(pair)
            matrix = self.to_map_frame(pair.matrix)
            for a, b in zip(first, second, strict=True):
                coherent = coherent + coherent_loss(
                    a, b, matrix, pair.flip, self.scheme.flip_permutation, seen
                )
        total = heatmap + settings["coherent_weight"] * coherent
        total = total + settings["landmark_weight"] * landmark
        return {
            "loss": total,
            "heatmap_loss": heatmap,
            "landmark_loss": landmark,
            "coherent_loss": coherent,
        }

    def _seen_in_both(self, pair: Pair) -> Any:
        swap = ops.convert_to_tensor(self.scheme.flip_permutation, dtype="int32")
        moved = ops.where(
            ops.reshape(pair.flip, (-1, 1)) > 0.5,
            ops.take(pair.first.visible, swap, axis=1),
            pair.first.visible,
        )
        return moved * pair.second.visible

    def view_loss(self, view: View, heatmaps: list[Any]) -> tuple[Any, Any]:
        """Heatmap loss and landmark loss of one view against its ground truth, over all stacks."""
        settings = self._training
        map_size = self.architecture.map_size
        position = input_to_map(view.landmarks, self.input_size, map_size)
        targets = draw_heatmaps(position, map_size, settings["sigma"])
        loss = get_heatmap_loss(settings["heatmap_loss"])
        mask = view.visible[:, None, None, :]
        weight = mask * (1.0 + settings["foreground_weight"] * targets)
        heatmap, landmark = 0.0, 0.0
        for maps in heatmaps:
            heatmap = heatmap + heatmap_mean(loss(targets, maps) * weight, mask)
            if settings["landmark_weight"] > 0:
                found = local_soft_argmax(maps)
                squared = ops.sum(ops.square(found - position), axis=-1)
                near = ops.cast(squared < _LANDMARK_LOSS_REACH**2, "float32") * view.visible
                # The small constant keeps the root's gradient finite at 0.
                distance = ops.sqrt(squared + 0.01)
                landmark = landmark + ops.sum(distance * near) / ops.maximum(ops.sum(near), 1.0)
        return heatmap, landmark

    def to_map_frame(self, matrix: Any) -> Any:
        """The same transformation in map pixels: (B, 2, 3) input pixels in, map pixels out."""
        ratio = self.architecture.map_size / self.input_size
        down = ops.convert_to_tensor(geometry.resize_matrix(ratio))
        up = ops.convert_to_tensor(geometry.resize_matrix(1 / ratio))
        shape = ops.shape(matrix)
        down, up = (ops.broadcast_to(m, shape) for m in (down, up))
        return geometry.compose(down, geometry.compose(matrix, up))

    def training_loss(self, data: Any) -> Any:
        batch = _check_batch(data, self)
        pair = self.draw_pair(batch)
        count = ops.shape(pair.first.images)[0]
        images = ops.concatenate([pair.first.images, pair.second.images], axis=0)
        heatmaps = self(images, training=True)
        first, second = [h[:count] for h in heatmaps], [h[count:] for h in heatmaps]
        terms = self.pair_loss(pair, first, second)
        self._update_metrics(terms, pair.first, first[-1], count)
        return terms["loss"]

    def test_loss(self, data: Any) -> Any:
        batch = _check_batch(data, self)
        count = ops.shape(batch["image"])[0]
        centring = self.augmentation.centring(int(batch["image"].shape[1]))
        view = self.augmentation.view(batch, centring, ops.zeros((count,), "float32"))
        heatmaps = self(view.images, training=False)
        heatmap, landmark = self.view_loss(view, heatmaps)
        total = heatmap + self._training["landmark_weight"] * landmark
        terms = {"loss": total, "heatmap_loss": heatmap, "coherent_loss": None}
        self._update_metrics(terms, view, heatmaps[-1], count)
        return total

    def validation_logs(self) -> dict[str, Any]:
        logs = self.get_metrics_result()
        # Validation draws no second view that the first could agree with.
        logs.pop(self._coherent_tracker.name)
        return logs

    def _update_metrics(self, terms: dict[str, Any], view: View, maps: Any, count: Any) -> None:
        for tracker, name in (
            (self._total_tracker, "loss"),
            (self._heatmap_tracker, "heatmap_loss"),
            (self._coherent_tracker, "coherent_loss"),
        ):
            if terms[name] is not None:
                tracker.update_state(terms[name], sample_weight=ops.cast(count, "float32"))
        found, _ = decode_heatmaps(ops.stop_gradient(maps), self.input_size, self.decode_method)
        self._nme_tracker.update_state(view.landmarks, found, sample_weight=view.visible)

    # ---- prediction -----------------------------------------------------------------------------

    def predict_landmarks(self, images: Any, batch_size: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """Finds the landmarks of cropped faces.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Faces that go through the network at once.

        Returns:
            Landmarks, float32 (B, K, 2) in pixels of the input, x before y, 0-based; and
            confidence, float32 (B, K), 0 to 1.

        Raises:
            FaceAlignError: If the images have another shape or range, or `batch_size` is below 1.
        """
        if batch_size < 1:
            raise FaceAlignError(f"batch_size is {batch_size}; it must be at least 1.")
        images = np.asarray(images)
        self._check_images(images)
        if not len(images):
            k = self.num_landmarks
            return np.zeros((0, k, 2), np.float32), np.zeros((0, k), np.float32)
        model = self._landmark_model()
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size].astype(np.float32)
            count = len(chunk)
            if model.jit_compile:
                # XLA compiles once a batch size; powers of two bound how often that happens.
                room = (1 << (count - 1).bit_length()) - count
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], room, axis=0)])
            parts.append([np.asarray(part)[:count] for part in model.predict_on_batch(chunk)])
        landmarks, confidence = (np.concatenate(p) for p in zip(*parts, strict=True))
        return landmarks, confidence

    def _landmark_model(self) -> keras.Model:
        """The network with decoding at its end, sharing all weights."""
        key = f"_landmark_model_{self.decode_method}"
        if key not in self.__dict__:
            decoder = HeatmapDecoder(self.input_size, self.decode_method, name="decoder")
            landmarks = decoder(self.outputs[-1])
            # The input itself and not the list of inputs, the structure that callers will pass.
            model = keras.Model(self.inputs[0], landmarks, name=f"{self.name}_decoded")
            # Set around Keras's attribute tracking: the layers are this model's own, and tracking
            # them twice would save every weight twice.
            self.__dict__[key] = model
        return self.__dict__[key]

    def _check_images(self, images: np.ndarray) -> None:
        size = self.input_size
        if images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise FaceAlignError(
                f"images have shape {images.shape}, but this model takes (batch, {size}, {size}, "
                "3); crop and resize faces first, or use FaceAligner, which does."
            )
        if images.dtype != np.uint8 and images.size:
            low, high = float(np.min(images)), float(np.max(images))
            if not (low >= 0 and high <= 255):
                raise FaceAlignError(
                    f"images have values from {low:g} to {high:g}; give RGB between 0 and 255."
                )

    # ---- serialisation --------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "architecture": self.architecture.to_dict(),
            "scheme": self.scheme.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> FaceAlignModel:
        config = dict(config)
        trainable = config.pop("trainable", True)
        model = cls(**config)
        model.trainable = trainable
        return model


def _check_batch(data: Any, model: FaceAlignModel) -> dict[str, Any]:
    """Names what is wrong with a batch before an obscure shape error does."""
    if isinstance(data, (tuple, list)) and data and all(part is None for part in data[1:]):
        # As `train_on_batch(batch)` and `fit` on arrays pass it: (x, y, sample_weight).
        data = data[0]
    if not isinstance(data, dict) or not {"image", "landmarks", "visibility"} <= set(data):
        got = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise FaceAlignError(
            "A training batch must be a dict with image, landmarks and visibility (see "
            f"keras_facealign.data), got {got}."
        )
    image, landmarks = data["image"], data["landmarks"]
    if len(image.shape) != 4 or int(image.shape[1]) != int(image.shape[2]) or image.shape[3] != 3:
        raise FaceAlignError(f"image has shape {tuple(image.shape)}; give (batch, side, side, 3).")
    if int(image.shape[1]) < model.input_size:
        raise FaceAlignError(
            f"image has side {image.shape[1]}, less than the model's {model.input_size}; make "
            "crops with a border."
        )
    if tuple(landmarks.shape[1:]) != (model.num_landmarks, 2):
        raise FaceAlignError(
            f"landmarks have shape {tuple(landmarks.shape)}; give (batch, {model.num_landmarks}, "
            "2) in pixels of the crop."
        )
    if tuple(data["visibility"].shape[1:]) != (model.num_landmarks,):
        raise FaceAlignError(
            f"visibility has shape {tuple(data['visibility'].shape)}; give (batch, "
            f"{model.num_landmarks})."
        )
    return data
