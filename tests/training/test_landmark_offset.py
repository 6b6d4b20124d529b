"""An offset of labels that mirrored training cannot learn: measured, kept, and added everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.data.examples import FaceExample
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import get_scheme
from keras_facealign.models import FaceAlignModel
from keras_facealign.prediction.flip_test import average_flipped
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.training import measure_landmark_offset
from tests.models.tiny import SIZE, fix_weights, tiny_model

pytestmark = pytest.mark.backend_neutral

OFFSET = (0.5, -0.25)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def test_predictions_have_it_and_nothing_else_changes(images):
    model = fix_weights(tiny_model())
    plain = model.predict_outputs(images)
    heatmaps = np.asarray(model.predict(images.astype(np.float32), verbose=0)[0])
    model.landmark_offset = OFFSET
    moved = model.predict_outputs(images)
    np.testing.assert_allclose(moved["landmarks"], plain["landmarks"] + OFFSET, atol=1e-4)
    np.testing.assert_array_equal(moved["confidence"], plain["confidence"])
    np.testing.assert_array_equal(
        np.asarray(model.predict(images.astype(np.float32), verbose=0)[0]), heatmaps
    )
    model.landmark_offset = (0, 0)
    np.testing.assert_array_equal(model.predict_landmarks(images)[0], plain["landmarks"])


def test_the_mean_with_the_mirror_image_keeps_it(images):
    model = fix_weights(tiny_model())
    plain, _ = model.predict_landmarks(images, flip_test=True)
    model.landmark_offset = OFFSET
    moved, _ = model.predict_landmarks(images, flip_test=True)
    np.testing.assert_allclose(moved, plain + OFFSET, atol=1e-4)
    # In closed form: a network that sees the mirror images of the same places.
    places = np.float32([[[3.0, 2.0]] * 5, [[SIZE - 1 - 3.0, 2.0]] * 5])
    found = {"landmarks": places + np.float32([1.5, 0.0])}
    mean = average_flipped(found, get_scheme("five").flip_permutation, SIZE, (1.5, 0.0))
    np.testing.assert_allclose(mean["landmarks"], np.full((1, 5, 2), [4.5, 2.0]))


def test_it_is_saved_with_the_model_and_with_the_preset(tmp_path, images):
    model = fix_weights(tiny_model())
    assert "landmark_offset" not in model.get_config()
    model.landmark_offset = OFFSET
    folder = save_to_preset(model, tmp_path / "preset")
    assert json.loads((folder / "config.json").read_text())["config"]["landmark_offset"] == [
        0.5,
        -0.25,
    ]
    wanted, _ = model.predict_landmarks(images)
    for loaded in (from_preset(folder), FaceAlignModel.from_config(model.get_config())):
        assert loaded.landmark_offset == OFFSET
    assert from_preset(folder, load_weights=False).landmark_offset == (0.0, 0.0)
    np.testing.assert_allclose(from_preset(folder).predict_landmarks(images)[0], wanted, atol=1e-3)


@pytest.mark.parametrize("value", [(1.0,), (1.0, np.nan), (SIZE, 0.0), "ab", 3, None])
def test_what_is_no_offset_is_refused(value):
    model = tiny_model()
    with pytest.raises(FaceAlignError, match=r"landmark_offset=.* must be two numbers"):
        model.landmark_offset = value
    assert model.landmark_offset == (0.0, 0.0)


def _face(image, landmarks):
    """A face whose crop is the picture itself."""
    middle, half = (SIZE - 1) / 2, SIZE / geometry.CROP_SCALE / 2
    box = np.float32([middle - half, middle - half, middle + half, middle + half])
    visibility = np.full(len(landmarks), 2, np.int32)
    visibility[0], landmarks[0] = 0, 0  # no position, which must not count
    return FaceExample(image, landmarks.astype(np.float32), visibility, box, "a.jpg", "")


def test_labels_that_lie_to_the_right_are_measured(images):
    model = fix_weights(tiny_model())
    found, _ = model.predict_landmarks(images)
    found = found + np.float32([0.75, 2.0])
    faces = [_face(*pair) for pair in zip(images, found, strict=True)]
    model.landmark_offset = (2.0, 1.0)  # what it has does not count
    (dx, dy), count = measure_landmark_offset(model, faces)
    assert count == 3 and dy == 0.0
    assert dx == pytest.approx(0.75, abs=0.02)
    with pytest.raises(FaceAlignError, match="no labeled face"):
        measure_landmark_offset(model, [])
