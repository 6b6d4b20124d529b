"""MXNet's `.params` files: the reader, the rule of names, and parity with MXNet's own outputs.

`tests/data/mxnet` holds two networks and their outputs; the others are read from the folder that
the variable KERAS_FACEALIGN_GOLDEN names.
"""

import os
import struct
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_facealign.converters import load_weights, read_params
from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import ConvBatchNorm
from keras_facealign.models import Architecture, FaceAlignModel
from tests.converters.params_file import array_bytes, file_bytes, name_bytes

DATA = Path(__file__).parents[1] / "data" / "mxnet"

NETWORKS = {
    "n_hg2d4_resnet_dcn0": ("hourglass", 2, 4, "resnet"),
    "n_hg2d3_hpm_dcn0": ("hourglass", 2, 3, "hpm"),
    "n_hg2d3_cab_dcn0": ("hourglass", 2, 3, "cab"),
    "n_sat2d3_cab_dcn0": ("sat", 2, 3, "cab"),
    "n_hg1d4_resnet_dcn0": ("hourglass", 1, 4, "resnet"),
    "n_hg2d4_cab_dcn0": ("hourglass", 2, 4, "cab"),
}
HERE = ("n_sat2d3_cab_dcn0", "n_hg2d4_resnet_dcn0")


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "net-0000.params"
        path.write_bytes(content)
        return path

    return write


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---- the reader ---------------------------------------------------------------------------------


def test_reads_back_what_was_written(write):
    rng = np.random.default_rng(0)
    shapes = [(4,), (2, 3), (5, 1, 3, 3), (1, 2, 1, 2, 3), (1,)]
    arrays = {f"arg:a{i}": rng.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}
    arrays["aux:überall"] = np.arange(6, dtype=np.float32)
    found = read_params(write(file_bytes(list(arrays), list(arrays.values()))))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_reads_arrays_saved_on_a_gpu(write):
    content = file_bytes(["arg:a"], [array_bytes(random(3), device=(2, 1))])
    np.testing.assert_array_equal(read_params(write(content))["arg:a"], random(3))


def test_an_empty_list_is_no_error(write):
    assert read_params(write(file_bytes([], []))) == {}


GOOD = random((2, 3))
BAD_FILES = {
    "empty": (b"", "the header needs 16 bytes where the file has 0 left"),
    "text": (b'{"nodes": [], "arg_nodes": []}', "begins with"),
    "list magic": (file_bytes(["arg:a"], [GOOD], magic=0x113), "begins with 0x113"),
    "array magic": (
        file_bytes(["arg:a"], [array_bytes(GOOD, magic=0xF993FAC8)]),
        "array 1 of 1 begins with 0xf993fac8",
    ),
    "sparse": (file_bytes(["arg:a"], [array_bytes(GOOD, storage=1)]), "storage type 1"),
    "no dimensions": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=())]), "0 dimensions"),
    "nine dimensions": (
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(1,) * 9)]),
        "9 dimensions instead of 1 to 8",
    ),
    "a wealth of dimensions": (
        file_bytes(["arg:a"], [struct.pack("<IiI", 0xF993FAC9, 0, 0xFFFFFFFF)]),
        "4294967295 dimensions",
    ),
    "negative side": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=(-2, -3))]), "(-2, -3)"),
    "no side": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=(0, 3))]), "(0, 3)"),
    "sides too large": (
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2**40, 2**40))]),
        "needs 4835703278458516698824704 bytes",
    ),
    "sides that overflow 64 bits to 24 bytes": (
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2**62 + 6, 2**62 + 1))]),
        "where the file has",
    ),
    "a side too small": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2, 2))]), "names"),
    "unknown type": (file_bytes(["arg:a"], [array_bytes(GOOD, code=99)]), "unknown type code 99"),
    "float64": (
        file_bytes(["arg:a", "arg:b"], [GOOD, array_bytes(np.zeros((2, 3)), code=1)]),
        "array 'arg:b' has type code 1",
    ),
    "float16": (
        file_bytes(["arg:a"], [array_bytes(np.zeros((2, 3), np.float16), code=2)]),
        "array 'arg:a' has type code 2",
    ),
    "NaN": (
        file_bytes(["arg:a", "arg:b"], [GOOD, np.array([1, np.nan])]),
        "array 'arg:b' has values that are not finite",
    ),
    "infinity": (file_bytes(["arg:a"], [[-np.inf]]), "array 'arg:a' has values"),
    "twice": (file_bytes(["arg:a", "arg:a"], [GOOD, GOOD]), "array 'arg:a' occurs twice"),
    "too few names": (file_bytes(["arg:a"], [GOOD, GOOD]), "1 names for 2 arrays"),
    "too many names": (file_bytes(["arg:a", "arg:b"], [GOOD]), "2 names for 1 arrays"),
    "fewer arrays than claimed": (file_bytes(["arg:a"], [GOOD], count=2), "array 2 of 2"),
    "a wealth of arrays": (file_bytes(["arg:a"], [GOOD], count=2**64 - 1), "array 2 of 18446744"),
    "a wealth of names": (file_bytes(["arg:a"], [GOOD], name_count=2**63), "names for 1 arrays"),
    "name too long": (
        file_bytes([name_bytes("arg:a", length=2**63)], [GOOD]),
        "the name of array 1 of 1 needs 9223372036854775808 bytes",
    ),
    "name not UTF-8": (file_bytes([name_bytes(b"arg:\xff")], [GOOD]), "not UTF-8"),
    "trailing bytes": (file_bytes(["arg:a"], [GOOD]) + b"\0" * 7, "7 bytes follow"),
}


@pytest.mark.parametrize("content, message", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_named_with_what_is_wrong(write, content, message):
    path = write(content)
    with pytest.raises(FaceAlignError) as caught:
        read_params(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_an_error(write):
    content = file_bytes(["arg:a", "aux:b"], [GOOD, random((2, 1, 3))])
    for length in range(len(content)):
        with pytest.raises(FaceAlignError):
            read_params(write(content[:length]))


def test_mutated_files_end_in_arrays_or_in_a_clear_error(write):
    content = file_bytes(["arg:a", "aux:b", "arg:c"], [GOOD, random((2, 1, 3)), random(5)])
    rng = np.random.default_rng(1)
    ends = {True: 0, False: 0}
    for _ in range(1500):
        spoilt = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            spoilt[rng.integers(len(spoilt))] = rng.integers(256)
        try:
            arrays = read_params(write(bytes(spoilt)))
        except FaceAlignError:
            ends[False] += 1
        else:
            ends[True] += 1
            assert sum(a.nbytes for a in arrays.values()) < len(content)
            assert all(np.isfinite(a).all() for a in arrays.values())
    # Most bytes are values, where a change is mostly legal; the others are structure.
    assert min(ends.values()) > 300


def test_claimed_sizes_allocate_nothing(write):
    contents = [
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2**31, 2**10))]),
        file_bytes(["arg:a"], [GOOD], count=2**40),
        file_bytes([name_bytes("arg:a", length=2**40)], [GOOD]),
    ]
    for content in contents:
        path = write(content)
        tracemalloc.start()
        with pytest.raises(FaceAlignError):
            read_params(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e6


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(FaceAlignError, match="nowhere.params cannot be read: No such file"):
        read_params(tmp_path / "nowhere.params")
    with pytest.raises(FaceAlignError, match="cannot be read"):
        read_params(tmp_path)


# ---- filling networks ---------------------------------------------------------------------------


def small_model(name="small"):
    """One layer of every kind: dense, depth-wise and transposed convolutions, batch norm, bias."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(5, (3, 2), use_bias=False, name="conv0")(inputs)
    x = keras.layers.BatchNormalization(name="bn0")(x)
    x = keras.layers.DepthwiseConv2D(2, use_bias=False, name="sat0_w1_h3_x_conv")(x)
    x = keras.layers.Conv2DTranspose(6, 2, use_bias=False, name="sat0_upsampling_w2_h2")(x)
    outputs = keras.layers.Conv2D(2, 1, name="heatmap")(x)
    return keras.Model(inputs, outputs, name=name)


def small_arrays(prefix="sat0"):
    return {
        "arg:conv0_weight": random((5, 3, 3, 2), 1),
        "arg:bn0_gamma": random(5, 2),
        "arg:bn0_beta": random(5, 3),
        f"arg:{prefix}_w1_h3_x_conv_weight": random((5, 1, 2, 2), 4),
        f"arg:{prefix}_upsampling_w2_h2_weight": random((5, 6, 2, 2), 5),
        "arg:heatmap_weight": random((2, 6, 1, 1), 6),
        "arg:heatmap_bias": random(2, 7),
        "aux:bn0_moving_mean": random(5, 8),
        "aux:bn0_moving_var": random(5, 9),
    }


def save(write, arrays):
    return write(file_bytes(list(arrays), list(arrays.values())))


def expect(weights, arrays, prefix="sat0"):
    """Every element of the model's weights against the element of the array that it stands for."""
    conv, deconv = weights["conv0/kernel"], weights["sat0_upsampling_w2_h2/kernel"]
    depthwise = weights["sat0_w1_h3_x_conv/kernel"]
    for (o, i, y, x), value in np.ndenumerate(arrays["arg:conv0_weight"]):
        assert conv[y, x, i, o] == value
    for (c, _, y, x), value in np.ndenumerate(arrays[f"arg:{prefix}_w1_h3_x_conv_weight"]):
        assert depthwise[y, x, c, 0] == value
    for (i, o, y, x), value in np.ndenumerate(arrays[f"arg:{prefix}_upsampling_w2_h2_weight"]):
        assert deconv[y, x, o, i] == value
    for path, name in (
        ("bn0/gamma", "arg:bn0_gamma"),
        ("bn0/beta", "arg:bn0_beta"),
        ("bn0/moving_mean", "aux:bn0_moving_mean"),
        ("bn0/moving_variance", "aux:bn0_moving_var"),
        ("heatmap/bias", "arg:heatmap_bias"),
    ):
        np.testing.assert_array_equal(weights[path], arrays[name])


def weights_of(model):
    return {v.path: keras.ops.convert_to_numpy(v.value) for v in model.weights}


@pytest.mark.parametrize("prefix", ["sat0", "sta0", "dla0"])
def test_layouts_and_grid_prefixes(write, prefix):
    model, arrays = small_model(), small_arrays(prefix)
    load_weights(model, save(write, arrays))
    expect(weights_of(model), arrays, prefix)


def test_one_channel_everywhere(write):
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.DepthwiseConv2D(2, use_bias=False, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 2, use_bias=False, name="b")(x))
    arrays = {"arg:a_weight": random((1, 1, 2, 2), 1), "arg:b_weight": random((1, 1, 2, 2), 2)}
    load_weights(model, save(write, arrays))
    for layer in "ab":
        kernel = weights_of(model)[f"{layer}/kernel"]
        np.testing.assert_array_equal(kernel[:, :, 0, 0], arrays[f"arg:{layer}_weight"][0, 0])


def test_a_layer_may_bear_the_models_name(write):
    model, arrays = small_model(name="heatmap"), small_arrays()
    load_weights(model, save(write, arrays))
    expect(weights_of(model), arrays)


def test_the_models_own_name_in_front_of_paths_does_not_count(write):
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.conv0 = keras.layers.Conv2D(2, 1, name="conv0")

        def call(self, inputs):
            return self.conv0(inputs)

    model = Subclass()
    model(np.zeros((1, 2, 2, 3), np.float32))
    assert [v.path for v in model.weights] == ["mine/conv0/kernel", "mine/conv0/bias"]
    arrays = {"arg:conv0_weight": random((2, 3, 1, 1)), "arg:conv0_bias": random(2, 1)}
    load_weights(model, save(write, arrays))
    np.testing.assert_array_equal(weights_of(model)["mine/conv0/bias"], arrays["arg:conv0_bias"])


def without(*names):
    return {k: v for k, v in small_arrays().items() if k not in names}


BAD_FITS = {
    "missing": (without("arg:bn0_beta"), "lacks 'arg:bn0_beta', which the model needs"),
    "many missing": ({}, "lacks 'arg:conv0_weight', 'arg:bn0_gamma', 'arg:bn0_beta'"),
    "unknown": (small_arrays() | {"arg:stn_conv0_weight": GOOD}, "has 'arg:stn_conv0_weight', unk"),
    "wrong place": (
        without("aux:bn0_moving_mean") | {"arg:bn0_moving_mean": random(5)},
        "lacks 'aux:bn0_moving_mean'",
    ),
    "another shape": (
        small_arrays() | {"arg:conv0_weight": random((5, 4, 3, 2))},
        "'arg:conv0_weight' has shape (5, 4, 3, 2)",
    ),
    "another rank": (small_arrays() | {"arg:heatmap_bias": random((1, 2))}, "has shape (1, 2)"),
    "the Keras layout": (
        small_arrays() | {"arg:conv0_weight": random((3, 2, 3, 5))},
        "has shape (3, 2, 3, 5)",
    ),
    "grid under two names": (
        small_arrays() | {"arg:sta0_w1_h3_x_conv_weight": random((5, 1, 2, 2))},
        "'arg:sta0_w1_h3_x_conv_weight' and another array",
    ),
}


@pytest.mark.parametrize("arrays, message", BAD_FITS.values(), ids=BAD_FITS.keys())
def test_a_file_that_does_not_fit_leaves_the_model_alone(write, arrays, message):
    model, path = small_model(), save(write, arrays)
    before = weights_of(model)
    with pytest.raises(FaceAlignError) as caught:
        load_weights(model, path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_two_weights_of_one_name_are_refused(write):
    inputs = keras.Input((4, 4, 1))
    x = ConvBatchNorm(1, 1, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, name="a_conv")(x))
    assert {"a/conv/kernel", "a_conv/kernel"} <= {v.path for v in model.weights}
    with pytest.raises(FaceAlignError, match="Two weights of the model stand for 'arg:a_conv_wei"):
        load_weights(model, save(write, {}))


# ---- parity -------------------------------------------------------------------------------------


def folder_of(name):
    """Where a network's files are, and how far apart the stored rows and columns are."""
    if name in HERE:
        return DATA, 4
    if "KERAS_FACEALIGN_GOLDEN" not in os.environ:
        pytest.skip("KERAS_FACEALIGN_GOLDEN does not name the folder with the golden outputs")
    return Path(os.environ["KERAS_FACEALIGN_GOLDEN"]) / "mxnet", 2


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_mxnet(name):
    folder, step = folder_of(name)
    model = FaceAlignModel(Architecture(*NETWORKS[name], width=0.1875))
    load_weights(model, folder / f"{name}-0000.params")
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        golden = {key: file[key] for key in file.files}
    stacks = model(golden["image"].transpose(0, 2, 3, 1).astype(np.float32), training=False)
    outputs = ["heatmap0", "heatmap"] if len(stacks) == 2 else ["heatmap"]
    worst = 0.0
    for output, tensor in zip(outputs, stacks, strict=True):
        maps = keras.ops.convert_to_numpy(tensor).transpose(0, 3, 1, 2)
        flat = maps.reshape(*maps.shape[:2], -1)
        for key, found in (
            (f"{output}_s{step}", maps[:, :, ::step, ::step]),
            (f"{output}_max", flat.max(-1)),
            (f"{output}_mean", flat.mean(-1)),
            (f"{output}_std", flat.std(-1)),
        ):
            worst = max(worst, float(np.abs(found - golden[key]).max()))
        np.testing.assert_array_equal(flat.argmax(-1), golden[f"{output}_argmax"])
        assert np.abs(golden[f"{output}_s{step}"]).max() > 3  # not a comparison of zeros
    print(f"{name}: largest absolute error {worst:.2e}")
    assert worst <= 1e-3


def test_a_network_of_another_depth_does_not_fit():
    model = FaceAlignModel(Architecture("hourglass", 2, 3, "resnet", width=0.1875))
    with pytest.raises(FaceAlignError, match="build the model with the checkpoint's architecture"):
        load_weights(model, DATA / "n_hg2d4_resnet_dcn0-0000.params")
