"""Drawings as SVG."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from keras_facealign.data.labels import FaceLabels
from keras_facealign.evaluation.inspection.drawn_faces import SIDE, draw_face, draw_shape


def face(*points, visibility=None):
    landmarks = np.array(points, np.float32)
    flags = np.full(len(points), 2, np.int32) if visibility is None else np.array(visibility)
    return FaceLabels(Path("a"), "a", landmarks, flags, np.zeros(4, np.float32), "points", "here")


IMAGE = np.zeros((100, 100, 3), np.uint8)


def dots(html, kind):
    path = re.search(f'<path class="{kind}" d="([^"]*)"', html)
    assert path
    return [tuple(map(float, pair)) for pair in re.findall(r"M([\d.-]+) ([\d.-]+)", path[1])]


def test_points_are_where_they_belong():
    html = draw_face(
        IMAGE, face([10, 10], [50, 10], [30, 50], [0, 0], visibility=[2, 1, 2, 0]), "x"
    )
    # The box of 40 pixels, times 1.4, fills the drawing; its middle (30, 30) is the middle.
    scale = SIDE / (1.4 * 40)
    middle = SIDE / 2
    expected = [
        (middle + scale * dx, middle + scale * dy) for dx, dy in ((-20, -20), (20, -20), (0, 20))
    ]
    np.testing.assert_allclose(dots(html, "p"), expected, atol=0.06)


def test_a_single_point_and_marks():
    html = draw_face(IMAGE, face([10, 10]), "x", marked=[0], expected=np.array([[20.0, 10]]))
    np.testing.assert_allclose(dots(html, "p"), [(SIDE / 2, SIDE / 2)], atol=0.06)
    assert 'class="o"' in html and 'class="x"' in html
    # Ten pixels to the right, of the 2 * 1.4 * 5 that the drawing spans.
    np.testing.assert_allclose(dots(html, "q"), [(SIDE / 2 + 10 * SIDE / 14, SIDE / 2)], atol=0.06)


def test_the_shape_leaves_out_unknown_points():
    shape = np.array([[0, 0], [1, 0], [np.nan, np.nan], [0, 2]])
    svg = draw_shape(shape, np.ones(4), [(0, 1), (1, 2)])
    assert svg.count('class="m"') == 3 and svg.count("L") == 1 and "nan" not in svg
