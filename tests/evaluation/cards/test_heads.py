"""Pictures laid over heads: the true places of landmarks are where turned pictures show them."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.face_profiling import Camera, load_head_model
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.evaluation.cards.heads import (
    drawn_head,
    fitted_head,
    head_surface,
    lifted_head,
    photo_head,
)
from keras_facealign.evaluation.cards.trials import judge, turned_trials
from keras_facealign.inference.head_pose import rotation_matrix
from keras_facealign.landmarks import mean_face
from keras_facealign.presets import from_preset
from tests.data.face_profiling.head import texture, write_model
from tests.paths import ROOT

SIDE = 96


def test_the_surface_is_closed_faces_outwards_and_passes_by_the_landmarks():
    marks = mean_face() * [1, -1, -1]
    vertices, triangles = head_surface(marks)
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    width, height, depth = np.ptp(vertices, axis=0)
    # An ellipsoid of these axes, about.
    assert volume == pytest.approx(np.pi / 6 * width * height * depth, rel=0.15)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    there = {(i, j) for i, j in edges.tolist()}
    poles = {0, len(vertices) - 1}
    ring = {i for i in range(len(vertices)) if np.ptp(vertices[[i, 0]], axis=0).max() < 1e-9}
    ring |= {i for i in range(len(vertices)) if np.ptp(vertices[[i, -1]], axis=0).max() < 1e-9}
    assert poles <= ring
    assert all((j, i) in there for i, j in there if not {i, j} <= ring)
    nearest = np.linalg.norm(vertices[:, None] - marks, axis=-1).min(axis=0)
    assert nearest.max() < 0.03 * height


@pytest.mark.parametrize("angles", [(0, 0, 0), (12, -8, 5)])
def test_a_lifted_head_has_the_landmarks_where_the_picture_has_them(angles):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (200, 220, 3), dtype=np.uint8)
    rotation = rotation_matrix(*angles)
    points = 9.0 * (mean_face() @ rotation.T)[:, :2] + (105, 95) + rng.normal(0, 0.5, (68, 2))
    head = lifted_head(picture, points, rotation)
    np.testing.assert_allclose(
        head.camera.project(head.vertices[head.landmarks])[:, :2], points, atol=1e-9
    )
    # Yaw and pitch as head_pose names them are the camera's.
    assert head.camera.own_yaw == pytest.approx(angles[0], abs=1.5)
    assert head.camera.scale == pytest.approx(9.0, rel=0.01)
    view = head.view(SIDE)
    assert view.crop.shape == (SIDE, SIDE, 3) and view.labeled.all()
    low, high = view.landmarks.min(0), view.landmarks.max(0)
    # The crop rule: the box's middle in the middle, its longer side 1 / 1.3 of the crop.
    np.testing.assert_allclose((low + high) / 2, (SIDE - 1) / 2, atol=1e-3)
    assert np.max(high - low) == pytest.approx(SIDE / 1.3, abs=1e-3)


def dotted_head(index: int):
    """A gray picture with one landmark of a frontal face marked, laid over a head."""
    points = 14.0 * mean_face()[:, :2] + 160
    picture = np.full((320, 320, 3), 60, np.uint8)
    x, y = np.rint(points[index]).astype(int)
    picture[y - 3 : y + 4, x - 3 : x + 4] = 255
    return lifted_head(picture, points)


@pytest.mark.parametrize("index", [19, 30, 37, 48])  # brow, nose, eye, mouth, on the person's right
@pytest.mark.parametrize(("yaw", "lean"), [(0, 0), (-35, 0), (-60, 0), (0, 30)])
def test_true_places_are_where_a_turned_picture_shows_them(index, yaw, lean):
    view = dotted_head(index).view(SIDE, yaw, lean)
    light = np.clip(view.crop[..., 0].astype(float) - 70, 0, None)
    assert light.sum() > 0
    y, x = np.unravel_index(np.arange(light.size), light.shape)
    found = np.array([(light.ravel() * axis).sum() for axis in (x, y)]) / light.sum()
    # The tip of the nose is a little blunt.
    np.testing.assert_allclose(found, view.landmarks[index], atol=2.0 if index == 30 else 1.0)
    assert view.labeled[index]


def test_a_turned_head_hides_the_side_that_it_turns_away():
    head = drawn_head(3)
    assert head.view(32).labeled.all()
    # The person's right eye and most of the brow, which a yaw to the left hides.
    right, left = [17, 18, 19, *range(36, 42)], [24, 25, 26, *range(42, 48)]
    view = head.view(32, 80.0)
    assert view.labeled[left].all() and not view.labeled[right].any()
    assert not view.labeled[:17].any()
    view = head.view(32, -80.0)
    assert view.labeled[right].all() and not view.labeled[left].any()


def test_a_photo_is_laid_over_a_head_that_is_fitted_to_it(tmp_path):
    path = write_model(tmp_path / "head.npz")
    model = load_head_model(path)
    camera = Camera(rotation_from_angles(5.0, 20.0, -8.0), 8.0, np.array([112.0, 104.0]))
    points = camera.project(model.vertices(np.zeros(model.num_coefficients))[model.landmarks])
    head = fitted_head(texture(), points[:, :2], path, outline=False)
    np.testing.assert_allclose(head.camera.angles, camera.angles, atol=1.5)
    found = head.camera.project(head.vertices[head.landmarks])[:, :2]
    assert np.linalg.norm(found - points[:, :2], axis=1).max() < 2
    assert head.view(64, 50.0).crop.shape == (64, 64, 3)
    assert fitted_head(texture(), points[:, :2], path, outline=True).camera.scale > 7


def test_a_photo_and_its_turned_views_agree():
    model = from_preset("sat1_cab_mobile")
    head = photo_head(model, ROOT / "examples" / "astronaut.jpg", None, outline=True)
    # A portrait that looks a little aside, smiling; the face fills the picture as asked for.
    assert abs(head.camera.own_yaw) < 15
    assert head.image.shape == (384, 384, 3)
    trials = turned_trials(head, 128, -1, all_landmarks=False, reference=True)
    errors = [one.error for one in judge(model, trials)]
    assert errors[0] is None and 0.1 < errors[1] < 2.5
    # Its landmarks go to the side that the head is turned to, the nose before the eyes.
    places = [trial.view.landmarks for trial in trials[:5]]
    lead = [float(place[30, 0] - place[36:48, 0].mean()) for place in places]
    assert np.diff(lead).min() > 3
