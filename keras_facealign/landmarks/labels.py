"""Checks of labels: landmarks and their visibility."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError


def check_labels(landmarks: Any, visibility: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Checks the labels of one face or of several.

    Args:
        landmarks: (..., K, 2) pixels; anything where visibility is 0.
        visibility: (..., K): 0 (no position), 1 (occluded) or 2 (visible).
        what: What error messages call the labels, such as the name of a file.

    Returns:
        Both as arrays; the landmarks are float32.

    Raises:
        FaceAlignError: If they are not numbers or do not fit, a visibility is something else, or a
            landmark with visibility above 0 is not finite.

    Example:
        >>> check_labels([[3, 4]], [7], "face.png")
        Traceback (most recent call last):
        keras_facealign.errors.FaceAlignError: face.png: the visibility of landmark 0 is 7; it must
        be 0 (no position), 1 (occluded) or 2 (visible).
    """
    try:
        points, marks = np.asarray(landmarks, np.float32), np.asarray(visibility)
    except (TypeError, ValueError, OverflowError) as error:
        raise FaceAlignError(f"{what}: the landmarks are not numbers ({error}).") from error
    if not marks.ndim or points.shape != (*marks.shape, 2) or marks.dtype.kind not in "biuf":
        raise FaceAlignError(
            f"{what}: landmarks {points.shape} and visibility {marks.dtype} {marks.shape} do not "
            "fit; give (K, 2) and (K,)."
        )
    if (wrong := ~np.isin(marks, (0, 1, 2))).any():
        place = tuple(np.argwhere(wrong)[0])
        raise FaceAlignError(
            f"{what}: the visibility of {_landmark(place)} is {marks[place]}; it must be 0 (no "
            "position), 1 (occluded) or 2 (visible)."
        )
    if (broken := (marks > 0) & ~np.isfinite(points).all(axis=-1)).any():
        place = tuple(np.argwhere(broken)[0])
        raise FaceAlignError(
            f"{what}: {_landmark(place)} has visibility {marks[place]} but is not finite "
            f"({points[place].tolist()}); set its visibility to 0."
        )
    return points, marks


def _landmark(place: tuple[Any, ...]) -> str:
    face = "".join(f" of face {i}" for i in place[:-1])
    return f"landmark {place[-1]}{face}"
