"""Errors on visible and occluded landmarks, and how well occlusion is detected.

Labels have visibility 1 for an occluded landmark and 2 for a visible one; landmarks of visibility 0
have no position and are ignored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError

OCCLUDED_BELOW = 0.5
"""A landmark with less confidence than this counts as predicted to be occluded."""

_PRECISION = 80.0


def visibility_errors(errors: np.ndarray, visibility: np.ndarray) -> dict[str, dict[str, Any]]:
    """Computes the mean error of the visible and of the occluded landmarks of a set.

    Args:
        errors: (N, K), normalized, percent; NaN where undefined.
        visibility: (N, K): 0, 1 or 2.

    Returns:
        "visible" and "occluded", each with `mean` over landmarks (None if there are none) and the
        number of `landmarks`.
    """
    result: dict[str, dict[str, Any]] = {}
    marks = np.asarray(visibility)
    for name, mark in (("visible", 2), ("occluded", 1)):
        chosen = errors[(marks == mark) & ~np.isnan(errors)]
        mean = float(chosen.mean()) if chosen.size else None
        result[name] = {"mean": mean, "landmarks": int(chosen.size)}
    return result


def occlusion_detection(
    visibility: np.ndarray, confidence: np.ndarray, threshold: float = OCCLUDED_BELOW
) -> dict[str, Any]:
    """Measures how well low confidence detects occluded landmarks.

    Args:
        visibility: (N, K): 0, 1 or 2.
        confidence: (N, K), 0 to 1, high where a landmark is predicted to be visible.
        threshold: Confidence below which a landmark is predicted to be occluded.

    Returns:
        In percent: `precision` (None if no landmark is predicted to be occluded) and `recall` at
        the threshold;
        `average_precision` over all thresholds; `recall_at_80_precision`, the largest recall at a
        precision of at least 80 %, as publications on COFW give it; and `occluded`, the share of
        landmarks that are.

    Raises:
        FaceAlignError: If shapes differ, a confidence is not a number, or no landmark is occluded.

    Example:
        >>> occlusion_detection([[1, 2, 2]], [[0.1, 0.3, 0.9]])["precision"]
        50.0
    """
    marks, scores = np.asarray(visibility), np.asarray(confidence, np.float64)
    if marks.shape != scores.shape:
        raise FaceAlignError(
            f"The confidence must have the visibility's shape {marks.shape}, got {scores.shape}."
        )
    labeled = marks > 0
    hidden, scores = marks[labeled] == 1, scores[labeled]
    if np.isnan(scores).any():
        raise FaceAlignError("A confidence is not a number; give 0 to 1 for every landmark.")
    if not hidden.any():
        raise FaceAlignError("No landmark is labeled as occluded; use a data set with such labels.")
    total = int(hidden.sum())
    predicted = scores < threshold
    right = int((predicted & hidden).sum())
    number = int(predicted.sum())

    order = np.argsort(scores, kind="stable")
    found = np.cumsum(hidden[order])
    # Landmarks of equal confidence fall below a threshold together.
    last = np.append(np.diff(scores[order]) > 0, True)
    precision = found[last] / (np.flatnonzero(last) + 1)
    recall = found[last] / total
    enough = recall[100 * precision >= _PRECISION]
    return {
        "confidence_below": threshold,
        "precision": 100 * right / number if number else None,
        "recall": 100 * right / total,
        "average_precision": float(100 * np.sum(np.diff(recall, prepend=0.0) * precision)),
        "recall_at_80_precision": float(100 * enough.max()) if enough.size else 0.0,
        "occluded": 100 * total / int(labeled.sum()),
        "landmarks": int(labeled.sum()),
    }
