"""Faces to look at: which ones to show, and small crops of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_facealign.evaluation.examples import as_example
from keras_facealign.evaluation.report import EvaluationReport
from keras_facealign.geometry import (
    compose,
    crop_matrix,
    invert,
    resize_matrix,
    transform_points,
)
from keras_facealign.landmarks import LandmarkScheme

__all__ = ["KINDS", "ShownFace", "collect_faces", "crop_shown_face", "extreme_faces", "mean_face"]

KINDS = ("best", "median", "worst")

_MEAN_FACES = 5000


@dataclass(frozen=True, eq=False)
class ShownFace:
    """A crop with landmarks in its own pixels."""

    file_name: str
    crop: np.ndarray
    prediction: np.ndarray
    ground_truth: np.ndarray
    labeled: np.ndarray


def extreme_faces(nmes: np.ndarray, count: int) -> dict[str, list[int]]:
    """The faces with the smallest, the middle and the largest errors.

    Args:
        nmes: (N,) percent; NaN (undefined) is never chosen.
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
    report: EvaluationReport, wanted: Iterable[int], examples: Iterable[Any], size: int = 192
) -> dict[int, ShownFace]:
    """Goes through a set once more and cuts out some of its faces.

    Args:
        report: The result.
        wanted: Indices of faces in the report.
        examples: The labeled faces, with pictures, in the order in which they were evaluated.
        size: Side of the crops in pixels.

    Returns:
        The crops by index; a face whose picture does not come is left out.
    """
    left = set(wanted)
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
            found[index] = crop_shown_face(
                example.file_name,
                np.asarray(example.image),
                np.asarray(report.prediction[index], np.float64),
                np.asarray(truth, np.float64),
                np.asarray(example.visibility) > 0,
                size,
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
    """Cuts a square around the labeled ground truth and the predicted points near it.

    Args:
        file_name: Name to show.
        image: uint8 (H, W, 3), RGB.
        prediction: (K, 2) pixels.
        ground_truth: (K, 2) pixels.
        labeled: bool (K,).
        size: Side of the crop in pixels.
    """
    import cv2

    truth = ground_truth[labeled]
    low, high = truth.min(axis=0), truth.max(axis=0)
    # The prediction may lie far off; a view of up to twice the face still shows where it went.
    reach = (high - low).max() / 2
    low = np.minimum(low, np.maximum(prediction.min(axis=0), low - reach))
    high = np.maximum(high, np.minimum(prediction.max(axis=0), high + reach))
    # Half a pixel around the outermost points, so that even a single point spans a box.
    matrix = crop_matrix(np.concatenate([low - 0.5, high + 0.5]), size, margin=1.15)

    # A large face is shrunk by area averaging first: bilinear sampling alone would alias.
    shrink = max(min(int(1 / matrix[0, 0]), *image.shape[:2]), 1)
    height, width = (side // shrink for side in image.shape[:2])
    whole = np.ascontiguousarray(image[: height * shrink, : width * shrink])
    small = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    warp = compose(matrix, invert(resize_matrix(1 / shrink)))
    return ShownFace(
        file_name=file_name,
        crop=cv2.warpAffine(small, warp, (size, size)),
        prediction=transform_points(matrix, prediction),
        ground_truth=transform_points(matrix, ground_truth),
        labeled=labeled,
    )


def mean_face(
    ground_truth: np.ndarray, visibility: np.ndarray | None, scheme: LandmarkScheme
) -> np.ndarray | None:
    """The mean of faces that are centerd, of equal size and upright; made symmetric.

    Args:
        ground_truth: (N, K, 2) pixels.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        scheme: What the landmarks are.

    Returns:
        float64 (K, 2) about the origin, the eyes' corners one apart; NaN for landmarks that no face
        has. None if no face has both eye corners.
    """
    points = np.asarray(ground_truth[:_MEAN_FACES], np.float64)
    if visibility is not None:
        labeled = np.asarray(visibility[:_MEAN_FACES]) > 0
        points = np.where(labeled[..., None], points, np.nan)
    right, left = (points[:, corner] for corner in scheme.eye_corners)
    gap = left - right
    length = np.hypot(gap[:, 0], gap[:, 1])
    usable = length > 0
    if not usable.any():
        return None
    # As complex numbers, division by the gap turns and scales at once.
    middle = ((left + right) / 2)[usable, None]
    offset = points[usable] - middle
    turned = (offset @ [1, 1j]) / (gap[usable] @ [1, 1j])[:, None]
    known = ~np.isnan(turned)
    total = np.where(known, turned, 0).sum(axis=0)
    number = known.sum(axis=0)
    mean = np.where(number > 0, total / np.maximum(number, 1), complex(np.nan, np.nan))
    shape = np.stack([np.real(mean), np.imag(mean)], axis=-1)
    mirrored = shape[scheme.flip_permutation] * [-1, 1]
    shape = np.where(np.isnan(shape), mirrored, shape)
    return (shape + np.where(np.isnan(mirrored), shape, mirrored)) / 2
