"""Drawings: in the right place, in the right colors, on a copy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import Face, draw_faces
from keras_facealign.inference.drawing import REGION_COLORS, draw_tracked
from keras_facealign.landmarks import IBUG68
from keras_facealign.video import TrackedFace


def face_on_circle(center=(100.0, 100.0), radius=80.0, confidence=1.0) -> Face:
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.array(center) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Face(
        landmarks=points.astype(np.float32),
        confidence=np.full(68, confidence, np.float32),
        box=np.array([20, 20, 180, 180], np.float32),
    )


def gray(height=200, width=200) -> np.ndarray:
    return np.full((height, width, 3), 60, np.uint8)


def test_each_dot_has_its_regions_color_and_the_image_stays_as_it_was():
    image = gray()
    face = face_on_circle()
    drawn = draw_faces(image, [face], edges=False)
    assert (image == 60).all()
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    for region, points in IBUG68.regions.items():
        for point in points:
            x, y = np.rint(face.landmarks[point]).astype(int)
            assert tuple(drawn[y, x]) == REGION_COLORS[region], (region, point)
    # Nothing but the dots was touched.
    changed = np.argwhere((drawn != image).any(axis=2))[:, ::-1]
    distance = np.linalg.norm(changed[:, None] - face.landmarks[None], axis=2).min(axis=1)
    assert distance.max() < 4


def test_dots_sit_at_fractions_of_a_pixel():
    points = np.full((68, 2), 50.0, np.float32)
    points[0] = (20.25, 30.75)
    points[1] = (80.0, 80.0)
    face = Face(points, np.ones(68, np.float32), np.array([0, 0, 99, 99], np.float32))
    drawn = draw_faces(np.zeros((100, 100, 3), np.uint8), [face], edges=False, thickness=4)
    weights = drawn[20:42, 10:32].astype(float).sum(axis=2)
    y, x = np.mgrid[20:42, 10:32]
    found = [(weights * x).sum() / weights.sum(), (weights * y).sum() / weights.sum()]
    np.testing.assert_allclose(found, [20.25, 30.75], atol=0.15)


def test_an_uncertain_landmark_is_a_hollow_pale_ring():
    points = np.full((68, 2), 20.0, np.float32)
    points[0] = (400, 400)
    points[8] = (220, 220)
    confidence = np.ones(68, np.float32)
    box = np.array([0, 0, 440, 440], np.float32)
    solid = draw_faces(gray(440, 440), [Face(points, confidence, box)], edges=False)
    confidence[8] = 0.05
    hollow = draw_faces(gray(440, 440), [Face(points, confidence, box)], edges=False)
    assert tuple(solid[220, 220]) == REGION_COLORS["jaw"]
    assert tuple(hollow[220, 220]) == (60, 60, 60)
    assert (hollow[212:229, 212:229] != 60).any()
    everything = draw_faces(
        gray(440, 440), [Face(points, confidence, box)], edges=False, min_confidence=0.0
    )
    np.testing.assert_array_equal(everything, solid)


def test_a_face_that_is_not_reliable_is_pale_all_over():
    face = face_on_circle()
    doubted = dataclasses.replace(face, reliable=False)
    pale = dataclasses.replace(face, confidence=np.zeros(68, np.float32))
    np.testing.assert_array_equal(draw_faces(gray(), [doubted]), draw_faces(gray(), [pale]))
    assert (draw_faces(gray(), [doubted]) != draw_faces(gray(), [face])).any()


def test_the_box_of_a_leaning_face_is_turned():
    face = dataclasses.replace(face_on_circle(), roll=45.0)
    drawn = draw_faces(gray(300, 300), [face], boxes=True)
    # Its corners lie above, below and beside the center (100, 100).
    x0, _, x1, _ = face.box
    reach = round((x1 - x0) / 2 * np.sqrt(2))
    assert (drawn[100, 100 + reach - 1] != 60).any() and (drawn[100 + reach - 1, 100] != 60).any()
    assert (drawn[60, 20] == 60).all()


def test_edges_boxes_and_thickness_are_options():
    face = face_on_circle()
    # Half way between two landmarks of the jaw, and on the left side of the box.
    x, y = np.rint(face.landmarks[4:6].mean(axis=0)).astype(int)
    plain = draw_faces(gray(), [face], edges=False)
    lines = draw_faces(gray(), [face])
    assert (plain[y, x] == 60).all()
    assert (lines[y, x] != 60).any()
    assert (lines[60, 20] == 60).all()
    assert (draw_faces(gray(), [face], boxes=True)[60, 20] != 60).any()
    thick = draw_faces(gray(), [face], edges=False, thickness=3)
    assert (thick != 60).sum() > 3 * (plain != 60).sum()


def test_dots_grow_with_the_face():
    def area(radius):
        face = face_on_circle((700.0, 700.0), radius)
        return (draw_faces(gray(1400, 1400), [face], edges=False) != 60).any(axis=2).sum()

    assert area(600.0) > 3 * area(100.0)


def test_faces_outside_the_image_and_without_positions_are_harmless():
    image = gray()
    for center in ((1e7, 1e7), (-1e12, 5.0), (np.inf, 5.0), (np.nan, np.nan)):
        drawn = draw_faces(image, [face_on_circle(center)], boxes=True)
        assert drawn.shape == image.shape
    assert (draw_faces(image, []) == image).all()


def test_wrong_images_and_landmarks_are_refused():
    for image in (gray().astype(np.float32), gray()[:, :, 0], np.zeros((9, 9, 4), np.uint8)):
        with pytest.raises(FaceAlignError, match="give uint8"):
            draw_faces(image, [])
    five = Face(np.zeros((5, 2), np.float32), np.ones(5, np.float32), np.zeros(4, np.float32))
    with pytest.raises(FaceAlignError, match="68 points"):
        draw_faces(gray(), [five])


def test_faces_are_drawn_with_their_numbers():
    rng = np.random.default_rng(0)
    points = rng.uniform([60, 60], [140, 140], (68, 2)).astype(np.float32)
    faces = [
        TrackedFace(points, np.ones(68, np.float32), np.array([50, 50, 150, 150.0]), id=number)
        for number in (3, 8)
    ]
    image = np.full((200, 200, 3), 120, np.uint8)
    three, eight = (draw_tracked(image, [face]) for face in faces)
    assert (image == 120).all()
    changed = np.argwhere((three != eight).any(axis=-1))
    # Only the number differs, above the landmarks.
    assert len(changed) > 5 and changed[:, 0].max() < 60
    outside = TrackedFace(points - 500, faces[0].confidence, faces[0].box, id=1)
    assert draw_tracked(image, [outside]).shape == image.shape
