"""Crops show the right part of the picture, at any scale, without false patterns."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.geometry import crop_face

SIZE = 32


def smooth(x, y):
    """A picture as a formula, without detail that a crop of it could lose."""
    return 127 + 60 * np.sin(x) + 50 * np.cos(0.7 * y)


@pytest.mark.parametrize("scale", [3.0, 1.0, 0.6, 0.49, 0.2, 0.043])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.61)])
def test_crop_pixels_equal_the_formula_at_the_place_they_show(scale, shift):
    # A period of 42 pixels of the crop, or of the picture where that is magnified.
    frequency = 0.15 * min(scale, 1.0)
    side = int(60 / scale)
    grid_x, grid_y = np.meshgrid(np.arange(side), np.arange(side))
    image = smooth(frequency * grid_x, frequency * grid_y)
    image = np.repeat(np.rint(image).astype(np.uint8)[:, :, None], 3, axis=2)
    matrix = np.array([[scale, 0, -12 + shift[0]], [0, scale, -9 + shift[1]]])
    crop = crop_face(image, matrix, SIZE)

    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    places = geometry.transform_points(
        geometry.invert(matrix), np.stack([columns, rows], axis=-1).reshape(-1, 2)
    )
    x, y = frequency * places.T
    difference = crop[:, :, 0].reshape(-1) - smooth(x, y)
    # Halving rounds up, four times at the smallest scale.
    assert np.abs(difference).max() < 2.5
    assert crop.dtype == np.uint8
    # The difference that a small shift of the crop makes is the shift times the slopes.
    slopes = frequency / scale * np.stack([60 * np.cos(x), -35 * np.sin(0.7 * y)], axis=1)
    shift_found = np.linalg.lstsq(slopes, difference, rcond=None)[0]
    np.testing.assert_allclose(shift_found, 0, atol=0.07 * max(scale, 1.0))


@pytest.mark.parametrize("scale", [2.0, 0.8, 0.3, 0.1])
def test_turned_crops_show_the_picture_turned(scale):
    side = int(90 / scale)
    y, x = np.mgrid[0:side, 0:side]
    image = np.stack([x, y, x + y], axis=-1) * scale
    image = np.rint(image).astype(np.uint8)
    turn = geometry.turn_matrix(33, (SIZE / 2, SIZE / 2))
    shrink = np.array([[scale, 0, -25.0], [0, scale, -30.0]])
    matrix = geometry.compose(turn, shrink)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    places = geometry.transform_points(
        geometry.invert(matrix), np.stack([columns, rows], axis=-1).reshape(-1, 2)
    )
    crop = crop_face(image, matrix, SIZE).reshape(-1, 3)
    expected = np.c_[places, places.sum(axis=1)] * scale
    np.testing.assert_allclose(crop, expected, atol=1.5)


@pytest.mark.parametrize("scale", [0.42, 0.35, 0.22, 0.11, 0.03])
def test_stripes_finer_than_a_crop_pixel_become_even_gray(scale):
    side = int(SIZE / scale) + 40
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = np.array([[scale, 0, -scale * 20], [0, scale, -scale * 20]])
    crop = crop_face(stripes, matrix, SIZE).astype(float)
    plain = cv2.warpAffine(stripes, matrix, (SIZE, SIZE)).astype(float)
    unevenness, without_averaging = (
        np.sqrt(np.mean((picture - 127.5) ** 2)) for picture in (crop, plain)
    )
    assert without_averaging > 60
    assert unevenness < 1


def test_outside_of_the_picture_is_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    for scale in (1.0, 0.1):
        # The picture fills the crop from the middle on.
        matrix = np.array([[scale, 0, SIZE / 2], [0, scale, 0]])
        crop = crop_face(image, matrix, SIZE)
        assert (crop[:, : SIZE // 2 - 1] == 0).all()
        assert (crop[1:9, SIZE // 2 + 1 : SIZE // 2 + 9] == 200).all()


def test_a_box_that_barely_touches_the_picture_still_gives_a_crop():
    image = np.full((50, 400, 3), 9, np.uint8)
    matrix = geometry.crop_matrix(np.array([399.4, -5000, 9000, 49]), size=SIZE)
    assert crop_face(image, matrix, SIZE).shape == (SIZE, SIZE, 3)
    matrix = geometry.crop_matrix(np.array([-1e6, -1e6, 1e6, 1e6]), size=SIZE)
    assert crop_face(image, matrix, SIZE).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("away", [(-900.0, 0.0), (900.0, 0.0), (0.0, 900.0), (500.0, -500.0)])
@pytest.mark.parametrize("scale", [1.0, 0.2, 0.07])
def test_a_crop_beside_the_picture_is_black(scale, away):
    image = np.full((90, 110, 3), 200, np.uint8)
    matrix = np.array([[scale, 0, -scale * away[0]], [0, scale, -scale * away[1]]])
    assert not crop_face(image, matrix, SIZE).any()


@pytest.mark.parametrize("scale", [0.45, 0.2, 0.11])
@pytest.mark.parametrize("sides", [(297, 403), (411, 318)])
def test_what_is_near_the_borders_comes_out_at_its_place_whatever_the_size(scale, sides):
    """The picture ends before the crop does, and not with a whole pixel of the crop."""
    height, width = sides
    around, half = round(14 / scale), round(4 / scale)
    image = np.zeros((height, width, 3), np.uint8)
    y, x = height - around, width - around
    image[y - half : y + half, x - half : x + half] = 255
    matrix = np.array([[scale, 0, 28 - scale * width], [0, scale, 28 - scale * height]])
    found = crop_face(image, matrix, SIZE)[:, :, 0].astype(float)
    expected = geometry.transform_points(matrix, np.array([x, y]) - 0.5).reshape(2)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    place = [(grid * found).sum() / found.sum() for grid in (columns, rows)]
    np.testing.assert_allclose(place, expected, atol=0.05)
    assert found.sum() / 255 == pytest.approx((2 * half * scale) ** 2, rel=0.05)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [0.45, 0.3, 0.11, 0.04])
def test_detail_that_the_crop_can_show_is_kept(scale, axis):
    """Waves of four pixels of the crop; averaging to the crop's own pixels would cost a third."""
    waves = 127.5 + 100 * np.sin(2 * np.pi * np.arange(int(60 / scale)) * scale / 4)
    image = np.broadcast_to(
        np.rint(waves).astype(np.uint8)[:, None, None], (len(waves),) * 2 + (3,)
    )
    image = np.ascontiguousarray(image.swapaxes(0, axis))
    matrix = np.array([[scale, 0, -6.0], [0, scale, -6.0]])
    line = crop_face(image, matrix, SIZE).swapaxes(0, axis)[4:28, 16, 0].astype(float)
    contrast = abs(np.mean((line - line.mean()) * 1j ** np.arange(24))) * 2 / 100
    assert 0.77 < contrast < 0.98
