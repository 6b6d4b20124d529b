"""The networks' graphs: sizes of the original's table, stems, precisions, bad settings."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import Architecture, build_network
from keras_facealign.models.stacked import prior_logit
from tests.layers import reference

# Learned parameters and running statistics at full width, 68 landmarks.
SIZES = {
    ("hourglass", 2, 3, "resnet"): (5302344, 25344),
    ("hourglass", 2, 4, "resnet"): (6586440, 31488),
    ("hourglass", 2, 3, "hpm"): (9659464, 22272),
    ("hourglass", 2, 4, "hpm"): (12097864, 27648),
    ("hourglass", 2, 3, "cab"): (9286792, 20832),
    ("hourglass", 2, 4, "cab"): (11624584, 25824),
    ("sat", 2, 3, "cab"): (10094728, 24288),
    ("sat", 2, 4, "cab"): (14008456, 32352),
    ("hourglass", 1, 4, "resnet"): (3423236, 16640),
    ("sat", 1, 3, "cab"): (5237828, 12896),
}


def network(*args, **kwargs):
    images, heatmaps = build_network(Architecture(*args, **kwargs))
    return keras.Model(images, heatmaps)


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


@pytest.mark.parametrize("row", SIZES, ids=lambda row: "-".join(map(str, row)))
def test_sizes_are_those_of_the_original(row):
    model = network(*row)
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


def test_narrow_widths_and_their_floor():
    """At 0.1875 the stem stays at 32 channels, as in the original, and the stacks have 48."""
    model = network("sat", 1, 3, width=0.1875)
    kernels = {v.path: tuple(v.shape) for v in model.weights}
    assert kernels["conv0/kernel"] == (3, 3, 3, 32)
    assert kernels["res2/sc/kernel"] == (1, 1, 32, 48)
    assert kernels["heatmap/kernel"] == (1, 1, 48, 68)
    assert Architecture(width=0.1875).filters == 48 and Architecture().filters == 256


def test_names_of_heads():
    names = {layer.name for layer in network("sat", 3, 1, width=0.125).layers}
    assert {"heatmap0", "heatmap1", "heatmap", "stack0_ll2", "stack1_out2", "sat2"} <= names
    # After the last stack nothing is fed onwards.
    assert not names & {"heatmap2", "stack2_ll2", "stack2_out2"}


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


def test_light_stem_has_no_side():
    """Mirrored kernels on a mirrored picture give the mirrored result, borders included."""
    model, images = network("sat", 1, 1, width=0.125, stem="light"), pictures(batch=1)
    layer = model.get_layer("conv0")
    plain = layer_output(model, "conv0", images)
    layer.kernel.assign(ops.convert_to_numpy(layer.kernel)[::-1, ::-1])
    mirrored = layer_output(model, "conv0", images[:, ::-1, ::-1])
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
        ({"topology": "unet"}, "Unknown topology 'unet'; choose one of: hourglass, sat"),
        ({"block": "dense"}, "Unknown block 'dense'; choose one of: resnet, hpm, cab"),
        ({"stem": "heavy"}, "Unknown stem 'heavy'; choose one of: full, light"),
        ({"stacks": 0}, "stacks=0"),
        ({"depth": 0}, "depth=0"),
        ({"num_landmarks": 0}, "num_landmarks=0"),
        ({"width": 0.0}, "width is 0.0"),
        ({"width": -1.0}, "width is -1.0"),
        ({"width": float("nan")}, "width is nan"),
        ({"map_size": 60, "input_size": 120}, "map_size=60 cannot be halved depth=3 times"),
        ({"depth": 7}, "map_size=64 cannot be halved depth=7 times"),
        ({"input_size": 192}, "input_size=192 must be 2 or 4 times map_size=64"),
        ({"input_size": 64}, "input_size=64 must be"),
        ({"input_size": 256, "stem": "light"}, "only 2 times with the light stem"),
        ({"head_prior": 0.0}, "head_prior is 0.0"),
        ({"head_prior": 1.0}, "head_prior is 1.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(FaceAlignError) as caught:
        Architecture(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("width, block", [(0.1, "cab"), (0.02, "cab"), (0.13, "hpm")])
def test_widths_that_do_not_divide(width, block):
    with pytest.raises(FaceAlignError, match="needs filters divisible by"):
        network("hourglass", 1, 1, block, width=width)
