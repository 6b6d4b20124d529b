"""Weights of another architecture never load in silence."""

from __future__ import annotations

import os

import h5py
import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.presets import from_preset
from keras_facealign.storage.presets import find_preset
from tests.models.tiny import fix_weights, tiny_model


def without_note(path):
    """The same file as a program of before would have written it."""
    with h5py.File(path, "r+") as file:
        file.attrs.clear()
    return path


def saved(model, path, noted=True):
    model.save_weights(str(path))
    return path if noted else without_note(path)


def values(model):
    return [keras.ops.convert_to_numpy(variable).copy() for variable in model.weights]


def network(**fields):
    return FaceAlignModel({**tiny_model().architecture.to_dict(), **fields})


@pytest.mark.parametrize("noted", [True, False])
def test_weights_of_the_same_architecture_load(tmp_path, noted):
    path = saved(fix_weights(tiny_model(2)), tmp_path / "a.weights.h5", noted)
    model = tiny_model(2)
    model.load_weights(str(path))
    for found, right in zip(values(model), values(fix_weights(tiny_model(2))), strict=True):
        np.testing.assert_array_equal(found, right)


def test_weights_beside_an_optimizer_load(tmp_path):
    model = fix_weights(tiny_model())
    model.compile("nadam")
    model.optimizer.build(model.trainable_variables)
    path = saved(model, tmp_path / "a.weights.h5")
    other = tiny_model()
    other.load_weights(str(path))
    np.testing.assert_array_equal(values(other)[0], values(model)[0])


# Keras loads the first without a word, for the lack of any variable that would be left over.
@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"stacks": 2}, {"stacks": 1}),
        ({"stacks": 1}, {"stacks": 2}),
        ({"deformable": "heads"}, {}),
        ({"width": 0.25}, {}),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, theirs, ours, noted):
    path = saved(network(**theirs), tmp_path / "a.weights.h5", noted)
    model = fix_weights(network(**ours))
    before = values(model)
    with pytest.raises(FaceAlignError, match=r"a\.weights\.h5 holds the weights of another arch"):
        model.load_weights(str(path))
    for found, right in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(found, right)


def test_equal_shapes_in_another_network_are_refused(tmp_path):
    path = saved(tiny_model(), tmp_path / "a.weights.h5")
    with pytest.raises(FaceAlignError, match="map_size is 16 in the file and 8 in the model"):
        network(map_size=8).load_weights(path)


def test_a_file_that_lacks_a_layer_is_refused(tmp_path):
    path = saved(tiny_model(), tmp_path / "a.weights.h5", noted=False)
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d"]
    with pytest.raises(FaceAlignError, match=r"arrays in the file and \d+ in the model"):
        tiny_model().load_weights(str(path))


def test_whole_models_are_checked_too(tmp_path):
    path = tmp_path / "two.keras"
    tiny_model(2).save(path)
    with pytest.raises(FaceAlignError, match="another architecture"):
        tiny_model(1).load_weights(str(path))
    tiny_model(2).load_weights(str(path))


def test_what_fits_loads_on_request(tmp_path):
    path = saved(fix_weights(tiny_model(2)), tmp_path / "a.weights.h5")
    model = tiny_model(1)
    model.load_weights(str(path), skip_mismatch=True)
    np.testing.assert_array_equal(values(model)[0], values(fix_weights(tiny_model(2)))[0])


def test_presets_with_swapped_weights_are_refused(tmp_path):
    folder = tiny_model(1).save_to_preset(tmp_path / "one")
    other = tiny_model(2).save_to_preset(tmp_path / "two")
    (folder / "model.weights.h5").write_bytes((other / "model.weights.h5").read_bytes())
    with pytest.raises(FaceAlignError, match="stacks is 2 in the file and 1 in the model"):
        from_preset(folder)
    without_note(folder / "model.weights.h5")
    with pytest.raises(FaceAlignError, match="another architecture"):
        from_preset(folder)


def test_bundled_weights_are_not_exchangeable():
    small = find_preset("sat2_cab_small") / "model.weights.h5"
    model = from_preset("sat1_cab_mobile", load_weights=False)
    with pytest.raises(FaceAlignError, match="579 arrays|578 arrays"):
        model.load_weights(str(small))


@pytest.mark.parametrize("content", [b"", b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(content)
    message = r"a\.weights\.h5: (cannot be read .*restore the file|the file is empty)"
    with pytest.raises(FaceAlignError, match=message):
        tiny_model().load_weights(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_of_weights_is_not_waited_for(tmp_path):
    model = tiny_model()
    for name, skip in (("a.keras", False), ("b.weights.h5", False), ("c.keras", True)):
        os.mkfifo(tmp_path / name)
        with pytest.raises(FaceAlignError, match=f"{name}: is not a regular file"):
            model.load_weights(tmp_path / name, skip_mismatch=skip)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
def test_damaged_archives_are_named(tmp_path, content):
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(FaceAlignError, match=r"a\.keras: cannot be read .*"):
        tiny_model().load_weights(tmp_path / "a.keras")
