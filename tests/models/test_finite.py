"""Weights that are not finite are found, and nothing saves them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models.finite import check_finite_state, first_not_finite
from keras_facealign.presets import save_to_preset
from tests.models.tiny import as_numpy, tiny_model


@pytest.fixture(scope="module")
def model():
    model = tiny_model()
    model.compile(keras.optimizers.Adam(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_element_is_found(dtype, value):
    broken = np.zeros((3, 4), np.float32)
    broken[2, 1] = value
    whole = keras.ops.ones((2,), dtype)
    tensors = [whole, keras.ops.cast(np.arange(3), "int32"), keras.ops.cast(broken, dtype)]
    assert first_not_finite(tensors) == 2
    assert first_not_finite(tensors[:2]) is None
    assert first_not_finite([]) is None


def of_weight(model):
    return next(v for v in model.weights if v.path.endswith("moving_variance"))


def of_optimizer(model):
    return next(v for v in model.optimizer.variables if "velocity" in v.path)


@pytest.mark.parametrize("choose", [of_weight, of_optimizer])
def test_state_is_checked_with_the_optimizers(model, choose):
    check_finite_state(model)
    variable = choose(model)
    before = as_numpy(variable).copy()
    broken = before.copy()
    broken.flat[-1] = np.inf
    variable.assign(broken)
    try:
        with pytest.raises(FaceAlignError, match=f"{variable.path} has values that are not finite"):
            check_finite_state(model)
    finally:
        variable.assign(before)


def test_nothing_saves_weights_that_are_not_finite(model, tmp_path):
    preset = save_to_preset(model, tmp_path / "preset")
    files = {path: path.read_bytes() for path in preset.iterdir()}
    variable = model.trainable_weights[-1]
    before = as_numpy(variable).copy()
    variable.assign(np.full(before.shape, np.nan, np.float32))
    try:
        for save, name in (
            (model.save_to_preset, "preset"),
            (model.save_to_preset, "other"),
            (model.save_weights, "all.weights.h5"),
            (model.save, "all.keras"),
        ):
            with pytest.raises(FaceAlignError, match="not finite"):
                save(str(tmp_path / name))
    finally:
        variable.assign(before)
    assert {path: path.read_bytes() for path in preset.iterdir()} == files
    assert [path.name for path in tmp_path.iterdir()] == ["preset"]
