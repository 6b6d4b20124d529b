"""The networks' graphs: sizes of the original's table, stems, precisions, bad settings."""

from ast import literal_eval

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import DeformableConv2D
from keras_facealign.networks import Architecture, build_network
from keras_facealign.networks.architecture import DEFORMABLE
from keras_facealign.networks.stacked import prior_logit
from tests.layers import reference

# Learned parameters and running statistics at full width, 68 landmarks.
SIZES = {
    "hourglass-2-3-resnet": (5302344, 25344),
    "hourglass-2-3-resnet deformable=both": (7293500, 25344),
    "hourglass-2-4-resnet": (6586440, 31488),
    "hourglass-2-4-inception": (9549864, 44256),
    "hourglass-2-4-inception deformable=both": (11541020, 44256),
    "hourglass-2-3-hpm": (9659464, 22272),
    "hourglass-2-4-hpm": (12097864, 27648),
    "hourglass-2-3-cab": (9286792, 20832),
    "hourglass-2-3-cab deformable=between": (9784372, 20832),
    "hourglass-2-3-cab deformable=both variant=insightface": (11411938, 20832),
    "hourglass-2-4-cab": (11624584, 25824),
    "sat-2-3-cab": (10094728, 24288),
    "sat-2-3-cab gate=True": (10094728, 24288),
    "sat-2-3-cab deformable=both": (12219874, 24288),
    "sat-2-4-cab": (14008456, 32352),
    "sat-2-4-cab deformable=both": (16133602, 32352),
    "hourglass-1-4-resnet": (3423236, 16640),
    "hourglass-1-4-resnet deformable=heads": (4170024, 16640),
    "sat-1-3-cab": (5237828, 12896),
    "sat-1-3-cab deformable=both": (5984616, 12896),  # nothing lies between the stacks of one
    "dla-2-4-cab": (25812104, 40544),
    "sat_i-2-4-cab": (32896136, 46688),
    "sat_ii-2-3-cab": (20715656, 31456),
    "sat-2-3-cab deformable=both variant=insightface_2018 spatial_transformer=True": (
        29087011,
        24672,
    ),
    "unet-2-4-cab": (9035912, 23264),
}


def architecture(row):
    """What a row of the table says: topology, stacks, depth, block and further fields."""
    words, *options = row.split()
    topology, stacks, depth, block = words.split("-")
    fields = dict(option.split("=") for option in options)
    fields = {
        k: v if k in ("variant", "deformable") else literal_eval(v) for k, v in fields.items()
    }
    return topology, int(stacks), int(depth), block, fields


def network(*args, **kwargs):
    built = build_network(Architecture(*args, **kwargs))
    return keras.Model(built.images, built.heatmaps)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def pictures(size=128, batch=2):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (batch, size, size, 3)).astype(np.float32)


def run(model, images):
    result = model(images, training=False)
    return [ops.convert_to_numpy(m) for m in (result if isinstance(result, list) else [result])]


def layer_output(model, name, images):
    return run(keras.Model(model.inputs[0], model.get_layer(name).output), images)[0]


# ---- sizes --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("row", SIZES)
def test_sizes_are_those_of_the_original(row):
    *words, fields = architecture(row)
    built = build_network(Architecture(*words, **fields))
    # What only the last stack's training uses belongs to the network too.
    model = keras.Model(built.images, [*built.heatmaps, built.trained[-1]])
    learned, running = SIZES[row]
    assert count(model.trainable_weights) == learned
    assert count(model.non_trainable_weights) == running


@pytest.mark.parametrize("topology", ["sat", "hourglass"])
@pytest.mark.parametrize("block", ["resnet", "hpm", "cab"])
def test_each_stack_gives_heatmaps(topology, block):
    model = network(topology, 3, 1, block, width=0.125, num_landmarks=5)
    maps = run(model, pictures())
    assert [m.shape for m in maps] == [(2, 64, 64, 5)] * 3
    assert all(np.isfinite(m).all() and m.std() > 0 for m in maps)


@pytest.mark.usefixtures("without_weights")
def test_narrow_widths_and_their_floor():
    """At 0.1875 the stem stays at 32 channels, as in the original, and the stacks have 48."""
    model = network("sat", 1, 3, width=0.1875)
    kernels = {v.path: tuple(v.shape) for v in model.weights}
    assert kernels["conv0/kernel"] == (3, 3, 3, 32)
    assert kernels["res2/sc/kernel"] == (1, 1, 32, 48)
    assert kernels["heatmap/kernel"] == (1, 1, 48, 68)
    assert Architecture(width=0.1875).filters == 48 and Architecture().filters == 256


@pytest.mark.usefixtures("without_weights")
def test_names_of_heads():
    names = {layer.name for layer in network("sat", 3, 1, width=0.125).layers}
    assert {"heatmap0", "heatmap1", "heatmap", "stack0_ll2", "stack1_out2", "sat2"} <= names
    # After the last stack nothing is fed onwards.
    assert not names & {"heatmap2", "stack2_ll2", "stack2_out2"}


# ---- deformable convolutions and spatial transformer ------------------------------------------


def names_of(**fields):
    built = build_network(Architecture(stacks=2, width=0.125, num_landmarks=5, **fields))
    model = keras.Model(built.images, [*built.heatmaps, built.trained[-1]])
    return {layer.name for layer in model.layers}, built


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    "topology, variant", [("sat", "dfa"), ("hourglass", "insightface"), ("dla", "insightface_2018")]
)
@pytest.mark.parametrize("deformable", DEFORMABLE)
def test_where_convolutions_are_deformable(topology, variant, deformable):
    _, built = names_of(topology=topology, depth=1, variant=variant, deformable=deformable)
    model = keras.Model(built.images, built.heatmaps)
    found = {x.path for x in model._flatten_layers() if isinstance(x, DeformableConv2D)}
    heads = (
        {"stack0_ll/conv", "heatmap0", "stack1_ll/conv", "heatmap"}
        if deformable in ("heads", "both")
        else set()
    )
    assert found == heads | ({"stack0_out3"} if deformable in ("between", "both") else set())
    assert built.trained == built.heatmaps and built.frame is None


@pytest.mark.usefixtures("without_weights")
def test_hourglass_of_dfa_trains_what_lies_between_stacks():
    names, built = names_of(topology="hourglass", depth=1, deformable="between")
    assert {"stack0_out3", "stack0_body", "stack1_ll2", "stack1_out2", "stack1_out3"} <= names
    assert "stack1_body" not in names
    assert built.trained[0] is built.heatmaps[0] and built.trained[1] is not built.heatmaps[1]
    assert built.trained[1].shape == (None, 64, 64, 5)


def test_names_of_variants_in_version_0_1_are_accepted():
    assert Architecture(variant="if") == Architecture(variant="insightface")
    assert Architecture(variant="old") == Architecture(variant="insightface_2018")


def test_numbers_of_version_0_1_are_accepted():
    for dcn, deformable in enumerate(DEFORMABLE):
        wanted = Architecture(deformable=deformable)
        with pytest.warns(DeprecationWarning, match="Architecture: dcn is now deformable"):
            assert Architecture(**{"dcn": dcn}) == wanted
        old = {**wanted.to_dict(), "dcn": dcn}
        del old["deformable"]
        assert Architecture.from_dict(old) == Architecture.from_dict(wanted.to_dict()) == wanted


def test_unit_of_insightface_2018_normalizes_before_it_convolves():
    _, built = names_of(depth=1, deformable="heads", variant="insightface_2018")
    unit = keras.Model(built.images, built.heatmaps).get_layer("stack0_ll")
    x = np.random.default_rng(3).normal(size=(1, 6, 6, 32)).astype(np.float32)
    reference.randomize(unit.bn)
    reference.randomize(unit.conv.offset)
    unit.conv.offset.kernel.assign(np.zeros(unit.conv.offset.kernel.shape))
    unit.conv.offset.bias.assign(np.zeros(18))  # an ordinary convolution
    w = {"bn/" + v.path.split("/")[-1]: v.numpy().astype(np.float64) for v in unit.bn.weights}
    active = reference.relu(reference.batch_norm(x, w, "bn"))
    expected = reference.conv(active, unit.conv.kernel.numpy()) + unit.conv.bias.numpy()
    np.testing.assert_allclose(ops.convert_to_numpy(unit(x)), expected, atol=1e-4)
    assert (expected < 0).any()


def test_spatial_transformer_turns_what_the_network_sees():
    architecture = Architecture("hourglass", 1, 1, "resnet", 0.125, 5, spatial_transformer=True)
    built = build_network(architecture)
    model = keras.Model(built.images, [*built.heatmaps, built.frame])
    images = pictures(batch=1)
    upright, frame = run(model, images)
    np.testing.assert_allclose(frame, [[[1, 0, 0], [0, 1, 0]]], atol=1e-6)
    model.get_layer("loc_theta").bias.assign([0.3])
    turned, frame = run(model, images)
    angle = 0.5 * np.tanh(0.3)
    np.testing.assert_allclose(frame[0, 0, :2], [np.cos(angle), np.sin(angle)], atol=1e-5)
    assert np.abs(turned - upright).max() > 1e-3


# ---- stems --------------------------------------------------------------------------------------


def standardized(images):
    return (images.astype(np.float64) - 127.5) / 128


def test_stem_of_the_original():
    model, images = network("sat", 1, 1, width=0.125), pictures(batch=1)
    reference.randomize(model.get_layer("conv0"))
    kernel = ops.convert_to_numpy(model.get_layer("conv0").kernel)
    found = layer_output(model, "conv0", images)
    expected = reference.conv(standardized(images), kernel)
    assert found.shape == (1, 128, 128, 32)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Pooling once brings 128 pixels to the 64 of the maps.
    assert model.get_layer("res0").output.shape == (None, 128, 128, 32)
    assert model.get_layer("res1").output.shape == (None, 64, 64, 32)


def test_stem_for_input_four_times_the_maps():
    model = network("hourglass", 1, 1, "resnet", width=0.125, input_size=64, map_size=16)
    images = pictures(64, batch=1)
    kernel = ops.convert_to_numpy(model.get_layer("conv0").kernel)
    assert kernel.shape == (7, 7, 3, 32)
    # Three pixels of padding on every side: output i has its middle on input 2 i.
    expected = reference.conv(standardized(images), kernel)[:, ::2, ::2]
    np.testing.assert_allclose(layer_output(model, "conv0", images), expected, atol=1e-4)
    assert run(model, images)[0].shape == (1, 16, 16, 68)


def test_light_stem():
    model = network("sat", 1, 3, width=0.125, stem="light")
    assert model.get_layer("conv0").kernel.shape == (4, 4, 3, 32)
    assert model.get_layer("relu0").output.shape == (None, 64, 64, 32)
    names = {layer.name for layer in model.layers}
    assert not names & {"res0", "res1", "res2"}
    assert run(model, pictures())[0].shape == (2, 64, 64, 68)
    full = network("sat", 1, 3, width=0.125)
    assert count(model.weights) < count(full.weights)


def test_light_stem_halves_twice_for_maps_of_a_quarter():
    model = network("sat", 1, 2, width=0.125, stem="light", map_size=32)
    assert model.get_layer("conv0").kernel.shape == (4, 4, 3, 16)
    assert model.get_layer("conv1").kernel.shape == (4, 4, 16, 32)
    assert model.get_layer("relu1").output.shape == (None, 32, 32, 32)
    assert run(model, pictures())[0].shape == (2, 32, 32, 68)


@pytest.mark.parametrize("map_size", [64, 32])
def test_light_stem_has_no_side(map_size):
    """Mirrored kernels on a mirrored picture give the mirrored result, borders included."""
    model = network("sat", 1, 1, width=0.125, stem="light", map_size=map_size)
    images, last = pictures(batch=1), "relu0" if map_size == 64 else "relu1"
    plain = layer_output(model, last, images)
    for layer in model.layers:
        if layer.name in ("conv0", "conv1"):
            layer.kernel.assign(ops.convert_to_numpy(layer.kernel)[::-1, ::-1])
    mirrored = layer_output(model, last, images[:, ::-1, ::-1])
    np.testing.assert_allclose(mirrored[:, ::-1, ::-1], plain, atol=1e-4)


# ---- heads and precision ------------------------------------------------------------------------


def test_head_prior_sets_the_first_probability():
    assert prior_logit(0.5) == 0
    assert 1 / (1 + np.exp(-prior_logit(0.01))) == pytest.approx(0.01)
    model = network("sat", 2, 1, width=0.125, head_prior=0.01)
    for name in ("heatmap0", "heatmap"):
        bias = ops.convert_to_numpy(model.get_layer(name).bias)
        np.testing.assert_allclose(bias, prior_logit(0.01), rtol=1e-6)
    plain = network("sat", 1, 1, width=0.125)
    assert not ops.convert_to_numpy(plain.get_layer("heatmap").bias).any()


def test_mixed_precision_ends_in_float32():
    images = pictures(batch=1)
    exact = network("sat", 2, 2, width=0.125)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = network("sat", 2, 2, width=0.125)
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(exact.get_weights())
    assert half.get_layer("sat0").compute_dtype == "bfloat16"
    for found, expected in zip(run(half, images), run(exact, images), strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


# ---- settings -----------------------------------------------------------------------------------


def test_settings_round_trip():
    arch = Architecture("hourglass", 1, 4, "hpm", 0.25, stem="light", head_prior=0.1)
    assert Architecture(**arch.to_dict()) == arch


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"topology": "vnet"}, "Unknown topology 'vnet'; choose one of: hourglass, unet, dla"),
        ({"block": "dense"}, "Unknown block 'dense'; choose one of: resnet, inception"),
        ({"stem": "heavy"}, "Unknown stem 'heavy'; choose one of: full, light"),
        (
            {"variant": "new"},
            "Unknown variant 'new'; choose one of: dfa, insightface, insightface_2018",
        ),
        ({"deformable": "all"}, "Unknown deformable 'all'; choose one of: none, between"),
        ({"dcn": 4}, "dcn is 4; choose 0, 1, 2 or 3"),
        ({"gate": True, "topology": "unet"}, "gate=True needs an aggregation topology"),
        ({"gate": True, "depth": 2}, "not 'sat' of depth 2"),
        ({"stacks": 0}, "stacks is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"num_landmarks": 0}, "num_landmarks is 0"),
        ({"width": 0.0}, "width is 0.0"),
        ({"width": -1.0}, "width is -1.0"),
        ({"width": float("nan")}, "width is nan"),
        ({"map_size": 60, "input_size": 120}, "map_size=60 cannot be halved depth=3 times"),
        ({"depth": 7}, "map_size=64 cannot be halved depth=7 times"),
        ({"input_size": 192}, "input_size=192 must be 2 or 4 times map_size=64"),
        ({"input_size": 64}, "input_size=64 must be"),
        ({"head_prior": 0.0}, "head_prior is 0.0"),
        ({"head_prior": 1.0}, "head_prior is 1.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(FaceAlignError) as caught:
        Architecture(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width, block", [(0.1, "cab"), (0.04, "cab"), (0.13, "hpm")])
def test_widths_that_do_not_divide(width, block):
    with pytest.raises(FaceAlignError, match="needs filters divisible by"):
        network("hourglass", 1, 1, block, width=width)
