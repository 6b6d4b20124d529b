"""Head pose on faces projected by known cameras, against OpenCV, and on random heads."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import estimate_head_pose as estimate
from keras_facealign.inference.head_pose import rotation_matrix
from keras_facealign.landmarks import IBUG68, mean_face

DATA = os.environ.get("KERAS_FACEALIGN_DATA")
SIZE = (1280, 720)
FOCAL = 1280.0
POSES = [(0, 0, 0), (40, 10, -15), (-65, -20, 30), (20, -35, 5), (-85, 5, 10), (10, 25, 80)]


def angles(pose) -> np.ndarray:
    return np.array([pose.yaw, pose.pitch, pose.roll])


def project(points, rotation, at, distance=60.0, size=SIZE, focal=FOCAL) -> np.ndarray:
    """What a camera sees of points (N, 3) in cm whose origin is to appear at the pixel `at`."""
    middle = (np.array(size) - 1) / 2
    origin = np.array([*((np.array(at) - middle) / focal), 1.0]) * distance
    pixels = []
    for x, y, z in points @ rotation.T + origin:
        pixels.append([focal * x / z + middle[0], focal * y / z + middle[1]])
    return np.array(pixels)


@pytest.mark.parametrize("at", [(640, 360), (150, 600), (1200, 90)])
@pytest.mark.parametrize("pose", POSES)
def test_the_pose_of_a_projected_face_is_found_anywhere_in_the_image(pose, at):
    landmarks = project(mean_face(), rotation_matrix(*pose), at)
    found = estimate(landmarks, SIZE, focal_length=FOCAL)
    np.testing.assert_allclose(angles(found), pose, atol=0.01)
    np.testing.assert_allclose(found.rotation, rotation_matrix(*pose), atol=1e-4)
    assert found.residual < 1e-4


@pytest.mark.parametrize("pose", POSES)
def test_without_a_camera_the_face_is_seen_from_afar(pose):
    landmarks = 7.0 * (mean_face() @ rotation_matrix(*pose).T)[:, :2] + [900, 30]
    found = estimate(landmarks)
    np.testing.assert_allclose(angles(found), pose, atol=0.5)


def test_the_signs_are_those_of_the_documentation():
    def shift(pose):  # of the nose's tip against the eyes' outer corners
        landmarks = project(mean_face(), rotation_matrix(*pose), (640, 360))
        return landmarks[30] - landmarks[[36, 45]].mean(axis=0), landmarks[45] - landmarks[36]

    assert shift((30, 0, 0))[0][0] < -10 < 10 < shift((-30, 0, 0))[0][0]  # left of the picture
    assert shift((0, 30, 0))[0][1] < shift((0, 0, 0))[0][1] < shift((0, -30, 0))[0][1]  # up
    assert shift((0, 0, 30))[1][1] > 10  # clockwise: its left eye, on the right, goes down


def test_the_rotation_is_made_of_turns_about_the_axes():
    yaw, pitch, roll = np.radians([33.0, -12.0, 71.0])
    about_x, about_y, about_z = (
        cv2.Rodrigues(np.array(vector))[0]
        for vector in ([-pitch, 0.0, 0.0], [0.0, yaw, 0.0], [0.0, 0.0, roll])
    )
    expected = about_x @ about_y @ about_z
    np.testing.assert_allclose(rotation_matrix(33, -12, 71), expected, atol=1e-12)


def test_agrees_with_opencv_on_noisy_landmarks(monkeypatch):
    monkeypatch.setattr("keras_facealign.inference.head_pose.rigid_weights", lambda: np.ones(68))
    rng = np.random.default_rng(0)
    camera = np.array([[FOCAL, 0, (SIZE[0] - 1) / 2], [0, FOCAL, (SIZE[1] - 1) / 2], [0, 0, 1]])
    for pose in POSES:
        landmarks = project(mean_face(), rotation_matrix(*pose), (300, 500))
        landmarks = landmarks + rng.normal(0, 4, landmarks.shape)
        found = estimate(landmarks, SIZE, focal_length=FOCAL)
        start = cv2.Rodrigues(rotation_matrix(*pose))[0], np.array([[-16.0], [6.6], [60.0]])
        _, turn, _ = cv2.solvePnP(
            mean_face(), landmarks, camera, None, start[0], start[1], useExtrinsicGuess=True
        )
        np.testing.assert_allclose(found.rotation, cv2.Rodrigues(turn)[0], atol=2e-3)


def test_a_mirrored_face_has_the_mirrored_pose():
    landmarks = project(mean_face(), rotation_matrix(35, 12, -9), (300, 500))
    landmarks = landmarks + np.random.default_rng(1).normal(0, 2, landmarks.shape)
    mirrored = landmarks[IBUG68.flip_permutation] * [-1, 1] + [SIZE[0] - 1, 0]
    one, other = estimate(landmarks, SIZE), estimate(mirrored, SIZE)
    np.testing.assert_allclose(angles(other), angles(one) * [-1, 1, -1], atol=1e-3)


def test_landmarks_without_confidence_do_not_count():
    landmarks = project(mean_face(), rotation_matrix(20, 5, 0), (640, 360))
    confidence = np.ones(68)
    confidence[17:27] = 0
    landmarks[17:27] += 80
    found = estimate(landmarks, SIZE, confidence, FOCAL)
    np.testing.assert_allclose(angles(found), (20, 5, 0), atol=0.01)
    assert np.abs(angles(estimate(landmarks, SIZE, focal_length=FOCAL)) - (20, 5, 0)).max() > 2


def test_landmarks_that_are_no_face_give_a_finite_pose_with_a_large_residual():
    for seed in range(10):
        landmarks = np.random.default_rng(seed).uniform(0, 500, (68, 2))
        found = estimate(landmarks, (500, 500))
        assert np.isfinite(angles(found)).all()
        assert found.residual > 0.3
    assert set(found.to_dict()) == {"yaw", "pitch", "roll", "residual"}


def test_bad_input():
    face = project(mean_face(), np.eye(3), (640, 360))
    for landmarks, complaint in (
        (face[:67], r"shape \(67, 2\)"),
        (np.where(np.arange(68)[:, None] == 3, np.nan, face), "landmark 3 is"),
        (np.full((68, 2), 5.0), "coincide"),
    ):
        with pytest.raises(FaceAlignError, match=complaint):
            estimate(landmarks)
    for options, complaint in (
        ({"confidence": np.zeros(68)}, "0 landmarks have weight"),
        ({"confidence": np.ones(5)}, r"shape \(5,\)"),
        ({"image_size": (0, 5)}, "image_size"),
        ({"image_size": SIZE, "focal_length": -1.0}, "focal_length is -1"),
        ({"focal_length": 100.0}, "needs image_size"),
    ):
        with pytest.raises(FaceAlignError, match=complaint):
            estimate(face, **options)


def test_the_mean_face_is_symmetric_and_centerd():
    points = mean_face()
    np.testing.assert_allclose(points[IBUG68.flip_permutation] * [-1, 1, 1], points, atol=1e-9)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-3)
    assert points[8, 1] > points[30, 1] > points[27, 1]  # chin below nose below its bridge
    assert points[30, 2] == points[:, 2].min()  # the nose's tip is nearest to the camera


@pytest.mark.skipif(DATA is None, reason="KERAS_FACEALIGN_DATA is not set: no ICT-FaceKit")
def test_random_heads_with_expressions_are_found_within_three_degrees():
    """Other people than the mean, with other faces than a neutral one, all over the picture."""
    with np.load(Path(str(DATA)) / "ict_facekit" / "ict_facekit_f16.npz") as arrays:
        vertices = arrays["idx_to_landmark_verts"]
        neutral = arrays["neutral"][vertices].astype(float)
        identity = arrays["identity"][:, vertices].astype(float)
        expression = arrays["expression"][:, vertices].astype(float)
    rng = np.random.default_rng(0)
    errors, turned = [], []
    for _ in range(150):
        head = neutral + np.tensordot(rng.normal(size=100), identity, 1)
        chosen = rng.choice(len(expression), 4, replace=False)
        head = head + np.tensordot(rng.uniform(0, 0.8, 4), expression[chosen], 1)
        head = head * [1, -1, -1]
        pose = rng.uniform([-70, -30, -30], [70, 30, 30])
        at = rng.uniform([130, 140], [1150, 580])
        rotation = rotation_matrix(*pose)
        landmarks = project(head - head.mean(axis=0), rotation, at, rng.uniform(35, 120))
        found = estimate(landmarks, SIZE, focal_length=FOCAL)
        errors.append(np.abs(angles(found) - pose))
        cosine = (np.trace(found.rotation.T @ rotation) - 1) / 2
        turned.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    print("mean error of yaw, pitch, roll:", np.mean(errors, axis=0), "angle:", np.mean(turned))
    assert np.mean(errors, axis=0).max() < 3
    assert np.mean(turned) < 3
