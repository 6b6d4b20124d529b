"""Boxes around landmarks, and the crops around boxes."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError


def points_of(shape, seed=1):
    return np.random.default_rng(seed).uniform(-20, 150, (*shape, 2)).astype(np.float32)


def test_landmarks_box_is_tight_around_labeled_points():
    points = points_of((20,))
    visibility = np.random.default_rng(3).integers(0, 3, 20)
    points[visibility == 0] = -1e6
    points[np.flatnonzero(visibility == 0)[0]] = np.nan
    points[4], visibility[4] = (np.nan, 3.0), 2
    box = geometry.landmarks_box(points, visibility)
    kept = [p for i, p in enumerate(points.tolist()) if visibility[i] > 0 and i != 4]
    xs, ys = [x for x, _ in kept], [y for _, y in kept]
    assert box.dtype == np.float32
    assert box.tolist() == [min(xs), min(ys), max(xs), max(ys)]
    one = points_of((1,))
    assert geometry.landmarks_box(one).tolist() == [*one[0], *one[0]]


@pytest.mark.parametrize(
    "points, visibility",
    [
        (np.zeros((0, 2)), None),
        (np.full((3, 2), np.nan), None),
        (np.zeros((3, 2)), np.zeros(3)),
        (np.array([[np.inf, 0.0], [1.0, 1.0]]), np.array([2, 0])),
    ],
)
def test_no_box_around_nothing(points, visibility):
    with pytest.raises(FaceAlignError, match="No landmark has a finite position"):
        geometry.landmarks_box(points, visibility)


@pytest.mark.parametrize("box", [(10, 20, 110, 90), (-30.5, 4, -10, 77), (0, 0, 1, 1)])
@pytest.mark.parametrize("size, scale", [(128, 1.3), (64, 1.0), (192, 2.0)])
def test_crop_is_a_square_around_the_box(box, size, scale):
    x0, y0, x1, y1 = box
    matrix = geometry.crop_matrix(np.array(box), size, scale)
    assert matrix.dtype == np.float32
    assert matrix[0, 1] == matrix[1, 0] == 0 and matrix[0, 0] == matrix[1, 1]
    side = scale * max(x1 - x0, y1 - y0)
    center = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    corners = np.stack([center - side / 2, center + side / 2])
    moved = geometry.transform_points(matrix, corners.astype(np.float32))
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [size - 0.5, size - 0.5]], atol=2e-3)


@pytest.mark.parametrize("roll", [0, 15, 90, -170])
def test_a_turned_crop_shows_a_leaning_face_upright(roll):
    box = np.array([10.0, 20, 110, 100])
    matrix = geometry.crop_matrix(box, 64, 1.5, roll)
    straight = geometry.crop_matrix(box, 64, 1.5)
    center, angle = np.array([60.0, 60.0]), np.radians(roll)
    assert matrix.dtype == np.float32
    for offset in ([0.0, 0.0], [10.0, 0.0], [-3.0, 30.0]):
        upright = center + offset
        x, y = offset
        turned = (np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y)
        leaning = center + turned
        np.testing.assert_allclose(
            geometry.transform_points(matrix, leaning[None]),
            geometry.transform_points(straight, upright[None]),
            atol=1e-3,
        )


def test_crop_uses_the_networks_size_and_scale_by_default():
    matrix = geometry.crop_matrix(np.array([0.0, 0.0, 100.0, 50.0]))
    assert geometry.CROP_SCALE == 1.3
    np.testing.assert_allclose(matrix[0, 0], 128 / 130, rtol=1e-6)


@pytest.mark.parametrize(
    "box",
    [
        (5, 5, 5, 9),
        (5, 5, 9, 5),
        (9, 5, 5, 9),
        (0, 0, np.nan, 9),
        (0, 0, np.inf, 9),
        (-np.inf, 0, 3, 9),
    ],
)
def test_crop_of_a_bad_box(box):
    with pytest.raises(FaceAlignError, match="has no area; give x0, y0, x1, y1"):
        geometry.crop_matrix(np.array(box, np.float32))


def test_the_old_keyword_of_the_crop_scale_gives_a_warning():
    box = np.array([0.0, 0.0, 100.0, 50.0])
    with pytest.warns(DeprecationWarning, match="crop_matrix: margin is now crop_scale"):
        matrix = geometry.crop_matrix(box, 64, margin=2.0)
    np.testing.assert_array_equal(matrix, geometry.crop_matrix(box, 64, crop_scale=2.0))


@pytest.mark.parametrize("seed", range(40))
def test_overlap_counts_the_pixels_of_both_boxes(seed):
    rng = np.random.default_rng(seed)
    boxes = [np.sort(rng.integers(0, 9, (2, 2)), axis=0).reshape(4) for _ in range(2)]
    first, second = (
        {(x, y) for x in range(x0, x1) for y in range(y0, y1)} for x0, y0, x1, y1 in boxes
    )
    expected = len(first & second) / len(first | second) if first | second else 0.0
    assert geometry.box_overlap(*boxes) == pytest.approx(expected, abs=1e-12)
    assert geometry.box_overlap(*boxes[::-1]) == geometry.box_overlap(*boxes)


def test_boxes_side_by_side_do_not_overlap():
    box = np.array([10.0, 10.0, 20.0, 20.0])
    for shift in ([12, 0], [0, 12], [-12, 0], [0, -12], [12, 12], [-12, 12], [10, 0]):
        assert geometry.box_overlap(box, box + np.tile(shift, 2)) == 0
    assert geometry.box_overlap(box, box) == geometry.box_overlap(box / 64, box / 64) == 1
