"""What a network predicts for each landmark, and how heatmaps become that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry.affine import array_namespace
from keras_facealign.ops.heatmap import decode_heatmaps

LandmarkOutputs = dict[str, Any]
"""Predictions for a batch of crops by name.

* `landmarks`: float32 (B, K, 2), pixels of the crop, x before y, 0-based.
* `confidence`: float32 (B, K), 0 to 1: the highest probability of the landmark's heatmap.
* `sigma`, only from calibrated models: float32 (B, K), standard deviation of the position along
  each axis in pixels of the crop.
* `visibility`, only from models calibrated on labels of hidden landmarks: float32 (B, K),
  probability that the landmark is not hidden.
"""


class LandmarkModel(Protocol):
    """Anything that predicts the landmarks of cropped faces: a Keras model or a runtime's copy."""

    def predict_outputs(
        self, images: np.ndarray, batch_size: int = 32, flip_test: bool = False
    ) -> LandmarkOutputs:
        """Predicts landmarks.

        Args:
            images: uint8 or float (B, S, S, 3), RGB 0 to 255.
            batch_size: Most images in one call of the network.
            flip_test: Whether to average the predictions for every image and its mirror image.

        Returns:
            The predictions as NumPy arrays.
        """
        ...


def landmark_outputs(
    heatmaps: Any,
    frames: Any = None,
    *,
    input_size: int,
    decode_method: str = "taylor",
    calibration: Callable[[Any, Any, Any], dict[str, Any]] | None = None,
    landmark_offset: Sequence[float] = (0.0, 0.0),
) -> LandmarkOutputs:
    """Turns heatmaps into landmarks and what is known about them.

    Args:
        heatmaps: float (B, M, M, K), logits; a NumPy array, or a tensor of Keras's backend.
        frames: float32 (B, 2, 3) where the heatmaps show another frame than the input, as after a
            spatial transformer: the matrix from the input's pixels to theirs.
        input_size: Side of the network's input in pixels.
        decode_method: A method of `keras_facealign.ops.decode_heatmaps`.
        calibration: A `keras_facealign.calibration.Calibration`, if the network has one.
        landmark_offset: (dx, dy) in pixels of the input that is added to all landmarks.

    Returns:
        The outputs, of the kind that the heatmaps are. `sigma` and `visibility` need a calibration.

    Raises:
        FaceAlignError: If the decoding method is unknown.

    Example:
        >>> outputs = landmark_outputs(np.zeros((1, 8, 8, 5), "float32"), input_size=32)
        >>> outputs["landmarks"].shape, outputs["confidence"].shape
        ((1, 5, 2), (1, 5))
    """
    landmarks, confidence = decode_heatmaps(heatmaps, input_size, decode_method)
    if frames is not None:
        landmarks = geometry.transform_points(geometry.invert(frames), landmarks)
    outputs: LandmarkOutputs = {"landmarks": landmarks, "confidence": confidence}
    xp = array_namespace(heatmaps)
    if calibration is not None:
        maps = heatmaps if xp is np else xp.cast(heatmaps, "float32")
        outputs.update(calibration(maps, landmarks, confidence))
    if any(landmark_offset):
        offset = np.asarray(landmark_offset, np.float32)
        outputs["landmarks"] = xp.add(landmarks, offset)
    return outputs


def check_crops(images: np.ndarray, size: int) -> None:
    """Raises a `FaceAlignError` unless images are crops of RGB values.

    Args:
        images: Should be (B, size, size, 3), 0 to 255.
        size: Side of the network's input in pixels.
    """
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise FaceAlignError(
            f"images have shape {images.shape}, but this model takes (batch, {size}, {size}, 3); "
            "crop and resize faces first, or use FaceAligner, which does both."
        )
    if images.dtype != np.uint8 and images.size:
        low, high = float(np.min(images)), float(np.max(images))
        if not (low >= 0 and high <= 255):
            raise FaceAlignError(
                f"images have values from {low:g} to {high:g}; give RGB between 0 and 255."
            )


def check_offset(value: Sequence[float], input_size: int) -> tuple[float, float]:
    """Checks a landmark offset.

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
