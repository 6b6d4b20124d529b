"""Cameras and angles against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.face_profiling.camera import (
    Camera,
    angles_from_rotation,
    rotation_from_angles,
    rotation_from_vector,
)


@pytest.mark.parametrize("angles", [(0, 0, 0), (12, -35, 7), (-20, 80, -30), (5, 90, 0)])
def test_angles_go_there_and_back(angles):
    rotation = rotation_from_angles(*angles)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(angles_from_rotation(rotation), angles, atol=1e-6)


def test_signs_of_the_angles():
    nose = np.array([0.0, 0.0, 1.0])
    flat = Camera(np.eye(3), 1.0, np.zeros(2))

    def seen(*angles):
        return Camera(rotation_from_angles(*angles), flat.scale, flat.shift).project(nose)

    # As in 300W-LP: a positive yaw turns the nose to the picture's left, a positive pitch upwards.
    assert seen(0, 30, 0)[0] == pytest.approx(-0.5)
    assert seen(30, 0, 0)[1] == pytest.approx(-0.5)
    np.testing.assert_allclose(seen(0, 0, 30), nose, atol=1e-12)


def test_lift_undoes_project():
    rng = np.random.default_rng(1)
    camera = Camera(rotation_from_angles(10, 20, 30), 7.5, np.array([50.0, 60.0]))
    points = rng.normal(size=(20, 3))
    np.testing.assert_allclose(camera.lift(camera.project(points)), points, atol=1e-12)


def test_turned_keeps_the_pivot_and_adds_to_the_own_yaw():
    camera = Camera(rotation_from_angles(10, 20, 25), 7.5, np.array([50.0, 60.0]))
    pivot = np.array([0.5, -1.0, 2.0])
    turned = camera.turned(30, pivot)
    assert turned.own_yaw == pytest.approx(camera.own_yaw + 30)
    np.testing.assert_allclose(turned.project(pivot)[:2], camera.project(pivot)[:2], atol=1e-9)
    # The head's own upright axis stays as it is.
    np.testing.assert_allclose(turned.rotation[:, 1], camera.rotation[:, 1], atol=1e-12)


def test_own_yaw_of_an_upright_head_is_its_yaw():
    for yaw in (-90, -40, 0, 25, 90):
        camera = Camera(rotation_from_angles(0, yaw, 0), 1.0, np.zeros(2))
        assert camera.own_yaw == pytest.approx(yaw, abs=1e-6)


def test_rotation_from_vector_against_the_series():
    vector = np.array([0.3, -0.2, 0.5])
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    term, total = np.eye(3), np.eye(3)
    for n in range(1, 20):
        term = term @ cross / n
        total = total + term
    np.testing.assert_allclose(rotation_from_vector(vector), total, atol=1e-12)
    np.testing.assert_array_equal(rotation_from_vector(np.zeros(3)), np.eye(3))
