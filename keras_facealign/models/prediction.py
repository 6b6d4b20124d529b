"""From images to landmarks: the network with decoding at its end, and its call on NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import check_crops
from keras_facealign.layers.heatmap_decoder import HeatmapDecoder
from keras_facealign.models.flip_test import predict_with_flip_test

if TYPE_CHECKING:
    from keras_facealign.calibration import Calibration
    from keras_facealign.landmarks import LandmarkScheme

__all__ = ["LandmarkPrediction", "check_offset"]


def check_offset(value: Sequence[float], input_size: int) -> tuple[float, float]:
    """Refuses what is no offset.

    Args:
        value: (dx, dy) in pixels of the input.
        input_size: Side of the input in pixels.

    Returns:
        The two numbers.

    Raises:
        FaceAlignError: If there are not two, or one is beyond an eighth of the input.
    """
    limit = input_size / 8
    try:
        dx, dy = (float(number) for number in value)
    except (TypeError, ValueError):
        dx = dy = math.nan
    if not (abs(dx) <= limit and abs(dy) <= limit):
        raise FaceAlignError(
            f"landmark_offset={value!r} must be two numbers, dx and dy in pixels, of at most "
            f"{limit:g}."
        )
    return dx, dy


class LandmarkPrediction:
    """Mix-in for `keras.Model` that supplies `predict_landmarks` and what exported graphs put out.

    Attributes:
        decode_method: How heatmaps become landmarks, see `keras_facealign.ops.decode_heatmaps`.
        calibration: What turns the shape of a heatmap into a standard deviation and a probability
            of being visible; None where nobody has measured that. It belongs to the weights that it
            was made for: training makes it wrong.
    """

    input_size: int
    num_landmarks: int
    _landmark_offset: tuple[float, float] = (0.0, 0.0)
    calibration: Calibration | None = None
    decode_method: str
    scheme: LandmarkScheme
    name: str
    inputs: list[Any]

    def heatmaps_and_frames(
        self, images: Any, training: bool | None = None
    ) -> tuple[list[Any], Any]:
        """Heatmaps, and where they look; see `FaceAlignModel`."""
        raise NotImplementedError

    @property
    def landmark_offset(self) -> tuple[float, float]:
        """(dx, dy) that predictions add to landmarks, in pixels of the input.

        It may be set: (0, 0) gives the places that training with mirrored pictures leads to, see
        `keras_facealign.training.landmark_offset`.
        """
        return self._landmark_offset

    @landmark_offset.setter
    def landmark_offset(self, value: Sequence[float]) -> None:
        self._landmark_offset = check_offset(value, self.input_size)

    def predict_landmarks(
        self, images: Any, batch_size: int = 32, flip_test: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the landmarks of cropped faces.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Faces that go through the network at once.
            flip_test: As in `predict_outputs`.

        Returns:
            Landmarks, float32 (B, K, 2) in pixels of the input, x before y, 0-based; and
            confidence, float32 (B, K), 0 to 1.

        Raises:
            FaceAlignError: As from `predict_outputs`.
        """
        outputs = self.predict_outputs(images, batch_size, flip_test)
        return outputs["landmarks"], outputs["confidence"]

    def predict_outputs(
        self, images: Any, batch_size: int = 32, flip_test: bool = False
    ) -> dict[str, np.ndarray]:
        """Finds the landmarks of cropped faces, with all that is known about each.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Faces that go through the network at once.
            flip_test: Look at the mirror image of every face too and give the mean of both, see
                `keras_facealign.models.flip_test`: more exact, in twice the time. The network
                takes both pictures of a face at once.

        Returns:
            What `landmark_outputs` lists, as NumPy arrays.

        Raises:
            FaceAlignError: If the images have another shape or range, `batch_size` is below 1, or
                `flip_test` is asked for and the scheme does not say what a mirror exchanges.
        """
        if batch_size < 1:
            raise FaceAlignError(f"batch_size is {batch_size}; it must be at least 1.")
        images = np.asarray(images)
        check_crops(images, self.input_size)
        if flip_test:
            predict = partial(self.predict_outputs, batch_size=2 * batch_size)
            return predict_with_flip_test(predict, images, self.scheme, self.landmark_offset)
        model = self._landmark_model()
        if not len(images):
            return {
                name: np.zeros((0, *output.shape[1:]), np.float32)
                for name, output in model.output.items()
            }
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size].astype(np.float32)
            count = len(chunk)
            if model.jit_compile:
                # XLA compiles once a batch size; powers of two bound how often that happens.
                room = (1 << (count - 1).bit_length()) - count
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], room, axis=0)])
            parts.append(model.predict_on_batch(chunk))
            parts[-1] = {name: np.asarray(part)[:count] for name, part in parts[-1].items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def landmark_outputs(self, heatmaps: Any, frames: Any = None) -> dict[str, Any]:
        """What the network says of each landmark, in `keras.ops`: the end of every exported graph.

        Args:
            heatmaps: Logits, float (B, M, M, K), or a list of those of every stack, of which the
                last counts.
            frames: float32 (B, 2, 3) where the heatmaps show another frame than the input, as
                after a spatial transformer: the matrix from the input's pixels to theirs.

        Returns:
            `landmarks`, float32 (B, K, 2) in pixels of the input, x before y, 0-based; and
            `confidence`, float32 (B, K), 0 to 1, the highest probability of the map. With a
            `calibration` also `sigma`, float32 (B, K), the standard deviation of the position along
            each axis in pixels of the input, and `visibility`, float32 (B, K), the probability that
            the landmark is not hidden.

        Example:
            >>> outputs = model.landmark_outputs(model(images))
            >>> sorted(outputs)
            ['confidence', 'landmarks', 'sigma', 'visibility']
        """
        last = heatmaps[-1] if isinstance(heatmaps, (list, tuple)) else heatmaps
        landmarks, confidence = self._decode(last, frames)
        outputs = {"landmarks": landmarks, "confidence": confidence}
        if self.calibration is not None:
            maps = keras.ops.cast(last, "float32")
            outputs.update(self.calibration(maps, landmarks, confidence))
        if any(self.landmark_offset):
            outputs["landmarks"] = keras.ops.add(
                landmarks, np.asarray(self.landmark_offset, np.float32)
            )
        return outputs

    def _decode(self, heatmaps: Any, frames: Any) -> tuple[Any, Any]:
        """Landmarks in pixels of the input, and confidence, of heatmaps in frames of their own."""
        decoder = HeatmapDecoder(self.input_size, self.decode_method, name="decoder")
        landmarks, confidence = decoder(heatmaps)
        if frames is not None:
            landmarks = geometry.transform_points(geometry.invert(frames), landmarks)
        return landmarks, confidence

    def _landmark_model(self) -> keras.Model:
        """The network with decoding at its end, sharing all weights."""
        key = f"_landmark_model_{self.decode_method}_{self.landmark_offset}"
        calibration, model = self.__dict__.get(key, (None, None))
        if model is None or calibration is not self.calibration:
            # The input itself and not the list of inputs, the structure that callers will pass.
            images = self.inputs[0]
            heatmaps, frames = self.heatmaps_and_frames(images, training=False)
            outputs = self.landmark_outputs(heatmaps, frames)
            model = keras.Model(images, outputs, name=f"{self.name}_decoded")
            # Set around Keras's attribute tracking: the layers are this model's own, and tracking
            # them twice would save every weight twice.
            self.__dict__[key] = self.calibration, model
        return model
