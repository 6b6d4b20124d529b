"""Constant horizontal label bias that flip augmentation hides from a network.

All labels of a data set may be off by a fraction of a pixel to one side, because of how files count
pixels or where annotators click. A network learns such a bias, except for its horizontal part where
half of the training images are flipped: the flipped labels are off to the other side, and the
network learns the mean, which is unbiased. Its predictions then differ from all labels of the set
by the same distance. The labels of 300W lie 0.5 pixels (for a face of about 100) to the right of
flip-consistent positions, on training faces as on others.

`FaceAlignModel.landmark_offset` adds the distance back. Set it to (0, 0) for landmarks that are
flip-consistent. `TrainingConfig.landmark_offset` measures it at the end of a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.labeled_crops import predict_faces
from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction import check_offset

if TYPE_CHECKING:
    from keras_facealign.data.epochs import EpochBatches
    from keras_facealign.data.examples import FaceExample
    from keras_facealign.models.face_align_model import FaceAlignModel

MOST_FACES = 1024
"""Training faces that the offset is measured on at the end of a run."""


def measure_landmark_offset(
    model: FaceAlignModel, faces: Iterable[FaceExample]
) -> tuple[tuple[float, float], int]:
    """Measures the mean horizontal distance from a network's landmarks to the labels.

    Args:
        model: A network trained with flip augmentation; its own `landmark_offset` is ignored.
        faces: Labeled faces of the data set that it was trained on, since the bias differs between
            data sets.

    Returns:
        (dx, 0.0) in pixels of the input, the mean over all landmarks that have a position; and the
        number of faces. Training learns the vertical bias, hence 0.

    Raises:
        FaceAlignError: If no face has a labeled landmark.

    Example:
        >>> model.landmark_offset, count = measure_landmark_offset(model, faces)  # doctest: +SKIP
    """
    labeled = (face for face in faces if (np.asarray(face.visibility) > 0).any())
    own, shifts = model.landmark_offset[0], []
    for face, matrix, found in predict_faces(labeled, model.predict_landmarks, model.input_size):
        labels = geometry.transform_points(matrix, face.landmarks)
        shifts.append(_shift(labels, np.asarray(face.visibility) > 0, found) + own)
    if not shifts:
        raise FaceAlignError("There is no labeled face to measure landmark_offset on.")
    return (float(np.mean(shifts)), 0.0), len(shifts)


def measure_offset_of_batches(
    model: FaceAlignModel, batches: EpochBatches, most: int = MOST_FACES
) -> tuple[float, float]:
    """Measures the same on training batches, whose crops have a border, without augmentation.

    Args:
        model: A network trained with flip augmentation; its own `landmark_offset` is ignored.
        batches: Its training batches, such as `FaceBatches`; the first ones are used.
        most: Faces after which no further batch is used.

    Returns:
        (dx, 0.0) in pixels of the input; (0.0, 0.0) where no landmark has a position. At most what
        a model can have: a network that has learned nothing may be anywhere.
    """
    own, shifts = model.landmark_offset[0], []
    for index in range(len(batches)):
        shifts += _shifts(model, batches[index])
        if len(shifts) >= most:
            break
    if not shifts:
        return 0.0, 0.0
    offset = (float(np.mean(shifts)) + own, 0.0)
    try:
        return check_offset(offset, model.input_size)
    except FaceAlignError:
        return 0.0, 0.0


def _shifts(model: FaceAlignModel, batch: dict[str, Any]) -> list[float]:
    """Mean horizontal distance of each face of a batch from what the model finds."""
    images, landmarks = np.asarray(batch["image"]), np.asarray(batch["landmarks"])
    size = model.input_size
    border = (images.shape[1] - size) // 2
    frames = images[:, border : border + size, border : border + size]
    found, _ = model.predict_landmarks(frames)
    known = np.asarray(batch["visibility"]) > 0
    faces = zip(landmarks - border, known, found, strict=True)
    return [_shift(labels, seen, there) for labels, seen, there in faces if seen.any()]


def _shift(labels: np.ndarray, known: np.ndarray, found: np.ndarray) -> float:
    """Mean horizontal distance from a face's landmarks to the labels that have a position."""
    return float(np.mean((labels - found)[known, 0]))
