"""The training half of `FaceAlignModel`: two views of every face, and the paper's loss."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import keras
from keras import ops

from keras_facealign import geometry
from keras_facealign.landmarks import LandmarkScheme
from keras_facealign.models.devices import (
    build_optimizer,
    prepare_batches,
    prepare_validation,
    same_weights_everywhere,
)
from keras_facealign.models.replica_step import replica_test_step, replica_train_step
from keras_facealign.networks.architecture import Architecture
from keras_facealign.objective import AugmentedView, PairedAugmentation
from keras_facealign.objective.losses import HEATMAP_REDUCTIONS, coherent_loss, get_heatmap_loss
from keras_facealign.objective.recipes import TrainingSettings
from keras_facealign.objective.targets import TARGETS
from keras_facealign.objective.view_pair import Pair, check_batch, check_values
from keras_facealign.ops.heatmap import input_to_map, local_soft_argmax
from keras_facealign.ops.replicas import all_sum, exchange, replica_count
from keras_facealign.prediction import landmark_outputs

# Beyond this error, in map pixels, the window around a peak does not contain the true position, and
# the landmark loss is meaningless.
_LANDMARK_LOSS_REACH = 6.0


class TrainingStep:
    """Mix-in for `keras.Model` that adds the training and validation of `FaceAlignModel`.

    Keras's own loop runs on every backend: it calls the model with a batch of labeled faces, takes
    the loss from `compute_loss`, and logs what `compute_metrics` returns.
    """

    architecture: Architecture
    augmentation: PairedAugmentation
    scheme: LandmarkScheme
    decode_method: str
    landmark_offset: Any
    input_size: int
    num_landmarks: int
    _training: TrainingSettings
    _heatmap_tracker: Any
    _coherent_tracker: Any
    _nme_tracker: Any
    get_metrics_result: Any
    _loss_tracker: Any
    heatmaps_and_frames: Any

    def make_views(self, batch: dict[str, Any]) -> Pair:
        """Draws two views of every image, and the transformation between them, on the device.

        Args:
            batch: Tensors "image", "landmarks" and "visibility", see `FaceAlignModel`.

        Returns:
            The pair. All randomness comes from the model's own seed generator.
        """
        augmentation = self.augmentation
        count = ops.shape(batch["image"])[0]
        crop_size = int(batch["image"].shape[1])
        base, base_flip = augmentation.sample_base(count, crop_size)
        matrix, flip = augmentation.sample_transform(count)
        first = augmentation.view(batch, base, base_flip)
        both_flip = ops.abs(base_flip - flip)
        second = augmentation.view(batch, geometry.compose(matrix, base), both_flip)
        first.images = augmentation.corrupt(first.images)
        second.images = augmentation.corrupt(second.images)
        return Pair(first, second, matrix, flip)

    def pair_loss(self, pair: Pair, first: list[Any], second: list[Any]) -> dict[str, Any]:
        """Computes the terms of equation 1, summed over stacks.

        Where replicas on TensorFlow or PyTorch share a batch, each computes its part, and the
        parts' sum is the loss: a mean over the batch is a sum divided by
        `keras_facealign.ops.all_sum` of the count.

        Args:
            pair: The views from `make_views`.
            first: Heatmaps of the first view from every stack, each (B, H, W, K).
            second: Heatmaps of the second view from every stack.

        Returns:
            Scalars: "heatmap_loss", L(p-g1) + L(p-g2); "coherent_loss", L(p-p), unweighted;
            "landmark_loss"; and "loss", the weighted sum to minimize.
        """
        heatmap, landmark, coherent = 0.0, 0.0, 0.0
        for maps, view in ((first, pair.first), (second, pair.second)):
            view_heatmap, view_landmark = self.view_loss(view, maps)
            heatmap, landmark = heatmap + view_heatmap, landmark + view_landmark
        settings = self._training
        term = settings.coherent
        if term.weight > 0:
            permutation = self.scheme.flip_permutation
            # A landmark outside the first view cannot be compared, wherever the second shows it.
            seen = pair.visible_in_both(permutation)
            matrix = self.to_map_frame(pair.matrix)
            whole = term.region == "whole"
            for a, b in zip(first, second, strict=True):
                coherent = coherent + coherent_loss(
                    a,
                    b,
                    matrix,
                    pair.flip,
                    permutation,
                    seen,
                    term.error,
                    whole,
                    pair.first.present,
                )
            if term.stacks == "mean":
                coherent = coherent / len(first)
        total = settings.heatmap_weight * heatmap + term.weight * coherent
        total = total + settings.landmark_weight * landmark
        return {
            "loss": total,
            "heatmap_loss": heatmap,
            "landmark_loss": landmark,
            "coherent_loss": coherent,
        }

    def view_loss(self, view: AugmentedView, heatmaps: list[Any]) -> tuple[Any, Any]:
        """Computes heatmap and landmark loss of one view, scalars summed over all stacks."""
        settings = self._training
        map_size = self.architecture.map_size
        draw = TARGETS[settings.targets]
        targets = draw(view.landmarks, self.input_size, map_size, settings.sigma)
        position = input_to_map(view.landmarks, self.input_size, map_size)
        loss = get_heatmap_loss(settings.heatmap_loss)
        reduce = HEATMAP_REDUCTIONS[settings.heatmap_reduction]
        mask = view.visible[:, None, None, :]
        weight = 1.0 + settings.foreground_weight * targets  # `reduce` applies the mask
        heatmap, landmark = 0.0, 0.0
        for maps in heatmaps:
            heatmap = heatmap + reduce(loss(settings.peak * targets, maps) * weight, mask)
            if settings.landmark_weight > 0:
                found = local_soft_argmax(maps)
                squared = ops.sum(ops.square(found - position), axis=-1)
                near = ops.cast(squared < _LANDMARK_LOSS_REACH**2, "float32") * view.visible
                # The small constant keeps the root's gradient finite at 0.
                distance = ops.sqrt(squared + 0.01)
                number = all_sum(ops.sum(near))
                landmark = landmark + ops.sum(distance * near) / ops.maximum(number, 1.0)
        return heatmap, landmark

    def to_map_frame(self, matrix: Any) -> Any:
        """Converts matrices (B, 2, 3) between points in input pixels to points in map pixels."""
        ratio = self.architecture.map_size / self.input_size
        down = ops.convert_to_tensor(geometry.resize_matrix(ratio))
        up = ops.convert_to_tensor(geometry.resize_matrix(1 / ratio))
        shape = ops.shape(matrix)
        down, up = (ops.broadcast_to(m, shape) for m in (down, up))
        return geometry.compose(down, geometry.compose(matrix, up))

    def _decode(self, heatmaps: Any, frames: Any, offset: tuple[float, float]) -> Any:
        """Decodes landmarks for the metric, float32 (B, K, 2) in pixels of the input."""
        outputs = landmark_outputs(
            heatmaps,
            frames,
            input_size=self.input_size,
            decode_method=self.decode_method,
            landmark_offset=offset,
        )
        return outputs["landmarks"]

    def training_outputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Computes the loss of a training batch on a pair of views of every face.

        Args:
            batch: Tensors "image", "landmarks" and "visibility", see the class.

        Returns:
            Scalars "loss", "heatmap_loss", "landmark_loss" and "coherent_loss", see `pair_loss`;
            and for the NME of the first view "landmarks" and "predicted", float32 (B, K, 2) in
            pixels of the input, and "visible", float32 (B, K).
        """
        pair = self.make_views(batch)
        count = ops.shape(pair.first.images)[0]
        images = ops.concatenate([pair.first.images, pair.second.images], axis=0)
        heatmaps, frames = self.heatmaps_and_frames(images, training=True)
        # On TensorFlow the gradient of a slice costs ten times that of a split.
        halves = [ops.split(h, 2, axis=0) for h in heatmaps]
        first, second = [h[0] for h in halves], [h[1] for h in halves]
        shown = pair if frames is None else pair.in_frames(frames, self.input_size)
        terms = self.pair_loss(shown, first, second)
        frames = None if frames is None else frames[:count]
        predicted = self._decode(ops.stop_gradient(first[-1]), frames, (0.0, 0.0))
        return {**terms, **_compared(pair.first, predicted)}

    def validation_outputs(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Computes the loss of a validation batch, without augmentation.

        Args:
            batch: As for `training_outputs`.

        Returns:
            As from `training_outputs`, without "coherent_loss": there is no second view.
        """
        count = ops.shape(batch["image"])[0]
        centering = self.augmentation.centering(int(batch["image"].shape[1]))
        view = self.augmentation.view(batch, centering, ops.zeros((count,), "float32"))
        heatmaps, frames = self.heatmaps_and_frames(view.images, training=False)
        shown = view if frames is None else view.in_frames(frames, self.input_size)
        heatmap, landmark = self.view_loss(shown, heatmaps)
        settings = self._training
        total = settings.heatmap_weight * heatmap + settings.landmark_weight * landmark
        predicted = self._decode(heatmaps[-1], frames, self.landmark_offset)
        terms = {"loss": total, "heatmap_loss": heatmap, "landmark_loss": landmark}
        return {**terms, **_compared(view, predicted)}

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Trains the model, as in Keras.

        Batches that have an order of their own for each epoch (`FaceBatches`, `LazyFaceBatches`,
        `PackedFaces`, `as_tf_dataset`) come in that order, which Keras would shuffle again by a
        random state that no checkpoint holds: a run that is resumed at an epoch sees the same
        batches as one that was not interrupted.
        """
        fit = super().fit  # pyright: ignore[reportAttributeAccessIssue]
        call = inspect.signature(fit).bind(*args, **kwargs)
        batches = call.arguments.get("x")
        check_values(batches)
        held_out = call.arguments.get("validation_data")
        check_values(held_out)
        prepare_batches(self, batches)
        if held_out is not None:
            prepare_validation(self, held_out)
        build_optimizer(self)
        same_weights_everywhere(self)
        if hasattr(batches, "start_at"):
            callbacks: Any = call.arguments.get("callbacks")
            order = _EpochOrder(batches)
            if isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks.callbacks.append(order)
            else:
                given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
                call.arguments["callbacks"] = [order, *(c for c in given if c is not None)]
            call.arguments["shuffle"] = False
        return fit(*call.args, **call.kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in Keras."""
        check_values(x)
        with exchange() if prepare_validation(self, x) else nullcontext():
            return super().evaluate(x, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As in Keras."""
        check_values(x)
        build_optimizer(self)
        return super().train_on_batch(x, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]

    def test_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As in Keras."""
        check_values(x)
        return super().test_on_batch(x, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]

    def train_step(self, *args: Any) -> Any:
        """Takes one optimizer step: `(data)` on TensorFlow and PyTorch, `(state, data)` on JAX."""
        batch = self._check_batch(args[-1])
        with exchange():
            if replica_count() > 1:
                return replica_train_step(self, batch)
        return super().train_step(*args[:-1], batch)  # pyright: ignore[reportAttributeAccessIssue]

    def test_step(self, *args: Any) -> Any:
        """Evaluates one batch: `(data)` on TensorFlow and PyTorch, `(state, data)` on JAX."""
        batch = self._check_batch(args[-1])
        if replica_count() > 1:
            return replica_test_step(self, batch)
        return super().test_step(*args[:-1], batch)  # pyright: ignore[reportAttributeAccessIssue]

    def _check_batch(self, data: Any) -> dict[str, Any]:
        return check_batch(data, self.input_size, self.num_landmarks)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        return y_pred["loss"]

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        count = ops.cast(ops.shape(y_pred["predicted"])[0], "float32")
        if "present" in y_pred:
            present = ops.sum(y_pred["present"])
            # Keras has counted the faces that fill up the batch.
            self._loss_tracker.update_state(y_pred["loss"], sample_weight=present - count)
            count = present
        trackers = [self._heatmap_tracker, self._coherent_tracker]
        for tracker in trackers:
            if tracker.name in y_pred:
                tracker.update_state(y_pred[tracker.name], sample_weight=count)
        self._nme_tracker.update_state(
            y_pred["landmarks"], y_pred["predicted"], sample_weight=y_pred["visible"]
        )
        logs = self.get_metrics_result()
        return {
            name: value
            for name, value in logs.items()
            if name in y_pred or name not in [tracker.name for tracker in trackers]
        }


class _EpochOrder(keras.callbacks.Callback):
    """Sets the batches' order to that of the epoch, which is not 0 where a run is resumed."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.start_at(epoch)


def _compared(view: AugmentedView, predicted: Any) -> dict[str, Any]:
    """Collects the inputs of the NME metric."""
    compared = {"landmarks": view.landmarks, "predicted": predicted, "visible": view.visible}
    return compared if view.present is None else {**compared, "present": view.present}
