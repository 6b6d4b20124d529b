"""Observing a network that errs by rule: crops, mirrors, registration and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.data.examples import FaceExample
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.collect_predictions import collect_predictions
from keras_facealign.landmarks import IBUG68
from tests.models.tiny import MAP, SIZE, fix_weights, tiny_model
from tfds_builders.ibug_300w.make_dummy_data import template


def face(seed=0, visibility=None, shift=0.0):
    """A picture whose pixels tell their place: red is x and green is y."""
    rng = np.random.default_rng(seed)
    side = 200
    grid = np.arange(side)
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0], image[..., 1] = grid[None, :], grid[:, None]
    points = (template() * 45 + 100 + rng.uniform(-5, 5, 2)).astype(np.float32) + shift
    marks = np.full(68, 2, np.int32) if visibility is None else visibility
    points[marks == 0] = 0.0
    box = geometry.landmarks_box(points, marks)
    return FaceExample(image, points, marks, box, f"face{seed}.png", "drawn")


class TellsPlaces:
    """A network for `face` that reads places from colors, and errs by `error` crop pixels."""

    scheme, input_size, decode_method, landmark_offset = IBUG68, 64, "taylor", (0.0, 0.0)

    def __init__(self, error, truth):
        self.error, self.truth = error, truth

    def predict_heatmaps(self, images, batch_size):
        images = np.asarray(images, np.float64)
        center, right = images[:, 30, 30, :2], images[:, 30, 34, :2]
        per_pixel = (right - center)[:, :1] / 4.0
        # In a mirrored crop x rises to the left.
        mirrored = self.truth[IBUG68.flip_permutation]
        chosen = np.where((per_pixel < 0)[:, :, None], mirrored, self.truth)
        step = np.concatenate([per_pixel, np.abs(per_pixel)], axis=-1)
        points = (chosen - center[:, None]) / step[:, None] + 30.0 + self.error
        grid = np.arange(64.0)[:, None]
        x, y = (np.exp(-((grid - points[:, None, :, axis]) ** 2) / 4.5) for axis in (0, 1))
        p = np.clip(0.9 * y[:, :, None] * x[:, None], 1e-6, None)
        return {"heatmaps": np.log(p / (1 - p)).astype(np.float32)}


@pytest.fixture
def example():
    return face()


def test_errors_are_those_of_the_network_in_crop_pixels(example):
    error = np.zeros((68, 2))
    error[36] = [3.0, -4.0]
    model = TellsPlaces(error, example.landmarks)
    # Places are read from rounded pixels, so up to a per cent of the face off.
    plain = collect_predictions(model, [example], views=6, register=False)
    assert plain.errors.shape == (6, 68)
    others = np.delete(np.arange(68), 36)
    np.testing.assert_allclose(plain.errors[:, 36], 5.0, atol=2.5)
    assert np.median(plain.errors[:, others]) < 1.5
    moved = collect_predictions(model, [example], views=6)
    assert np.median(moved.errors[:, others]) < np.median(plain.errors[:, others])
    np.testing.assert_allclose(moved.errors[:, 36], 5.0, atol=0.8)
    np.testing.assert_array_equal(moved.unregistered, plain.errors)


def test_landmarks_that_mean_another_place_give_no_errors(example):
    error = np.zeros((68, 2))
    error[:17] = [9.0, 9.0]
    model = TellsPlaces(error, example.landmarks)
    seen = collect_predictions(model, [example], views=4, without=IBUG68.regions["jaw"])
    assert np.isnan(seen.errors[:, :17]).all()
    assert np.isnan(seen.unregistered[:, :17]).all()
    # Neither do they draw the others along when labels are moved onto the prediction.
    assert np.median(seen.errors[:, 17:]) < 0.5
    np.testing.assert_array_equal(seen.visibility, np.full((4, 68), 2))


def test_labels_elsewhere_are_left_out_and_hidden_ones_have_no_error(example):
    marks = np.full(68, 2, np.int32)
    marks[:5], marks[40:44] = 0, 1
    model = TellsPlaces(np.zeros((68, 2)), example.landmarks)
    hidden = face(visibility=marks)
    wrong = face()
    wrong.landmarks[:] = np.random.default_rng(0).permutation(wrong.landmarks)
    seen = collect_predictions(model, [hidden, wrong], views=2)
    assert seen.left_out == 2
    assert seen.faces == 2
    assert np.isnan(seen.errors[2:]).all()
    np.testing.assert_array_equal(np.isnan(seen.errors[0]), marks == 0)
    # The second view is mirrored, and its labels change places.
    np.testing.assert_array_equal(seen.visibility[0], marks)
    np.testing.assert_array_equal(seen.visibility[1], marks[IBUG68.flip_permutation])
    np.testing.assert_array_equal(seen.face, [0, 0, 1, 1])


def test_a_real_network_and_the_same_seed(example):
    model = fix_weights(tiny_model())
    ticks = []
    first = collect_predictions(
        model, [example] * 3, views=2, seed=4, on_face=lambda: ticks.append(1)
    )
    second = collect_predictions(model, [example] * 3, views=2, seed=4)
    assert len(ticks) == 3
    for name in ("spread", "confidence", "yaw_asymmetry", "errors"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.spread.shape == (6, 68)
    full = SIZE / np.sqrt(4 * np.pi) * (1 + 1e-5)
    assert ((first.spread > SIZE / MAP / 4) & (first.spread <= full)).all()
    assert (
        collect_predictions(model, [example], views=2, seed=5).yaw_asymmetry[0]
        != first.yaw_asymmetry[0]
    )


def test_no_face_and_another_scheme(example):
    model = fix_weights(tiny_model())
    with pytest.raises(FaceAlignError, match="no face to predict"):
        collect_predictions(model, [])
    five = FaceExample(
        example.image, example.landmarks[:5], example.visibility[:5], example.box, "a", ""
    )
    with pytest.raises(FaceAlignError, match="a has 5 landmarks"):
        collect_predictions(model, [five])
    with pytest.raises(FaceAlignError, match="views is 0"):
        collect_predictions(model, [example], views=0)
