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
    # As complex numbers: a product turns and scales.
    points = (faces.keypoints - faces.centers[:, None]) @ (1, 1j)
    points = points * (np.exp(-1j * np.radians(faces.rolls)) / faces.sides)[:, None]
    pairs = points[:, [0, 4]], points[:, [1, 5]]
    places = np.concatenate([points[:, 2:4], (pairs[0] + pairs[1]) / 2], axis=1)
    apart = np.abs(pairs[1] - pairs[0])
    return places.real, np.concatenate([np.ones((len(faces), 1)), places.imag, apart], axis=1)


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
    shift = faces.sides * (across + 1j * down) * np.exp(1j * np.radians(faces.rolls))
    center = faces.centers + np.stack([shift.real, shift.imag], axis=1)
    return np.concatenate([center - half[:, None], center + half[:, None]], axis=1)
