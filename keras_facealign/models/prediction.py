"""From images to landmarks: the network with decoding at its end, and its call on NumPy arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.layers.heatmap_decoder import HeatmapDecoder

__all__ = ["LandmarkPrediction"]


class LandmarkPrediction:
    """Mix-in for `keras.Model` that supplies `predict_landmarks`.

    Attributes:
        decode_method: How heatmaps become landmarks, see `keras_facealign.ops.decode_heatmaps`.
    """

    input_size: int
    num_landmarks: int
    decode_method: str
    name: str
    inputs: list[Any]

    def _forward(self, images: Any, training: bool | None = None) -> tuple[list[Any], Any]:
        """Heatmaps, and where they look; see `FaceAlignModel`."""
        raise NotImplementedError

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

    def _decode(self, heatmaps: Any, frames: Any) -> tuple[Any, Any]:
        """Landmarks in pixels of the input, and confidence, of heatmaps in frames of their own."""
        decoder = HeatmapDecoder(self.input_size, self.decode_method, name="decoder")
        landmarks, confidence = decoder(heatmaps)
        if frames is not None:
            landmarks = geometry.transform_points(geometry.invert(frames), landmarks)
        return landmarks, confidence

    def _landmark_model(self) -> keras.Model:
        """The network with decoding at its end, sharing all weights."""
        key = f"_landmark_model_{self.decode_method}"
        if key not in self.__dict__:
            # The input itself and not the list of inputs, the structure that callers will pass.
            images = self.inputs[0]
            heatmaps, frames = self._forward(images, training=False)
            landmarks = self._decode(heatmaps[-1], frames)
            model = keras.Model(images, landmarks, name=f"{self.name}_decoded")
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
