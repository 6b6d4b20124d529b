"""Normalized mean errors of faces, and the curve and rates of a set of faces.

All errors and thresholds are in percent: an NME of 3.2 is 3.2 % of the normalizing length, and the
usual 300W threshold "0.08" is 8.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.normalizers import check_landmarks, normalizing_lengths
from keras_facealign.landmarks import LandmarkScheme


def landmark_errors(
    prediction: np.ndarray, ground_truth: np.ndarray, visibility: np.ndarray | None = None
) -> np.ndarray:
    """Computes the Euclidean distance between each predicted landmark and its ground truth.

    Args:
        prediction: (N, K, 2) pixels.
        ground_truth: (N, K, 2) pixels of the same frame.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.

    Returns:
        float64 (N, K) in pixels, NaN where the ground truth is not labeled.

    Raises:
        FaceAlignError: If shapes do not fit, or a coordinate that counts is not finite.
    """
    truth, labeled = check_landmarks(ground_truth, visibility)
    shape = np.shape(prediction)
    if shape != truth.shape:
        raise FaceAlignError(
            f"The prediction must have the ground truth's shape {truth.shape}, got {shape}."
        )
    predicted, _ = check_landmarks(prediction, labeled, what="prediction")
    offset = predicted - truth
    x, y = offset[..., 0], offset[..., 1]
    return np.where(labeled, np.sqrt(x * x + y * y), np.nan)


def nme(
    prediction: np.ndarray,
    ground_truth: np.ndarray,
    normalizer: str = "inter_ocular",
    visibility: np.ndarray | None = None,
    undefined: Literal["raise", "nan"] = "raise",
    scheme: LandmarkScheme | None = None,
    divide_by: Literal["labeled", "all"] = "labeled",
) -> np.ndarray:
    """Computes the normalized mean error of each image.

    That is the mean Euclidean error of its labeled landmarks divided by its normalizing length.

    Args:
        prediction: (N, K, 2) pixels.
        ground_truth: (N, K, 2) pixels of the same frame.
        normalizer: A key of `keras_facealign.evaluation.NORMALIZERS`.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        undefined: Whether an image without such a length, because landmarks that it needs are not
            labeled or coincide, is an error or gives NaN.
        scheme: Scheme of the landmarks. Default: the scheme that has K points, if there is one.
        divide_by: Divide a face's summed error by its number of labeled landmarks, or by K even
            where fewer are labeled, as publications on MERL-RAV do.

    Returns:
        float64 (N,), percent.

    Raises:
        FaceAlignError: If shapes do not fit, a coordinate that counts is not finite, the normalizer
            is unknown, or it is undefined for the scheme or for an image; the message names the
            image's index.

    Example:
        >>> import numpy as np
        >>> truth = np.array([[[0.0, 0.0], [30.0, 0.0], [30.0, 40.0]]])
        >>> nme(truth + [0.0, 1.0], truth, normalizer="box_diagonal")
        array([2.])
    """
    errors = landmark_errors(prediction, ground_truth, visibility)
    lengths = normalizing_lengths(ground_truth, normalizer, visibility, scheme)
    if undefined == "raise":
        _refuse_undefined(lengths, normalizer)
    return 100 * face_errors(errors, divide_by) / np.where(lengths > 0, lengths, np.nan)


def face_errors(errors: np.ndarray, divide_by: Literal["labeled", "all"] = "labeled") -> np.ndarray:
    """Averages the errors of each face over its labeled landmarks.

    Args:
        errors: (N, K), NaN where not labeled.
        divide_by: As of `nme`.

    Returns:
        float64 (N,), NaN where no landmark is labeled.

    Raises:
        FaceAlignError: If `divide_by` is neither of the two.
    """
    if divide_by not in ("labeled", "all"):
        raise FaceAlignError(f"divide_by is {divide_by!r}; give 'labeled' or 'all'.")
    missing = np.isnan(errors)
    labeled = errors.shape[-1] - np.count_nonzero(missing, axis=-1)
    number = labeled if divide_by == "labeled" else np.where(labeled, errors.shape[-1], 0)
    total = np.sum(np.where(missing, 0, errors), axis=-1)
    return np.where(labeled > 0, total / np.maximum(number, 1), np.nan)


def ced(nmes: np.ndarray, thresholds: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Computes the cumulative error distribution: the share of images up to each NME.

    Args:
        nmes: (N,) percent. Infinity stands for an image whose face was missed.
        thresholds: (T,) percent. Default: the distinct finite NMEs in rising order, at which the
            curve, a step function, jumps.

    Returns:
        float64 thresholds (T,), and the share of images (T,) in percent.

    Raises:
        FaceAlignError: If there is no NME, or one is negative or not a number.

    Example:
        >>> ced([2.0, 4.0], thresholds=[1.0, 3.0, 4.0])
        (array([1., 3., 4.]), array([  0.,  50., 100.]))
    """
    ordered = np.sort(_check_nmes(nmes))
    if thresholds is None:
        limits = np.unique(ordered[np.isfinite(ordered)])
    else:
        limits = np.asarray(thresholds, np.float64)
    return limits, 100 * np.searchsorted(ordered, limits, side="right") / len(ordered)


def auc(nmes: np.ndarray, threshold: float) -> float:
    """Computes the area under the cumulative error distribution up to a threshold.

    The curve is a step function, so its area from 0 to t, divided by t, is exactly the mean of
    max(0, t - NME) / t. Implementations that sample the curve differ by some 0.02 points.

    Args:
        nmes: (N,) percent. Infinity stands for an image whose face was missed.
        threshold: Upper end t in percent, for example 8.

    Returns:
        Percent: 100 if every NME is 0, and 0 if all are at or above the threshold.

    Raises:
        FaceAlignError: If there is no NME, one is negative or not a number, or the threshold is not
            positive and finite.

    Example:
        >>> auc([2.0, 4.0, 12.0], threshold=8)
        41.66666666666667
    """
    values, limit = _check_nmes(nmes), _check_threshold(threshold)
    return float(100 * np.mean(np.maximum(0, limit - values)) / limit)


def failure_rate(nmes: np.ndarray, threshold: float) -> float:
    """Computes the share of images whose NME is above a threshold.

    Args:
        nmes: (N,) percent. Infinity stands for an image whose face was missed.
        threshold: Percent, for example 8; an NME equal to it is no failure.

    Returns:
        Percent.

    Raises:
        FaceAlignError: As `auc`.

    Example:
        >>> failure_rate([2.0, 4.0, 12.0, 8.0], threshold=8)
        25.0
    """
    values, limit = _check_nmes(nmes), _check_threshold(threshold)
    return float(100 * np.mean(values > limit))


def _refuse_undefined(lengths: np.ndarray, normalizer: str) -> None:
    unlabeled = np.flatnonzero(np.isnan(lengths))
    if unlabeled.size:
        raise FaceAlignError(
            f"Image {unlabeled[0]} has no {normalizer!r} length: landmarks that it needs are not "
            f"labeled ({unlabeled.size} of {len(lengths)} images); leave such images out or use "
            "'box_size'."
        )
    zero = np.flatnonzero(lengths == 0)
    if zero.size:
        raise FaceAlignError(
            f"The {normalizer!r} length of image {zero[0]} is 0 ({zero.size} of {len(lengths)} "
            "images): its ground-truth landmarks coincide; correct them or leave the image out."
        )


def _check_nmes(nmes: np.ndarray) -> np.ndarray:
    values = np.asarray(nmes, np.float64)
    if values.ndim != 1 or not values.size:
        raise FaceAlignError(
            f"NMEs must be a list of at least one number, one an image; got shape {values.shape}."
        )
    wrong = np.flatnonzero(~(values >= 0))
    if wrong.size:
        raise FaceAlignError(
            f"The NME of image {wrong[0]} is {values[wrong[0]]}; it must be 0 or more "
            "(infinity for a missed face)."
        )
    return values


def _check_threshold(threshold: float) -> float:
    limit = float(threshold)
    if not (np.isfinite(limit) and limit > 0):
        raise FaceAlignError(f"The threshold is {threshold}; give a positive number of percent.")
    return limit
