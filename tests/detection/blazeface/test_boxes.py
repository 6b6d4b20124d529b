"""Boxes of landmarks follow the face when it moves, grows, leans or is mirrored."""

from __future__ import annotations

import numpy as np

from keras_facealign.detection.blazeface.boxes import ACROSS, DOWN, LOG_SIDE, landmark_boxes
from keras_facealign.detection.blazeface.network import RawFaces
from keras_facealign.geometry import similarity

POINTS = [[-18.0, -15], [20, -15], [3, 4], [2, 25], [-40, -8], [38, -9]]


def face(points=POINTS) -> RawFaces:
    return RawFaces(np.array([[-50.0, -50, 50, 50]]), np.array([points]), np.array([0.9]))


def test_a_box_by_hand():
    # In units of the box: nose, mouth, middle of the eyes and of the ears.
    x, y = np.array([0.03, 0.02, 0.01, -0.01]), np.array([0.04, 0.25, -0.15, -0.085])
    even = [1, *y, 0.38, np.hypot(0.78, 0.01)]
    center = 100 * np.array([np.dot(x, ACROSS), np.dot(even, DOWN)])
    half = 50 * np.exp(np.dot(even, LOG_SIDE))
    np.testing.assert_allclose(
        landmark_boxes(face())[0], [*(center - half), *(center + half)], atol=1e-9
    )
    assert 35 < half < 60


def test_the_box_moves_with_the_face():
    (box,) = landmark_boxes(face())
    center, half = (box[:2] + box[2:]) / 2, (box[2] - box[0]) / 2
    for scale, degrees, shift in ((0.2, 0, (5, 6)), (3, 40, (0, 9)), (1, -170, (3, 3))):
        matrix = similarity(np.float64(scale), np.radians(np.float64(degrees)), shift, (0, 0))
        (moved,) = landmark_boxes(face().moved(matrix))
        expected = matrix[:, :2] @ center + matrix[:, 2]
        np.testing.assert_allclose((moved[:2] + moved[2:]) / 2, expected, atol=1e-9)
        np.testing.assert_allclose(moved[2:] - moved[:2], 2 * half * scale)


def test_a_mirrored_face_has_a_mirrored_box():
    mirrored = np.array(POINTS)[[1, 0, 2, 3, 5, 4]] * (-1, 1)
    (box,), (other,) = landmark_boxes(face()), landmark_boxes(face(mirrored.tolist()))
    np.testing.assert_allclose(other, [-box[2], box[1], -box[0], box[3]], atol=1e-9)
    assert len(landmark_boxes(face()[[]])) == 0
