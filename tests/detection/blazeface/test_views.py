"""Views sample an image as a slow average does; tiles cover it."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.detection.blazeface.views import Pyramid, tiles


@pytest.mark.parametrize("scale", [2.0, 1.0, 0.7, 0.5, 0.3, 0.25, 0.11])
def test_a_ramp_keeps_its_place_at_any_scale(scale):
    y, x = np.mgrid[0:301, 0:401]
    image = np.stack([x * 0.6, y * 0.8, 0 * x + 7], axis=-1).astype(np.uint8)
    matrix = geometry.turn_matrix(20, (40, 40))
    matrix = geometry.compose(
        matrix, np.array([[scale, 0, 40 - 200 * scale], [0, scale, 40 - 150 * scale]])
    )
    view = Pyramid(image).view(matrix, 81).astype(float)
    at = np.stack(np.meshgrid(np.arange(81.0), np.arange(81.0)), axis=-1).reshape(-1, 2)
    places = geometry.transform_points(geometry.invert(matrix), at)
    inside = ((places > 8) & (places < (392, 292))).all(axis=1)
    expected = np.c_[places * (0.6, 0.8), np.full(len(at), 7)]
    assert inside.sum() > 500
    np.testing.assert_allclose(view.reshape(-1, 3)[inside], expected[inside], atol=1.6)


def test_a_pattern_finer_than_the_view_becomes_gray():
    image = np.zeros((512, 512, 3), np.uint8)
    image[::2] = 200
    view = Pyramid(image).view(np.array([[0.13, 0, 0], [0, 0.13, 0]]), 64)
    np.testing.assert_allclose(view[2:-2, 2:-2].astype(float), 100, atol=3)


def test_views_of_tiny_images():
    for shape in ((1, 1, 3), (1, 700, 3), (3, 2, 3)):
        view = Pyramid(np.full(shape, 9, np.uint8)).view(np.eye(3)[:2] * 0.1, 16)
        assert view.shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(1000, 300, 1.0), (640, 480, 0.4), (50, 40, 2.0), (3000, 90, 0.8)],
)
def test_every_small_box_is_whole_in_a_tile(width, height, scale):
    size, overlap = 192, 44
    squares = list(tiles(width, height, scale, size, overlap))
    rng = np.random.default_rng(1)
    for _ in range(300):
        side = rng.uniform(4, overlap - 1) / scale
        low = rng.uniform(0, np.maximum([width - side, height - side], 0.1))
        corners = np.array([low, low + side])
        views = [(geometry.transform_points(matrix, corners), limits) for matrix, limits in squares]
        whole = [
            (view[0] >= limits[:2]).all() and (view[1] <= limits[2:]).all()
            for view, limits in views
        ]
        assert any(whole)
    # And no more of them than their overlap asks for.
    count = [
        int(np.ceil(max(1, (side * scale - overlap) / (size - overlap))))
        for side in (width, height)
    ]
    assert len(squares) == count[0] * count[1]


def test_a_small_image_is_in_the_middle_of_one_tile():
    ((matrix, limits),) = tiles(100, 60, 1.0, 192, 44)
    center = geometry.transform_points(matrix, np.array([[49.5, 29.5]]))
    np.testing.assert_allclose(center, [[95.5, 95.5]])
    assert np.isinf(limits).all()
