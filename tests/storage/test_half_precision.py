"""Presets with 16-bit weights: half the size, the same network."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.storage.half_precision import store_half_precision
from tests.models.tiny import SIZE, as_numpy, fix_weights, tiny_model


def datasets(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
    return found


def test_kernels_are_halved_and_come_back(tmp_path):
    model = fix_weights(tiny_model())
    folder = save_to_preset(model, tmp_path / "preset")
    before = datasets(folder / "model.weights.h5")
    path = store_half_precision(folder)
    after = datasets(path)
    assert set(after) == set(before) and [p.name for p in folder.glob("*.h5")] == [path.name]
    for name, values in before.items():
        kernel = values.ndim >= 2
        assert after[name].dtype == (np.float16 if kernel else values.dtype), name
        np.testing.assert_array_equal(after[name], values.astype(after[name].dtype))
    loaded = from_preset(folder)
    for a, b in zip(loaded.weights, model.weights, strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-3, atol=1e-6, err_msg=a.path)
    images = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
    wanted, found = (as_numpy(m(images, training=False)[0]) for m in (model, loaded))
    assert np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()
    again = datasets(store_half_precision(folder))
    for name, values in after.items():
        np.testing.assert_array_equal(again[name], values)


def test_bfloat16_keeps_what_bfloat16_knows_and_takes_less_space(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    model = fix_weights(tiny_model())
    folder = save_to_preset(model, tmp_path / "preset")
    path = store_half_precision(folder)
    before, size = datasets(path), path.stat().st_size
    after = datasets(store_half_precision(folder, "bfloat16"))
    assert path.stat().st_size < size  # hardly, for so few weights
    for name, values in before.items():
        wanted = values.astype(np.float32)
        if values.ndim >= 2:
            normal = np.abs(wanted) >= np.finfo(np.float16).smallest_normal
            assert normal.mean() > 0.5, name
            wanted = wanted.astype(ml_dtypes.bfloat16).astype(np.float32)[normal]
            values, found = values[normal], after[name][normal].astype(np.float32)
            assert np.abs(found - values).max() > 0, name
        else:
            found = after[name]
        np.testing.assert_array_equal(found, wanted, err_msg=name)
    images = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
    wanted, found = (as_numpy(m(images, training=False)[0]) for m in (model, from_preset(folder)))
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_int8_rounds_each_channel_to_a_grid_of_its_own(tmp_path):
    model = fix_weights(tiny_model())
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if len(variable.shape) == 4:  # channels of very different sizes, and one of zeros
            scale = 2.0 ** rng.uniform(-12, 3, variable.shape[-1])
            scale[0] = 0
            variable.assign(as_numpy(variable) * scale)
    folder = save_to_preset(model, tmp_path / "preset")
    before = datasets(folder / "model.weights.h5")
    path = store_half_precision(folder, "int8")
    size = path.stat().st_size
    for name, found in datasets(path).items():
        wanted = before[name]
        if wanted.ndim < 2:
            np.testing.assert_array_equal(found, wanted, err_msg=name)
            continue
        assert found.dtype == np.float16
        for channel in range(wanted.shape[-1]):
            values, exact = found[..., channel].astype(np.float64), wanted[..., channel]
            largest = np.abs(exact).max()
            step = next(2.0**e for e in range(-24, 16) if 127 * 2.0**e >= largest)
            multiples = values / step
            np.testing.assert_array_equal(multiples, np.round(multiples))
            assert np.abs(multiples).max() <= 127
            assert np.abs(values - exact).max() <= step / 2
    again = store_half_precision(folder, "int8")
    assert again.stat().st_size == size
    store_half_precision(save_to_preset(model, tmp_path / "other"), "bfloat16")
    assert size < (tmp_path / "other" / path.name).stat().st_size


def test_the_precision_is_one_of_three(tmp_path):
    with pytest.raises(ValueError, match="'int4'.* bfloat16, int8"):
        store_half_precision(tmp_path, "int4")


def test_what_16_bits_cannot_say_is_named(tmp_path):
    model = fix_weights(tiny_model())
    kernel = next(v for v in model.weights if len(v.shape) == 4)
    kernel.assign(np.full(kernel.shape, 1e6, np.float32))
    folder = save_to_preset(model, tmp_path / "preset")
    with pytest.raises(FaceAlignError, match="model.weights.h5: .* beyond 16-bit"):
        store_half_precision(folder)
    assert datasets(folder / "model.weights.h5")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    with pytest.raises(FaceAlignError, match="there is no such file"):
        store_half_precision(tmp_path)
