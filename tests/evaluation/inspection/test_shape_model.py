"""The shape model against shapes and faults that are known."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.evaluation.inspection.shape_model import fit_shapes, move_onto, row_median
from tests.evaluation.inspection.labeled import SHAPE, shapes

VISIBLE = np.full((60, 9), 2)


def test_the_mean_shape_is_the_one_behind_the_faces():
    rng = np.random.default_rng(0)
    angle = rng.uniform(-1, 1, 80)
    turn = np.exp(1j * angle) * rng.uniform(0.5, 3, 80)
    faces = turn[:, None] * (SHAPE @ [1, 1j]) + rng.uniform(0, 500, (80, 1)) * (1 + 1j)
    points = np.stack([faces.real, faces.imag], -1) + rng.normal(0, 0.01, (80, 9, 2))
    model = fit_shapes(points, np.ones((80, 9)))
    assert model is not None
    # The same shape apart from position, size and roll.
    mean, shape = model.mean @ [1, 1j], SHAPE @ [1, 1j]
    mean, shape = mean - mean.mean(), shape - shape.mean()
    factor = (np.conj(mean) * shape).sum() / (np.abs(mean) ** 2).sum()
    np.testing.assert_allclose(factor * mean, shape, atol=0.1)
    assert np.nanmax(model.deviations) < 0.5
    np.testing.assert_allclose(model.expected, points, atol=0.5)


@pytest.mark.parametrize("missing", [False, True])
def test_a_wrong_point_is_far_from_the_model_and_the_others_are_not(missing):
    faces, visibility = shapes(60), VISIBLE.copy()
    right = faces.copy()
    faces[7, 3] += [30, 0]
    faces[20, 6] += [0, -25]
    if missing:
        visibility[::3, 8] = 0
        faces[::3, 8] = 0
    model = fit_shapes(faces, visibility)
    assert model is not None and model.components == 2
    worst = np.argsort(-np.nan_to_num(model.scores).ravel())[:2]
    assert {divmod(int(place), 9) for place in worst} == {(7, 3), (20, 6)}
    far = np.nan_to_num(model.scores) * (np.nan_to_num(model.deviations) > 5)
    assert np.sort(far.ravel())[-3] < 8 < model.scores[20, 6]
    assert np.abs(model.expected[7, 3] - right[7, 3]).max() < 5
    assert np.isnan(model.deviations[visibility == 0]).all()


def test_too_few_faces_or_points():
    assert fit_shapes(shapes(9), np.ones((9, 9))) is None
    assert fit_shapes(shapes(20)[:, :2], np.ones((20, 2))) is None
    visibility = np.zeros((20, 9))
    visibility[:, :2] = 2
    assert fit_shapes(shapes(20), visibility) is None


def test_faces_with_two_points_are_left_out():
    visibility = VISIBLE.copy()
    visibility[3, 2:] = 0
    model = fit_shapes(shapes(60), visibility)
    assert model is not None and np.isnan(model.expected[3]).all()
    assert np.isnan(model.face_scores[3]) and np.isfinite(np.delete(model.face_scores, 3)).all()


def test_points_that_all_coincide():
    model = fit_shapes(np.ones((20, 5, 2)), np.ones((20, 5)))
    assert model is None or np.isfinite(model.deviations).all()


def test_moving_is_least_squares_without_outliers():
    target = (SHAPE @ [1, 1j])[None]
    points = 0.5j * target + 3
    moved, factor, offset = move_onto(points, target)
    np.testing.assert_allclose(moved, target, atol=1e-9)
    np.testing.assert_allclose(factor, -2j, atol=1e-9)
    np.testing.assert_allclose(offset, 6j, atol=1e-9)
    points[0, 0] += 100
    np.testing.assert_allclose(move_onto(points, target)[0][:, 1:], target[:, 1:], atol=0.5)


def test_row_median():
    values = np.array([[1, np.nan, 3], [np.nan] * 3])
    np.testing.assert_array_equal(row_median(values), [2, np.nan])
