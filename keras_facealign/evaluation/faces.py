"""Selects faces to show, crops them, and averages the shape of a set's faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.examples import as_example
from keras_facealign.evaluation.statistics import ErrorStatistics
from keras_facealign.geometry import crop_face, crop_matrix, transform_points
from keras_facealign.landmarks import LandmarkScheme
from keras_facealign.landmarks.guessing import shape_of

KINDS = ("best", "median", "worst")

_MEAN_FACES = 5000


@dataclass(frozen=True, eq=False)
class ShownFace:
    """A crop with landmarks in its own pixels.

    Attributes:
        file_name: Name to show.
        crop: uint8 (S, S, 3), RGB.
        prediction: float (K, 2).
        ground_truth: float (K, 2).
        labeled: bool (K,), whether the ground truth has a position.
    """

    file_name: str
    crop: np.ndarray
    prediction: np.ndarray
    ground_truth: np.ndarray
    labeled: np.ndarray


def extreme_faces(nmes: np.ndarray, count: int) -> dict[str, list[int]]:
    """Selects the faces with the smallest, the middle and the largest errors.

    Args:
        nmes: (N,) percent; NaN (undefined) is never selected.
        count: How many of each kind; fewer where there are not as many faces.

    Returns:
        Indices for each of `KINDS`, by rising error, the worst by falling error.

    Example:
        >>> extreme_faces(np.array([3.0, 1.0, 2.0]), 1)
        {'best': [1], 'median': [2], 'worst': [0]}
    """
    order = np.argsort(nmes, kind="stable")
    order = order[~np.isnan(nmes[order])].tolist()
    start = max((len(order) - count) // 2, 0)
    chosen = (order[:count], order[start : start + count], order[::-1][:count])
    return dict(zip(KINDS, chosen, strict=True))


def collect_faces(
    report: ErrorStatistics, indices: Iterable[int], examples: Iterable[Any], size: int = 192
) -> dict[int, ShownFace]:
    """Reads a set a second time and crops some of its faces.

    Args:
        report: The result.
        indices: Faces in the report.
        examples: The labeled faces, with images, in the order in which they were evaluated.
        size: Side of the crops in pixels.

    Returns:
        The crops by index; a face without an image is left out.
    """
    left = set(indices)
    found: dict[int, ShownFace] = {}
    index = 0
    for number, given in enumerate(examples):
        if not left or index == len(report.file_names):
            break
        example = as_example(given, number)
        # Missed faces are among the examples, but not in the report.
        truth = np.asarray(report.ground_truth[index])
        same = example.file_name == report.file_names[index] and np.array_equal(
            truth, np.asarray(example.landmarks, truth.dtype), equal_nan=True
        )
        if not same:
            continue
        if index in left and example.image is not None:
            left.discard(index)
            labeled = np.asarray(example.visibility) > 0
            found[index] = crop_shown_face(
                example.file_name, example.image, report.prediction[index], truth, labeled, size
            )
        index += 1
    return found


def crop_shown_face(
    file_name: str,
    image: np.ndarray,
    prediction: np.ndarray,
    ground_truth: np.ndarray,
    labeled: np.ndarray,
    size: int,
) -> ShownFace:
    """Crops a square around the labeled ground truth and the predicted points near it.

    Args:
        file_name: Name to show.
        image: uint8 (H, W, 3), RGB.
        prediction: (K, 2) pixels.
        ground_truth: (K, 2) pixels.
        labeled: bool (K,).
        size: Side of the crop in pixels.
    """
    prediction, ground_truth = (np.asarray(p, np.float64) for p in (prediction, ground_truth))
    truth = ground_truth[labeled]
    low, high = truth.min(axis=0), truth.max(axis=0)
    # The prediction may be far off; a view of up to twice the face still shows where it went.
    reach = (high - low).max() / 2
    low = np.minimum(low, np.maximum(prediction.min(axis=0), low - reach))
    high = np.maximum(high, np.minimum(prediction.max(axis=0), high + reach))
    # Half a pixel around the outermost points, so that even a single point spans a box.
    matrix = crop_matrix(np.concatenate([low - 0.5, high + 0.5]), size, 1.15)
    crop = crop_face(np.asarray(image), matrix, size)
    found, truth = (transform_points(matrix, points) for points in (prediction, ground_truth))
    return ShownFace(file_name, crop, found, truth, labeled)


def mean_shape(
    ground_truth: np.ndarray, visibility: np.ndarray | None, scheme: LandmarkScheme
) -> np.ndarray | None:
    """Averages faces that are moved to one center, size and upright position; symmetric.

    Args:
        ground_truth: (N, K, 2) pixels.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        scheme: Scheme of the landmarks.

    Returns:
        float64 (K, 2) about the origin, the eyes' corners one apart; NaN for landmarks that no face
        has. None if no face has both eye corners. Of a scheme that does not tell them, the size is
        that of `keras_facealign.landmarks.guessing.shape_of`.
    """
    if scheme.eye_corners is None:
        seen = None if visibility is None else visibility[:_MEAN_FACES]
        try:
            return shape_of(ground_truth[:_MEAN_FACES], seen)
        except FaceAlignError:  # a single point has no shape
            return None
    # As complex numbers, division by the gap between the eyes rotates and scales at once.
    points = np.asarray(ground_truth[:_MEAN_FACES], np.float64) @ [1, 1j]
    if visibility is not None:
        points = np.where(np.asarray(visibility[:_MEAN_FACES]) > 0, points, np.nan)
    right, left = (points[:, corner, None] for corner in scheme.eye_corners)
    usable = np.abs(left - right)[:, 0] > 0
    if not usable.any():
        return None
    mean = _mean_of_known(((points - (left + right) / 2)[usable]) / (left - right)[usable])
    mean = _mean_of_known(np.stack([mean, -np.conj(mean[scheme.flip_permutation])]))
    return np.stack([np.real(mean), np.imag(mean)], axis=-1)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    number, total = known.sum(axis=0), np.where(known, values, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), complex(np.nan, np.nan))
