"""An offset of labels that mirrored training cannot learn: measured, kept, and added everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.data.epochs import EpochBatches
from keras_facealign.data.examples import FaceExample
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import get_scheme
from keras_facealign.models import FaceAlignModel
from keras_facealign.prediction.flip_test import average_flipped
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.training import TrainingConfig, fit, measure_landmark_offset
from keras_facealign.training.landmark_offset import measure_offset_of_batches
from tests.models.tiny import CROP, JIT, SIZE, faces, fix_weights, tiny_model

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


class Batches(EpochBatches):
    """Crops with a border whose labels lie beside what the model finds."""

    def __init__(self, model, shift, count=5):
        super().__init__(batch_size=2)
        border = (CROP - SIZE) // 2
        self.faces = faces(count)
        inner = self.faces["image"][:, border:-border, border:-border]
        labels = model.predict_landmarks(inner)[0] + border + np.float32(shift)
        labels[:, 0] = np.nan  # no position, which must not count
        self.faces["visibility"][:, 0] = 0
        self.faces["visibility"][1] = 0
        self.faces["landmarks"] = labels
        self.read = []
        self._set_count(count)

    def __getitem__(self, index):
        self.read.append(index)
        chosen = self._chosen(index)
        return self._marked(index, {name: v[chosen] for name, v in self.faces.items()})


def test_the_offset_of_batches_is_that_of_their_labels():
    model = fix_weights(tiny_model())
    batches = Batches(model, (-0.75, 2.0))
    model.landmark_offset = (1.0, 1.0)  # what it has does not count
    assert measure_offset_of_batches(model, batches) == (pytest.approx(-0.75, abs=1e-3), 0.0)
    assert batches.read == [0, 1, 2]
    batches.read.clear()
    measure_offset_of_batches(model, batches, most=2)
    assert batches.read == [0, 1]  # the first has one face with labels
    assert measure_offset_of_batches(model, Batches(model, (SIZE, 0.0))) == (0.0, 0.0)
    batches.faces["visibility"][:] = 0
    assert measure_offset_of_batches(model, batches) == (0.0, 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("without_graphs")
def test_a_run_measures_it_at_its_end_if_asked(tmp_path):
    model = fix_weights(tiny_model())
    batches = Batches(model, (0.5, 0.0), count=4)
    settings = {"augmentation": {"color": 0.1}, "jit_compile": JIT}
    config = TrainingConfig(1, 2, learning_rate=1e-6, compile=settings, landmark_offset=True)
    fit(model, batches, None, tmp_path, config, verbose=0)
    offset = from_preset(tmp_path / "preset").landmark_offset
    assert offset == model.landmark_offset and offset[1] == 0
    model.landmark_offset = (0.0, 0.0)
    border = (CROP - SIZE) // 2
    found, _ = model.predict_landmarks(batches.faces["image"][:, border:-border, border:-border])
    away = (batches.faces["landmarks"] - border - found)[[0, 2, 3], 1:, 0]
    assert offset[0] == pytest.approx(away.mean(), abs=1e-3) and abs(offset[0]) > 0.01
    again = fix_weights(tiny_model())
    assert "already_finished" in fit(again, batches, None, tmp_path, config, verbose=0)
    assert again.landmark_offset == offset
    plain = TrainingConfig(1, 2, learning_rate=1e-6, compile=settings)
    fit(again, batches, None, tmp_path, plain, verbose=0, restart=True)
    assert from_preset(tmp_path / "preset").landmark_offset == (0.0, 0.0)
