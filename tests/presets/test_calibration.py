"""A preset's calibration: kept with its weights, and with no others."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from keras_facealign.calibration import weights_fingerprint
from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.storage.half_precision import store_half_precision
from keras_facealign.storage.preset_folders import CALIBRATION
from tests.calibration.synthetic import some_calibration
from tests.models.tiny import SIZE, fix_weights, tiny_model


@pytest.fixture(scope="module")
def model():
    model = fix_weights(tiny_model())
    assert model.input_size == SIZE
    return model


@pytest.fixture
def preset(model, tmp_path):
    model.calibration = some_calibration(fingerprint=weights_fingerprint(model), input_size=SIZE)
    yield save_to_preset(model, tmp_path / "tiny")
    model.calibration = None


def test_comes_back_also_in_half_precision(model, preset):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        whole = from_preset(preset)
        store_half_precision(preset)
        half = from_preset(preset)
    for loaded in (whole, half):
        np.testing.assert_array_equal(loaded.calibration.sigmas, model.calibration.sigmas)
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("uint8")
    expected, found = model.predict_outputs(images), whole.predict_outputs(images)
    for name in ("sigma", "visibility"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3)
    assert from_preset(preset, load_weights=False).calibration is None


def test_other_weights_have_none(preset):
    changed = fix_weights(tiny_model(), seed=1)
    changed.save_weights(str(preset / "model.weights.h5"))
    with pytest.warns(UserWarning, match="other weights and is not used"):
        assert from_preset(preset).calibration is None


def test_saving_changed_weights_leaves_no_calibration_behind(preset):
    loaded = from_preset(preset)
    fix_weights(loaded, seed=2)
    with pytest.warns(UserWarning, match="is not saved"):
        save_to_preset(loaded, preset)
    assert not (preset / CALIBRATION).exists()


def test_a_model_without_one_removes_what_lies_there(preset):
    loaded = from_preset(preset)
    loaded.calibration = None
    save_to_preset(loaded, preset)
    assert not (preset / CALIBRATION).exists()
    assert from_preset(preset).calibration is None


def test_damage_and_another_size_are_named(preset):
    path = preset / CALIBRATION
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "input_size": 2 * SIZE}))
    with pytest.raises(FaceAlignError, match="is for ibug68 and 64 pixels, but the network"):
        from_preset(preset)
    path.write_text("{")
    with pytest.raises(FaceAlignError, match="calibration.json: cannot be read"):
        from_preset(preset)
