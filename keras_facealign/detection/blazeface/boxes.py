"""Boxes of the landmarks from BlazeFace's boxes and key points."""

from __future__ import annotations

import numpy as np

from keras_facealign.detection.blazeface.network import RawFaces

# From `features` to the box of the landmarks, in units of BlazeFace's box: its center's distance
# across and down, and the logarithm of its longer side. `benchmarks/fit_detector_box.py` fits them.
ACROSS = (-1.429, 0.820, 1.526, -0.071)
DOWN = (-0.172, 0.941, 0.212, -1.129, 0.580, -0.410, 0.189)
LOG_SIDE = (-0.920, -1.684, 1.590, 1.062, -0.366, -3.100, 2.346)


def features(faces: RawFaces) -> tuple[np.ndarray, np.ndarray]:
    """Describes the key points of upright faces, in units of the box.

    Args:
        faces: N faces.

    Returns:
        What changes its sign if a face is mirrored, (N, 4): distance across from the center to
        nose, mouth, and the middles of eyes and ears. What does not, (N, 7): 1, the distances down
        to the same points, and those between the eyes and between the ears.
    """
    points = faces.keypoints - faces.centers[:, None]
    roll = np.radians(faces.rolls)[:, None]
    x = np.cos(roll) * points[..., 0] + np.sin(roll) * points[..., 1]
    y = np.cos(roll) * points[..., 1] - np.sin(roll) * points[..., 0]
    x, y = x / faces.sides[:, None], y / faces.sides[:, None]
    across = [x[:, 2:4], x[:, :2].mean(axis=1)[:, None], x[:, 4:].mean(axis=1)[:, None]]
    down = [y[:, 2:4], y[:, :2].mean(axis=1)[:, None], y[:, 4:].mean(axis=1)[:, None]]
    apart = [np.hypot(x[:, b] - x[:, a], y[:, b] - y[:, a])[:, None] for a, b in ((0, 1), (4, 5))]
    return np.hstack(across), np.hstack([np.ones((len(faces), 1)), *down, *apart])


def landmark_boxes(faces: RawFaces) -> np.ndarray:
    """Estimates the boxes of the landmarks.

    Args:
        faces: N faces.

    Returns:
        float64 (N, 4): squares around the landmarks of the upright face; to lie on the face, a
        square is turned about its center by the face's roll.
    """
    odd, even = features(faces)
    across, down = odd @ np.array(ACROSS), even @ np.array(DOWN)
    half = faces.sides * np.exp(even @ np.array(LOG_SIDE)) / 2
    roll = np.radians(faces.rolls)
    shift = np.stack(
        [np.cos(roll) * across - np.sin(roll) * down, np.sin(roll) * across + np.cos(roll) * down],
        axis=1,
    )
    center = faces.centers + faces.sides[:, None] * shift
    return np.concatenate([center - half[:, None], center + half[:, None]], axis=1)
