"""Faces cut out of large photos give the crops of the whole photo."""

from __future__ import annotations

import numpy as np

from keras_facealign.data.batches import crop_with_border
from keras_facealign.data.compact import compact
from keras_facealign.data.examples import make_example


def photo(height, width):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 60 + y / 90), np.cos(x / 75), np.sin(y / 50)]
    return (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def example(height, width, low, high):
    points = np.array([low, high, [(low[0] + high[0]) / 2, low[1] + 9], [0, 0]])
    return make_example(
        photo(height, width), points, np.array([2, 1, 2, 0]), file_name="a.png", subset="",
        label_name="a",
    )  # fmt: skip


def test_crops_are_the_same():
    whole = example(1400, 2000, (700, 500), (1250, 1100))
    small = compact(whole)
    assert small.image.shape[0] == small.image.shape[1] < 600
    assert small.visibility.tolist() == [2, 1, 2, 0] and small.landmarks[3].tolist() == [0, 0]
    crops = [crop_with_border(face.image, face.landmarks, face.box) for face in (whole, small)]
    assert np.abs(crops[0][1][:3] - crops[1][1][:3]).max() < 0.01
    difference = np.abs(crops[0][0].astype(float) - crops[1][0])
    assert difference.mean() < 1


def test_crops_at_the_border_stay_black_outside():
    whole = example(1400, 2000, (0, 300), (500, 900))
    small = compact(whole)
    first, second = (
        crop_with_border(face.image, face.landmarks, face.box)[0].astype(float)
        for face in (whole, small)
    )
    assert (first == 0).all(axis=-1).any()
    assert np.abs(first - second).mean() < 1.5


def test_small_pictures_stay_as_they_are():
    whole = example(300, 400, (100, 80), (250, 240))
    assert compact(whole) is whole
