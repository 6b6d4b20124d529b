"""The prediction half of `FaceAlignModel`: crops in, landmarks out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.calibration import Calibration
from keras_facealign.prediction import (
    LandmarkOutputs,
    any_size,
    check_offset,
    landmark_outputs,
    power_of_two,
    predict_outputs,
)
from keras_facealign.prediction.concurrency import WorkerPool, start_keras

if TYPE_CHECKING:
    from keras_facealign.landmarks import LandmarkScheme


class LandmarkPrediction:
    """Mix-in for `keras.Model` that adds `predict_landmarks` and the outputs of exported graphs.

    Attributes:
        decode_method: How heatmaps become landmarks, see `keras_facealign.ops.decode_heatmaps`.
        calibration: Turns the shape of a heatmap into a standard deviation and a probability of
            being visible; None for a model that has not been calibrated. It belongs to the weights
            that it was fitted for: training makes it wrong.
    """

    input_size: int
    num_landmarks: int
    _landmark_offset: tuple[float, float] = (0.0, 0.0)
    calibration: Calibration | None = None
    decode_method: str
    scheme: LandmarkScheme
    name: str

    def heatmaps_and_frames(
        self, images: Any, training: bool | None = None
    ) -> tuple[list[Any], Any]:
        """Computes heatmaps and their frames; see `FaceAlignModel`."""
        raise NotImplementedError

    @property
    def landmark_offset(self) -> tuple[float, float]:
        """(dx, dy) that predictions add to landmarks, in pixels of the input.

        It may be set: (0, 0) gives the positions that training with flipped images leads to, see
        `keras_facealign.training.landmark_offset`.
        """
        return self._landmark_offset

    @landmark_offset.setter
    def landmark_offset(self, value: Sequence[float]) -> None:
        self._landmark_offset = check_offset(value, self.input_size)

    @renamed_arguments(mirror="flip_test")
    def predict_landmarks(
        self, images: Any, batch_size: int = 32, flip_test: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the landmarks of cropped faces.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Number of faces in one call of the network.
            flip_test: As in `predict_outputs`.

        Returns:
            Landmarks, float32 (B, K, 2) in pixels of the input, x before y, 0-based; and
            confidence, float32 (B, K), 0 to 1.

        Raises:
            FaceAlignError: As from `predict_outputs`.
        """
        outputs = self.predict_outputs(images, batch_size, flip_test)
        return outputs["landmarks"], outputs["confidence"]

    @renamed_arguments(mirror="flip_test")
    def predict_outputs(
        self, images: Any, batch_size: int = 32, flip_test: bool = False
    ) -> LandmarkOutputs:
        """Predicts the landmarks of cropped faces, with all that is known about each.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Number of faces in one call of the network.
            flip_test: Whether to average the predictions for every face and its mirror image, see
                `keras_facealign.prediction.flip_test`: more accurate, in twice the time.

        Returns:
            The outputs of `landmark_outputs` as NumPy arrays.

        Raises:
            FaceAlignError: If the images have another shape or range, `batch_size` is below 1, or
                `flip_test` is asked for and the landmark scheme does not define flip pairs.
        """
        key = ("outputs", self.decode_method, self.landmark_offset, self.calibration)
        return self._predict(key, self.landmark_outputs, images, batch_size, flip_test)

    def predict_heatmaps(self, images: Any, batch_size: int = 32) -> dict[str, np.ndarray]:
        """Predicts the raw heatmaps of cropped faces.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Number of faces in one call of the network.

        Returns:
            `heatmaps`, float32 (B, M, M, K), logits of the last stack; and `frames`, float32
            (B, 2, 3), if the network has a spatial transformer, see `heatmaps_and_frames`.

        Raises:
            FaceAlignError: If the images have another shape or range, or `batch_size` is below 1.
        """

        def outputs(heatmaps: list[Any], frames: Any) -> dict[str, Any]:
            last = keras.ops.cast(heatmaps[-1], "float32")
            return {"heatmaps": last} if frames is None else {"heatmaps": last, "frames": frames}

        return dict(self._predict(("heatmaps",), outputs, images, batch_size))

    def landmark_outputs(self, heatmaps: Any, frames: Any = None) -> LandmarkOutputs:
        """Turns heatmaps into landmarks, in `keras.ops`: the end of every exported graph.

        Args:
            heatmaps: Logits, float (B, M, M, K), or a list with those of every stack, of which the
                last one is decoded.
            frames: float32 (B, 2, 3) where the heatmaps show another frame than the input, as
                after a spatial transformer: the matrix from the input's pixels to theirs.

        Returns:
            `landmarks`, float32 (B, K, 2) in pixels of the input, x before y, 0-based; and
            `confidence`, float32 (B, K), 0 to 1, the highest probability of the map. With a
            `calibration` also `sigma`, float32 (B, K), the standard deviation of the position along
            each axis in pixels of the input, and `visibility`, float32 (B, K), the probability that
            the landmark is not hidden.

        Example:
            >>> from keras_facealign import HourglassFaceAlign
            >>> model = HourglassFaceAlign(stacks=1, width=0.125)
            >>> outputs = model.landmark_outputs(model(np.zeros((1, 128, 128, 3))))
            >>> sorted(outputs)
            ['confidence', 'landmarks']
        """
        return landmark_outputs(
            heatmaps[-1] if isinstance(heatmaps, (list, tuple)) else heatmaps,
            frames,
            input_size=self.input_size,
            decode_method=self.decode_method,
            calibration=self.calibration,
            landmark_offset=self.landmark_offset,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and copies the model as Keras does, with what its configuration does not hold."""
        rebuild, content = super().__reduce__()[:2]  # pyright: ignore[reportGeneralTypeIssues]
        return _restore, (rebuild, content, self.decode_method, self.calibration)

    def _predict(
        self,
        key: tuple[Any, ...],
        outputs: Callable[..., Any],
        images: Any,
        batch_size: int,
        flip_test: bool = False,
    ) -> LandmarkOutputs:
        """Runs the network with `outputs` at its end; `key` says what its trace depends on."""
        start_keras()
        # One thread at a time: Keras traces functions, and on JAX moves all variables, without a
        # lock. Set around Keras's attribute tracking, which would save all weights twice.
        pool: WorkerPool[dict[tuple[Any, ...], _Predictor]]
        pool = self.__dict__.setdefault("_predictors", WorkerPool(dict, most=1))

        def predictor(made: dict[tuple[Any, ...], _Predictor]) -> _Predictor:
            if key not in made:
                made[key] = _Predictor(self, outputs)
            return made[key]

        def run(batch: np.ndarray) -> Any:
            with pool.borrow() as made:
                return predictor(made).predict_on_batch(batch.astype(np.float32))

        with pool.borrow() as made:
            sizes = power_of_two if predictor(made).jit_compile else any_size
        return predict_outputs(
            run,
            images,
            sizes(2 * batch_size if flip_test else batch_size),
            input_size=self.input_size,
            flip_test=flip_test,
            scheme=self.scheme,
            landmark_offset=self.landmark_offset,
        )


def _restore(
    rebuild: Callable[..., Any], content: Any, decode_method: str, calibration: Calibration | None
) -> Any:
    start_keras()
    model = rebuild(*content)
    model.decode_method, model.calibration = decode_method, calibration
    return model


class _Predictor(keras.Model):
    """A network with decoding at its end, sharing all weights."""

    def __init__(self, network: Any, outputs: Callable[[list[Any], Any], dict[str, Any]]) -> None:
        super().__init__(name=f"{network.name}_predictor", dtype="float32")
        self.network = network
        self._outputs = outputs

    def call(self, images: Any) -> dict[str, Any]:
        return self._outputs(*self.network.heatmaps_and_frames(images, training=False))
