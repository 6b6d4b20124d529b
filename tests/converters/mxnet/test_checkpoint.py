"""Whole networks: recognized, built, filled and written back, with MXNet's own outputs.

`tests/data/mxnet` holds three networks and their outputs; the others are read from the folder that
the variable KERAS_FACEALIGN_GOLDEN names. KERAS_BACKEND chooses the backend.
"""

import functools
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_facealign.converters import load_mxnet, read_params, save_mxnet, write_params
from keras_facealign.converters.mxnet.checkpoint import read_checkpoint
from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.converters.mxnet.size import checkpoint_size
from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture
from tests.converters.mxnet.architectures import CHECKPOINTS
from tests.converters.mxnet.file_bytes import random
from tests.paths import TESTS

DATA = TESTS / "data" / "mxnet"
SAT = DATA / "n_sat2d3_cab_dcn0-0000.params"


def folder_of(name):
    """Where a network's files are, and how far apart the stored rows and columns are."""
    if (DATA / f"{name}.npz").exists():
        return DATA, 4
    if "KERAS_FACEALIGN_GOLDEN" not in os.environ:
        pytest.skip("KERAS_FACEALIGN_GOLDEN does not name the folder with the golden outputs")
    return Path(os.environ["KERAS_FACEALIGN_GOLDEN"]) / "mxnet", 2


@functools.cache
def load_golden(name):
    folder, step = folder_of(name)
    # No file tells of the gate here.
    gate = True if CHECKPOINTS[name].gate else None
    return load_mxnet(folder / f"{name}-0000.params", gate), folder / f"{name}.npz", step


def outputs_of(model, images):
    """Maps by the original's names, (B, K, H, W)."""
    tensors = model(images.transpose(0, 2, 3, 1).astype(np.float32), training=False)
    stacks = model.architecture.stacks
    maps = {f"heatmap{i}": tensors[i] for i in range(stacks - 1)} | {"heatmap": tensors[stacks - 1]}
    if model.architecture.heads_between_stacks:
        for i in range(stacks):
            between = keras.Model(model.inputs[0], model.get_layer(f"stack{i}_out3").output)
            maps[f"stack{i}_out3"] = between(images.transpose(0, 2, 3, 1).astype(np.float32))
    return {n: keras.ops.convert_to_numpy(t).transpose(0, 3, 1, 2) for n, t in maps.items()}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_outputs_are_those_of_mxnet(name):
    model, file, step = load_golden(name)
    assert model.architecture == CHECKPOINTS[name]
    with np.load(file, allow_pickle=False) as golden:
        golden = dict(golden)
    maps = outputs_of(model, golden["image"])
    assert {key.removesuffix("_max") for key in golden if key.endswith("_max")} == set(maps)
    worst = 0.0
    for output, values in maps.items():
        flat = values.reshape(*values.shape[:2], -1)
        for key, found in (
            (f"{output}_s{step}", values[:, :, ::step, ::step]),
            (f"{output}_max", flat.max(-1)),
            (f"{output}_mean", flat.mean(-1)),
            (f"{output}_std", flat.std(-1)),
        ):
            worst = max(worst, float(np.abs(found - golden[key]).max()))
        np.testing.assert_array_equal(flat.argmax(-1), golden[f"{output}_argmax"])
        assert np.abs(golden[f"{output}_s{step}"]).max() > 3  # not a comparison of zeros
    print(f"{name} on {keras.backend.backend()}: largest absolute error {worst:.2e}")
    # A deformable convolution jumps where it samples at the border (see the specification of its
    # border "mxnet"), so that rounding can move single pixels.
    assert worst <= (1e-2 if model.architecture.deformable != "none" else 1e-3)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_written_back_a_checkpoint_is_the_same_bytes(name, tmp_path):
    model, file, _ = load_golden(name)
    path = save_mxnet(model, tmp_path / "again-0000.params")
    original = file.with_name(f"{name}-0000.params").read_bytes()
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(original).digest()


def randomized(arch, scheme="ibug68"):
    """A model of random weights and statistics."""
    model = FaceAlignModel(arch, scheme)
    model.set_weights([random(v.shape, seed) for seed, v in enumerate(model.weights)])
    return model


def assert_same_weights(found, expected):
    weights = {v.path: keras.ops.convert_to_numpy(v.value) for v in expected.weights}
    assert [v.path for v in found.weights] == list(weights)
    for variable in found.weights:
        value = keras.ops.convert_to_numpy(variable.value)
        np.testing.assert_array_equal(value, weights[variable.path])


ROUND_TRIPS = [
    Architecture("unet", 2, 2, "inception", width=0.125, deformable="both"),
    Architecture("unet", 2, 1, "hpm", width=0.125, deformable="between", variant="if"),
    Architecture("hourglass", 2, 2, "cab", width=0.1875, deformable="heads", variant="old"),
    Architecture("hourglass", 1, 1, "resnet", width=0.125, input_size=256, deformable="between"),
    Architecture("dla", 1, 2, "resnet", width=0.125, deformable="heads"),
    Architecture("sat_i", 2, 2, "hpm", width=0.125, spatial_transformer=True),
    Architecture("sat", 2, 2, "inception", width=0.125, deformable="between", num_landmarks=98),
]


@pytest.mark.parametrize("arch", ROUND_TRIPS, ids=lambda a: f"{a.topology}-{a.variant}")
def test_what_is_written_is_read_back_equal(arch, tmp_path):
    model = randomized(arch, "wflw98" if arch.num_landmarks == 98 else "ibug68")
    path = save_mxnet(model, tmp_path / "net-0000.params")
    assert path.stat().st_size == checkpoint_size(arch).file_bytes
    found = load_mxnet(path)
    assert found.architecture == arch
    assert found.scheme == model.scheme
    assert_same_weights(found, model)


@pytest.mark.parametrize(
    "variant, given, prefix",
    [("dfa", None, "sat"), ("old", None, "dla"), ("dfa", "sta", "sta"), ("old", "sat", "sat")],
)
def test_names_of_grids(variant, given, prefix, tmp_path):
    arch = Architecture("sat", 1, 1, "resnet", width=0.125, variant=variant)
    model = randomized(arch)
    path = save_mxnet(model, tmp_path / "net-0000.params", given)
    names = {name for name in read_params(path) if "0_w1_h2_1_w3_h4_1_conv_weight" in name}
    assert names == {f"arg:{prefix}0_w1_h2_1_w3_h4_1_conv_weight"}
    found = load_mxnet(path)
    assert found.architecture == arch
    assert_same_weights(found, model)


def test_if_networks_have_its_prefix(tmp_path):
    model = randomized(Architecture("sat", 1, 1, "resnet", width=0.125, variant="if"))
    path = save_mxnet(model, tmp_path / "net-0000.params")
    assert any(name.startswith("arg:sta0_") for name in read_params(path))


def test_weights_of_half_precision_are_written_as_they_are(tmp_path):
    arch = Architecture("hourglass", 1, 1, "resnet", width=0.125)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = FaceAlignModel(arch)
    finally:
        keras.config.set_dtype_policy(before)
    kernel = next(v for v in model.weights if v.path.endswith("conv0/kernel"))
    assert "bfloat16" in str(kernel.dtype)
    arrays = read_params(save_mxnet(model, tmp_path / "net-0000.params"))
    value = keras.ops.convert_to_numpy(keras.ops.cast(kernel.value, "float32"))
    np.testing.assert_array_equal(arrays["arg:conv0_weight"], value.transpose(3, 2, 0, 1))


# ---- the gate -----------------------------------------------------------------------------------


def copy_with_graph(folder, pool):
    (folder / "net-0003.params").write_bytes(SAT.read_bytes())
    graph = {"nodes": [{"op": "Pooling", "attrs": {"pool_type": pool}}]}
    (folder / "net-symbol.json").write_text(json.dumps(graph))
    return folder / "net-0003.params"


@pytest.mark.parametrize("pool, gate", [("avg", True), ("max", False)])
def test_the_graph_beside_the_file_tells_of_the_gate(tmp_path, pool, gate):
    path = copy_with_graph(tmp_path, pool)
    assert read_checkpoint(path)[0] == replace(CHECKPOINTS["n_sat2d3_cab_dcn0"], gate=gate)


def test_an_argument_overrules_the_graph(tmp_path):
    path = copy_with_graph(tmp_path, "avg")
    assert not load_mxnet(path, gate=False).architecture.gate
    (tmp_path / "net-symbol.json").write_text("damaged")
    assert read_checkpoint(path, gate=True)[0].gate
    with pytest.raises(FaceAlignError, match="net-symbol.json: cannot be read"):
        load_mxnet(path)


def test_only_grids_have_a_gate(tmp_path):
    path = DATA / "n_hg1d4_resnet_dcn0-0000.params"
    with pytest.raises(FaceAlignError, match="gate=True needs an aggregation topology"):
        load_mxnet(path, gate=True)
    (tmp_path / "net-0000.params").write_bytes(path.read_bytes())
    (tmp_path / "net-symbol.json").write_text("damaged, but nobody needs to know")
    assert load_mxnet(tmp_path / "net-0000.params").architecture.topology == "hourglass"


# ---- schemes ------------------------------------------------------------------------------------


def tiny_file(folder, **options):
    arch = Architecture("hourglass", 1, 1, "resnet", width=0.125, **options)
    arrays = {name: random(shape) for name, shape in expected_arrays(arch)}
    return write_params(folder / "net-0000.params", arrays)


@pytest.mark.parametrize("count, scheme", [(5, "five"), (29, "cofw29"), (68, "ibug68")])
def test_the_scheme_has_as_many_points_as_the_network(tmp_path, count, scheme):
    model = load_mxnet(tiny_file(tmp_path, num_landmarks=count))
    assert model.scheme.name == scheme
    assert model.num_landmarks == count


def test_a_number_of_points_that_no_scheme_has(tmp_path):
    model = load_mxnet(tiny_file(tmp_path, num_landmarks=11))
    assert model.scheme.name == "points11" and model.num_landmarks == 11


def test_a_named_scheme_must_fit(tmp_path):
    path = tiny_file(tmp_path)
    assert load_mxnet(path, scheme="ibug68").scheme.name == "ibug68"
    with pytest.raises(FaceAlignError, match="does not fit scheme 'cofw29'"):
        load_mxnet(path, scheme="cofw29")


# ---- what is refused ----------------------------------------------------------------------------


def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "net-0000.params"
    light = FaceAlignModel(Architecture("hourglass", 1, 1, "resnet", width=0.125, stem="light"))
    with pytest.raises(FaceAlignError, match="stem='light' has no counterpart in MXNet"):
        save_mxnet(light, path)
    with pytest.raises(FaceAlignError, match="got a Functional; give a FaceAlignModel"):
        save_mxnet(keras.Model(light.inputs, light.outputs), path)
    model = randomized(Architecture("hourglass", 1, 1, "resnet", width=0.125))
    with pytest.raises(FaceAlignError, match="Unknown grid_prefix 'sad'; choose one of: sat, sta"):
        save_mxnet(model, path, "sad")
    model.get_layer("conv0").kernel.assign(np.full((3, 3, 3, 32), np.nan))
    with pytest.raises(FaceAlignError, match="net-0000.params: 'arg:conv0_weight' has values that"):
        save_mxnet(model, path)
    assert not path.exists()


def test_a_model_with_other_layers_is_not_written(tmp_path):
    class Extended(FaceAlignModel):
        def __init__(self, *args):
            super().__init__(*args)
            self.extra = keras.layers.Dense(1, name="extra")
            self.extra.build((None, 1))

    model = Extended(Architecture("hourglass", 1, 1, "resnet", width=0.125))
    with pytest.raises(
        FaceAlignError, match="a checkpoint lacks, 'arg:extra_weight', 'arg:extra_bias'"
    ):
        save_mxnet(model, tmp_path / "net-0000.params")
    other = FaceAlignModel(Architecture("hourglass", 1, 1, "hpm", width=0.125))
    other.architecture = Architecture("hourglass", 1, 1, "resnet", width=0.125)
    with pytest.raises(FaceAlignError, match="no weight for 'arg:res0_conv1_weight' of sh"):
        save_mxnet(other, tmp_path / "net-0000.params")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["arg:conv0_weight", "aux:stack1_ll_bn_moving_var"])
def test_a_spoilt_array_is_named(tmp_path, name):
    arrays = read_params(SAT)
    spoilt = {n: a for n, a in arrays.items() if n != name}
    with pytest.raises(FaceAlignError, match=f"{name}"):
        load_mxnet(write_params(tmp_path / "net-0000.params", spoilt))
    spoilt = arrays | {name: np.concatenate([arrays[name]] * 2)}
    with pytest.raises(FaceAlignError, match=f"{name}"):
        load_mxnet(write_params(tmp_path / "net-0000.params", spoilt))
