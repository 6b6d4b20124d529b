"""Transfer: heads alone first, then everything; resumable."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.data import FaceBatches
from keras_facealign.landmarks import scheme_from_dict
from keras_facealign.models.transfer import head_layers, with_landmarks
from keras_facealign.presets import from_preset
from keras_facealign.training import TrainingConfig
from keras_facealign.training.transfer import HEADS, fit_transfer, only_heads
from tests.models.tiny import CROP, SIZE, faces, fix_weights, tiny_model

pytestmark = pytest.mark.usefixtures("module_without_graphs")

OWN = scheme_from_dict({"name": "three", "num_landmarks": 3, "flip_pairs": [[0, 1]]})
POINTS = [36, 45, 8]


def batches(count=4, seed=0):
    made = faces(count, seed)
    examples = [
        {
            "image": made["image"][i],
            "landmarks": made["landmarks"][i][POINTS],
            "visibility": np.full(3, 2),
            "box": np.array([8, 8, CROP - 8, CROP - 8]),
            "file_name": f"{i}.png",
        }
        for i in range(count)
    ]
    return FaceBatches(examples, 2, SIZE, shuffle=True)


def config(**fields):
    compiled = {"run_eagerly": True, "jit_compile": False}
    return TrainingConfig(epochs=2, batch_size=2, compile=compiled, **fields)


def start(**fields):
    return with_landmarks(fix_weights(tiny_model(**fields)), OWN, mapping={0: 36, 1: 45})


def values(model):
    return {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in model.weights}


@pytest.mark.parametrize("fields", [{}, {"deformable": "heads"}])
def test_only_heads_change_at_first(fields):
    model = start(**fields)
    before = values(model)
    heads = {v.path for layer in head_layers(model) for v in layer.weights}
    heads = {path for path in heads if "/offset/" not in path}
    with only_heads(model):
        assert {v.path for v in model.trainable_variables} == heads
        model.compile("adam", run_eagerly=True)
        model.fit(batches(), epochs=1, verbose=0)
    after = values(model)
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    # Statistics of batch normalization stay as well.
    assert changed == heads
    assert len(model.trainable_variables) == len(start(**fields).trainable_variables)


@pytest.mark.slow
def test_run_ends_in_a_preset_and_is_not_repeated(tmp_path):
    model = start()
    result = fit_transfer(
        model, batches(), batches(2, 9), tmp_path, config(patience=2), head_epochs=1, verbose=0
    )
    assert np.isfinite(result["val_nme"])
    assert (tmp_path / HEADS / "preset" / "config.json").is_file()
    preset = from_preset(tmp_path / "preset")
    assert preset.scheme == OWN
    for path, value in values(preset).items():
        assert value == pytest.approx(values(model)[path], abs=1e-6), path
    again = start()
    result = fit_transfer(
        again, batches(), batches(2, 9), tmp_path, config(patience=2), head_epochs=1, verbose=0
    )
    assert result["already_finished"]
    assert np.array_equal(again.get_weights()[0], from_preset(tmp_path / "preset").get_weights()[0])


@pytest.mark.slow
def test_preset_is_no_worse_than_the_start(tmp_path):
    model = start()
    before = values(model)
    ruinous = config(patience=2, learning_rate=1e3, weight_decay=0.0)
    held_out = batches(2, 9)
    model.compile(run_eagerly=True)
    first = model.evaluate(held_out, verbose=0, return_dict=True)["nme"]
    result = fit_transfer(model, batches(), held_out, tmp_path, ruinous, head_epochs=0, verbose=0)
    assert result["val_nme"] == pytest.approx(first, rel=1e-5)
    for path, value in values(from_preset(tmp_path / "preset")).items():
        assert value == pytest.approx(before[path], abs=1e-6), path
