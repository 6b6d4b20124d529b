"""A checked training batch, and the two views of it that a training step compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import check_labels
from keras_facealign.objective.paired_augmentation import AugmentedView


@dataclass
class Pair:
    """Two views of a batch and the transformation between them.

    Attributes:
        first: The view I.
        second: The view T . I.
        matrix: float32 (B, 2, 3), T in input pixels, flip included.
        flip: float32 (B,), 1 where T flips.
    """

    first: AugmentedView
    second: AugmentedView
    matrix: Any
    flip: Any

    def in_frames(self, frames: Any, size: int) -> Pair:
        """Returns the pair in the frames of a network that transforms its input itself.

        A landmark at p in a view lies at F . p in the frame of the network's heatmaps. The map T
        between the views becomes F2 . T . inverse(F1) between their heatmaps.

        Args:
            frames: float (2B, 2, 3), F of all first views, then of all second ones; pixels of the
                view in, pixels of the heatmaps' frame out, both frames `size` pixels wide.
            size: Side of the frames in pixels.

        Returns:
            The pair, for the comparison with heatmaps in those frames.
        """
        count = ops.shape(self.matrix)[0]
        first, second = frames[:count], frames[count:]
        matrix = geometry.compose(second, geometry.compose(self.matrix, geometry.invert(first)))
        return Pair(
            self.first.in_frames(first, size),
            self.second.in_frames(second, size),
            matrix,
            self.flip,
        )

    def visible_in_both(self, flip_permutation: Any) -> Any:
        """Returns which landmarks both views show, in the second view's order, float32 (B, K).

        All landmarks of a face without labels count: their positions are unknown, and the two
        views' heatmaps must also agree where a landmark is outside of both.

        Args:
            flip_permutation: int (K,), see `LandmarkScheme.flip_permutation`.
        """
        swap = ops.convert_to_tensor(flip_permutation, dtype="int32")
        seen = ops.where(
            ops.reshape(self.flip, (-1, 1)) > 0.5,
            ops.take(self.first.visible, swap, axis=1),
            self.first.visible,
        )
        both = seen * self.second.visible
        if self.first.labeled is None:
            return both
        return ops.maximum(both, 1.0 - ops.expand_dims(self.first.labeled, -1))


def check_batch(data: Any, input_size: int, num_landmarks: int) -> dict[str, Any]:
    """Checks a training batch, so that errors name the entry and its expected shape.

    Args:
        data: A batch as Keras passes it to a step.
        input_size: Side of the network's frame in pixels.
        num_landmarks: Landmarks of a face (K).

    Returns:
        The batch: a dict with "image", "landmarks" and "visibility".

    Raises:
        FaceAlignError: If it is not such a dict, or a shape or the images' dtype is wrong.
    """
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
    dtype = keras.backend.standardize_dtype(image.dtype)
    if dtype != "uint8" and not dtype.startswith(("float", "bfloat")):
        raise FaceAlignError(f"image is {dtype}; give uint8 or float, RGB from 0 to 255.")
    if int(image.shape[1]) < input_size:
        raise FaceAlignError(
            f"image has side {image.shape[1]}, less than the model's {input_size}; make "
            "crops with a border."
        )
    if tuple(landmarks.shape[1:]) != (num_landmarks, 2):
        raise FaceAlignError(
            f"landmarks have shape {tuple(landmarks.shape)}; give (batch, {num_landmarks}, "
            "2) in pixels of the crop."
        )
    if tuple(data["visibility"].shape[1:]) != (num_landmarks,):
        raise FaceAlignError(
            f"visibility has shape {tuple(data['visibility'].shape)}; give (batch, "
            f"{num_landmarks})."
        )
    return data


def check_values(data: Any) -> None:
    """Checks the values of a batch in memory, which a compiled step cannot.

    Args:
        data: A batch as users pass it to `fit`, `evaluate`, `train_on_batch` or `test_on_batch`.
            Only a dict of arrays is checked; the batches of `keras_facealign.data` have been.

    Raises:
        FaceAlignError: If a visibility is not 0, 1 or 2, a landmark that counts is not finite, or
            images have values that are not from 0 to 255.
    """
    names = ("image", "landmarks", "visibility")
    if not isinstance(data, dict) or not set(names) <= set(data):
        return  # `check_batch` says what is missing
    tensor = keras.ops.is_tensor
    image, landmarks, visibility = (
        keras.ops.convert_to_numpy(data[n]) if tensor(data[n]) else np.asarray(data[n])
        for n in names
    )
    if len({len(image), len(landmarks), len(visibility)}) > 1 or not len(image):
        raise FaceAlignError(
            f"The batch has {len(image)} images, {len(landmarks)} faces' landmarks and "
            f"{len(visibility)} faces' visibility; give equally many, at least one."
        )
    check_labels(landmarks, visibility, "The batch")
    if image.dtype.kind == "f" and image.size:
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 255):
            raise FaceAlignError(f"image has values from {low} to {high}; give RGB from 0 to 255.")
        if high <= 1 and (image % 1 > 0).any():
            raise FaceAlignError(
                "image has values from 0 to 1; multiply by 255, since the network scales itself."
            )
