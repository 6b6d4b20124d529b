"""Exchanged sides and points."""

from __future__ import annotations

import numpy as np

from keras_facealign.evaluation.inspection.shape_model import fit_shapes
from keras_facealign.evaluation.inspection.swaps import (
    exchanged_points,
    guess_permutation,
    swapped_faces,
)
from tests.evaluation.inspection.labeled import PARTNER, SHAPE, shapes


def test_swapped_faces_are_found_without_names():
    faces, visibility = shapes(50), np.full((50, 9), 2)
    faces[[4, 30]] = faces[[4, 30]][:, PARTNER]
    visibility[30, 8] = 0
    model = fit_shapes(faces, visibility)
    assert model is not None
    partner = guess_permutation(model, None)
    assert partner is not None and partner.tolist() == PARTNER
    assert swapped_faces(faces, visibility, model, partner).tolist() == [4, 30]


def test_no_side_no_swap():
    rng = np.random.default_rng(0)
    line = np.array([[0, y] for y in (0, 10, 25, 31, 50)]) + rng.normal(0, 0.1, (30, 5, 2))
    model = fit_shapes(line, np.ones((30, 5)))
    assert model is not None
    assert guess_permutation(model, None) is None


def test_exchanged_points():
    points = SHAPE.copy()
    points[[0, 6]] = points[[6, 0]]
    assert exchanged_points(points, SHAPE, np.array([0, 3, 6])) == [(0, 6)]
    assert exchanged_points(SHAPE + np.array([30, 0]), SHAPE, np.arange(9)) == []
