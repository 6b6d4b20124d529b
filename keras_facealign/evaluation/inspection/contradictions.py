"""Compares labels with the landmarks that a network finds in the same boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_facealign.data.labels.label_set import LabelSet
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.inspection.shape_model import row_median
from keras_facealign.evaluation.predictions import Aligner
from keras_facealign.geometry import landmarks_box
from keras_facealign.landmarks import LandmarkScheme

# A shift is believed if it is so many times its standard error, and so many pixels.
_SURE, _LEAST = 4.0, 0.5
# How far from 1 pixel a shift may be to come from counting from 1.
_NEAR_ONE = 0.4


@dataclass(frozen=True)
class Shift:
    """A constant difference between labels and predictions, in pixels.

    Attributes:
        x: Median over the faces by which labels lie to the right of the predictions.
        y: And below them.
        error: Standard error of the two, the larger one.
    """

    x: float
    y: float
    error: float

    @property
    def believable(self) -> bool:
        """Whether it is larger than chance and than half a pixel."""
        return max(abs(self.x), abs(self.y)) > max(_SURE * self.error, _LEAST)

    def describe(self) -> str:
        """A sentence about it, with what is to be done."""
        size = f"labels lie {self.x:+.2f} px in x and {self.y:+.2f} px in y (± {self.error:.2f})"
        text = f"In the median over all faces the {size} from the network's landmarks"
        if not self.believable:
            return f"{text}, which is no sign of a shift."
        if all(abs(value - 1) < _NEAR_ONE for value in (self.x, self.y)):
            return (
                f"{text}: the file may count pixels from 1 where it was read as counting from 0. "
                "If so, load it with one_based=True (--one-based)."
            )
        if all(abs(value + 1) < _NEAR_ONE for value in (self.x, self.y)):
            return (
                f"{text}: the file may count pixels from 0 where it was read as counting from 1. "
                "If so, load it with one_based=False (--zero-based)."
            )
        return f"{text}: the labels may be shifted, or they follow another convention."


def check_landmarks(scheme: LandmarkScheme, num_landmarks: int, name: str) -> None:
    """Checks that a network has as many landmarks as the labels.

    Raises:
        FaceAlignError: It has not.
    """
    if scheme.num_landmarks != num_landmarks:
        raise FaceAlignError(
            f"{name} has {scheme.num_landmarks} landmarks ({scheme.name}) and the labels "
            f"{num_landmarks}; choose another preset, or 'none'"
        )


def predict_faces(
    aligner: Aligner, scheme: LandmarkScheme, labels: LabelSet, images: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Finds the landmarks of labeled faces.

    Args:
        aligner: Aligns batches, usually a `FaceAligner`.
        scheme: The scheme of its network, which is that of the labels.
        labels: The labels.
        images: Pictures by the index of the face.

    Returns:
        Landmarks (K, 2) in pixels by the index of the face. Faces whose points span no box are left
        out.
    """
    boxes = {}
    for index in images:
        face = labels.faces[index]
        box = landmarks_box(face.landmarks, face.visibility)
        if box[2] > box[0] and box[3] > box[1]:
            boxes[index] = scheme.crop_box(box)[None]
    found = aligner.align_batch(
        [images[index] for index in boxes],
        list(boxes.values()),
        [labels.faces[index].file_name for index in boxes],
    )
    return {
        index: np.asarray(faces[0].landmarks, np.float64)
        for index, faces in zip(boxes, found, strict=True)
        if faces
    }


def errors_of(labels: LabelSet, predictions: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Distances of labels from predictions in percent of the size of the points' box.

    Args:
        labels: The labels.
        predictions: Landmarks (K, 2) by the index of the face.

    Returns:
        float64 (K,) by the index of the face; NaN without a label or prediction.
    """
    errors = {}
    for index, points in predictions.items():
        face = labels.faces[index]
        x0, y0, x1, y1 = (float(v) for v in landmarks_box(face.landmarks, face.visibility))
        size = np.sqrt((x1 - x0) * (y1 - y0))
        distances = np.linalg.norm(points - face.landmarks, axis=1)
        errors[index] = 100 * np.where(face.visibility > 0, distances, np.nan) / size
    return errors


def median_shift(labels: LabelSet, predictions: dict[int, np.ndarray]) -> Shift | None:
    """The constant shift of the labels from the predictions.

    Args:
        labels: The labels.
        predictions: Landmarks (K, 2) by the index of the face.

    Returns:
        The medians over the faces of the median over their points; None for fewer than 10 faces.
    """
    rows = []
    for index, points in predictions.items():
        face = labels.faces[index]
        difference = np.where((face.visibility > 0)[:, None], face.landmarks - points, np.nan)
        rows.append(row_median(difference.T))
    shifts = np.array([row for row in rows if np.isfinite(row).all()])
    if len(shifts) < 10:
        return None
    middle = np.median(shifts, axis=0)
    deviation = 1.4826 * np.median(np.abs(shifts - middle), axis=0)
    # A median's standard error is 1.25 times that of a mean.
    error = float(1.25 * deviation.max() / np.sqrt(len(shifts)))
    return Shift(float(middle[0]), float(middle[1]), error)
