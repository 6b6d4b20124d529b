"""Keras metrics of landmark error, computed on the device inside training and test steps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError

NME_NORMALIZERS = ("inter_ocular", "box_size", "box_diagonal")


@keras.saving.register_keras_serializable(package="keras_facealign")
class NormalizedMeanError(keras.metrics.Metric):
    """Computes the normalized mean error (NME) in percent, averaged over images.

    The error of an image is the mean Euclidean distance over its labeled landmarks, divided by a
    length of that image's ground truth. An image is left out of the average when it has no
    labeled landmark, or when that length is undefined (an eye corner is not labeled, or the length
    is zero). `keras_facealign.evaluation.nme` computes the same with NumPy.

    Args:
        name: Name of the metric.
        normalizer: `"inter_ocular"` (distance of `eye_corners`), `"box_size"` (`sqrt(w * h)` of the
            tight box of the labeled landmarks) or `"box_diagonal"` (the diagonal of that box).
        eye_corners: Indices of the two outer eye corners; the default fits the iBUG-68 scheme.
        dtype: Dtype of the accumulators. Default: float32.

    Raises:
        FaceAlignError: For an unknown normalizer, or eye corners that are not two indices.

    Example:
        >>> metric = NormalizedMeanError(normalizer="box_diagonal")
        >>> metric.update_state([[[0.0, 0.0], [30.0, 40.0]]], [[[1.0, 0.0], [31.0, 40.0]]])
        >>> round(float(metric.result()), 4)
        2.0
    """

    def __init__(
        self,
        name: str = "nme",
        normalizer: str = "inter_ocular",
        eye_corners: tuple[int, int] = (36, 45),
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if normalizer not in NME_NORMALIZERS:
            raise FaceAlignError(
                f"Unknown normalizer {normalizer!r}: use one of {', '.join(NME_NORMALIZERS)}"
            )
        corners = tuple(int(index) for index in eye_corners)
        if len(corners) != 2 or min(corners) < 0 or corners[0] == corners[1]:
            raise FaceAlignError(f"eye_corners must be two different indices, got {eye_corners!r}")
        self.normalizer = normalizer
        self.eye_corners = corners
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Ground-truth landmarks (B, K, 2), pixels. Unlabeled ones may have any
                value, also NaN.
            y_pred: Predicted landmarks (B, K, 2), pixels of the same frame.
            sample_weight: Visibility (B, K): a landmark counts where it is above 0. All count if
                omitted.

        Raises:
            FaceAlignError: If the shapes do not fit each other.
        """
        y_true = ops.cast(ops.convert_to_tensor(y_true), self.dtype)
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), self.dtype)
        self._check_shapes(y_true, y_pred)
        if sample_weight is None:
            labeled = ops.ones_like(y_true[..., 0], dtype="bool")
        else:
            sample_weight = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
            if tuple(sample_weight.shape[1:]) != tuple(y_true.shape[1:2]):
                raise FaceAlignError(
                    "sample_weight must be the visibility (B, K) of the landmarks, got shape "
                    f"{tuple(sample_weight.shape)} for landmarks {tuple(y_true.shape)}"
                )
            labeled = sample_weight > 0

        # Not by a factor of 0: unlabeled points may be NaN.
        distances = _norm(ops.where(labeled[..., None], y_pred - y_true, 0.0))
        number = ops.sum(ops.cast(labeled, self.dtype), axis=-1)
        error = ops.sum(distances, axis=-1) / ops.maximum(number, 1.0)

        length = self._length(y_true, labeled)
        valid = ops.logical_and(number > 0, length > 0)
        error = ops.where(valid, error / ops.where(valid, length, 1.0), 0.0)
        self.total.assign(self.total + 100.0 * ops.sum(error))
        self.count.assign(self.count + ops.sum(ops.cast(valid, self.dtype)))

    def result(self) -> Any:
        """Returns the mean over all images in percent, a scalar; NaN without a measured image."""
        # Not by division alone: PyTorch and XLA may treat 0 / 0 differently.
        mean = self.total / ops.maximum(self.count, 1.0)
        return ops.where(self.count > 0, mean, float("nan"))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "normalizer": self.normalizer,
            "eye_corners": list(self.eye_corners),
        }

    def _check_shapes(self, y_true: Any, y_pred: Any) -> None:
        true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
        # While a graph is traced, the batch size may be unknown.
        if len(true_shape) != 3 or true_shape[-1] != 2 or true_shape[1:] != pred_shape[1:]:
            raise FaceAlignError(
                "Landmarks must be (B, K, 2) with the same K in prediction and ground truth, got "
                f"ground truth {true_shape} and prediction {pred_shape}"
            )
        if self.normalizer == "inter_ocular" and max(self.eye_corners) >= true_shape[1]:
            raise FaceAlignError(
                f"eye_corners {self.eye_corners} do not exist among {true_shape[1]} landmarks; "
                "give the indices of their scheme"
            )

    def _length(self, y_true: Any, labeled: Any) -> Any:
        """Returns the normalizing length (B,), 0 where it is undefined."""
        if self.normalizer == "inter_ocular":
            first, second = self.eye_corners
            both = ops.logical_and(labeled[:, first], labeled[:, second])
            return _norm(ops.where(both[:, None], y_true[:, first] - y_true[:, second], 0.0))
        far = 1e9  # outside of any image, and the difference of two is finite
        # Not ops.max, which torch.compile cannot trace.
        high = ops.amax(ops.where(labeled[..., None], y_true, -far), axis=1)
        low = ops.amin(ops.where(labeled[..., None], y_true, far), axis=1)
        sides = ops.maximum(high - low, 0.0)
        if self.normalizer == "box_size":
            return ops.sqrt(sides[:, 0] * sides[:, 1])
        return _norm(sides)


def _norm(vectors: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(vectors), axis=-1))
