"""The rasterizer against loops, and turned pictures against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.face_profiling import Camera, TurnableFace, visible_landmarks
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.data.face_profiling.rendering import _harmonic, facing
from tests.data.face_profiling.head import texture

STILL = np.array([[1.0, 0, 0], [0, 1.0, 0]])


def test_harmonic_gives_back_what_is_harmonic():
    y, x = np.mgrid[:9, :11].astype(float)
    truth = np.stack([3 * x - 2 * y + 1, x * y, x**2 - y**2], -1)
    fixed = np.zeros((9, 11), bool)
    fixed[[0, -1]] = fixed[:, [0, -1]] = True
    fixed[4, 5] = True
    start = np.where(fixed[..., None], truth, 99.0)
    np.testing.assert_allclose(_harmonic(start, fixed), truth, atol=1e-9)


@pytest.fixture(scope="module")
def camera():
    return Camera(rotation_from_angles(3, 12, -4), 7.0, np.array([110.0, 98.0]))


@pytest.fixture(scope="module")
def face(model, camera):
    vertices = model.vertices(np.zeros(model.num_coefficients))
    return TurnableFace(texture(), vertices, model.triangles, camera)


def test_without_a_turn_the_picture_comes_back(face, camera):
    image = texture()
    height, width = image.shape[:2]
    found = face.render(camera, STILL, height, width).astype(int)
    off = np.abs(found - image)
    assert off.max() <= 2 and off.mean() < 0.5


def test_a_crop_is_the_picture_cut_out(face, camera):
    crop = np.array([[1.0, 0, -30], [0, 1.0, -20]])
    found = face.render(camera, crop, 100, 120).astype(int)
    assert np.abs(found - texture()[20:120, 30:150]).max() <= 2


def test_the_skin_of_a_landmark_moves_with_it(face, model, camera):
    image = texture()
    vertices = model.vertices(np.zeros(model.num_coefficients))
    turned = camera.turned(30, vertices.mean(axis=0))
    found = face.render(turned, STILL, *image.shape[:2])
    before, after = (c.project(vertices[model.landmarks])[:, :2] for c in (camera, turned))
    pixels = turned.project(vertices)
    seen = visible_landmarks(pixels, model.triangles, model.landmarks, 5.0) == 2
    inner = np.flatnonzero(seen[17:]) + 17
    assert len(inner) > 30
    steps = np.linalg.norm(after - before, axis=1)[inner]
    assert steps.mean() > 5
    for mark in inner:
        (x0, y0), (x1, y1) = np.rint(before[mark]), np.rint(after[mark])
        difference = found[int(y1), int(x1)].astype(int) - image[int(y0), int(x0)]
        assert np.abs(difference).max() < 12, mark


def test_the_frame_stays_where_it_is_and_every_pixel_is_filled(face, model, camera):
    image = texture()
    vertices = model.vertices(np.zeros(model.num_coefficients))
    found = face.render(camera.turned(78, vertices.mean(axis=0)), STILL, *image.shape[:2])
    # The texture's darkest channel is 40: nothing was left black.
    assert found[..., :2].min() >= 35
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    for corner in corners:
        assert np.abs(found[corner].astype(int) - image[corner]).max() < 25


def test_facing_is_the_cosine_of_the_slope(model):
    turn = rotation_from_angles(0, 40, 0)
    square = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    pixels = Camera(turn, 5.0, np.zeros(2)).project(square)
    found = facing(pixels, np.array([[0, 1, 2], [0, 2, 1]]))
    np.testing.assert_allclose(found, [np.cos(np.radians(40)), -np.cos(np.radians(40))])


def test_a_turned_head_hides_its_far_side(model):
    vertices = model.vertices(np.zeros(model.num_coefficients))

    def hidden(yaw):
        turned = Camera(rotation_from_angles(0, yaw, 0), 8.0, np.array([90.0, 90.0]))
        seen = visible_landmarks(turned.project(vertices), model.triangles, model.landmarks, 4.0)
        assert set(np.unique(seen)) <= {1, 2}
        return set(np.flatnonzero(seen == 1))

    assert hidden(0) == set()
    # A positive yaw turns the face to the picture's left, where the person's right half vanishes.
    assert {0, 1, 2, 36, 17} <= hidden(75) and not {14, 15, 16, 45} & hidden(75)
    assert {14, 15, 16, 45, 26} <= hidden(-75) and not {0, 1, 2, 36} & hidden(-75)
