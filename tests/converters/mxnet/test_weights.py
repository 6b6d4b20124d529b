"""Weights by the names that their paths stand for, and the layouts of both sides."""

import keras
import numpy as np
import pytest

from keras_facealign.converters import load_mxnet_weights
from keras_facealign.converters.mxnet.weights import to_keras_layout, to_mxnet_layout
from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import ConvBatchNorm
from keras_facealign.layers.upsampling import DepthwiseUpsampling2D
from tests.converters.mxnet.file_bytes import file_bytes, random

GOOD = random((2, 3))


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
    load_mxnet_weights(model, save(write, arrays))
    expect(weights_of(model), arrays, prefix)


def test_one_channel_everywhere(write):
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.DepthwiseConv2D(2, use_bias=False, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 2, use_bias=False, name="b")(x))
    arrays = {"arg:a_weight": random((1, 1, 2, 2), 1), "arg:b_weight": random((1, 1, 2, 2), 2)}
    load_mxnet_weights(model, save(write, arrays))
    for layer in "ab":
        kernel = weights_of(model)[f"{layer}/kernel"]
        np.testing.assert_array_equal(kernel[:, :, 0, 0], arrays[f"arg:{layer}_weight"][0, 0])


def test_a_layer_may_bear_the_models_name(write):
    model, arrays = small_model(name="heatmap"), small_arrays()
    load_mxnet_weights(model, save(write, arrays))
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
    load_mxnet_weights(model, save(write, arrays))
    np.testing.assert_array_equal(weights_of(model)["mine/conv0/bias"], arrays["arg:conv0_bias"])


def test_dense_layers_and_depthwise_upsampling(write):
    inputs = keras.Input((2, 2, 3))
    x = DepthwiseUpsampling2D(name="sat0_upsampling_w1_h3")(inputs)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(48, name="loc")(x))
    arrays = {
        "arg:dla0_upsampling_w1_h3_weight": random((3, 1, 2, 2), 1),
        "arg:loc_weight": random((48, 48), 2),
        "arg:loc_bias": random(48, 3),
    }
    load_mxnet_weights(model, save(write, arrays))
    weights = weights_of(model)
    for (c, _, y, x), value in np.ndenumerate(arrays["arg:dla0_upsampling_w1_h3_weight"]):
        assert weights["sat0_upsampling_w1_h3/kernel"][y, x, c, 0] == value
    # A square matrix too: (out, in) there, (in, out) here.
    for (o, i), value in np.ndenumerate(arrays["arg:loc_weight"]):
        assert weights["loc/kernel"][i, o] == value


@pytest.mark.parametrize(
    "shape", [(5, 3, 3, 2), (5, 1, 2, 2), (1, 5, 2, 2), (1, 1, 3, 3), (4, 4, 2, 2), (4, 6), (5,)]
)
def test_the_layouts_are_each_others_inverse(shape):
    array = random(shape)
    keras_shapes = {tuple(np.transpose(array, order).shape) for order in permutations_of(array)}
    for keras_shape in keras_shapes:
        there = to_keras_layout(array, keras_shape)
        np.testing.assert_array_equal(to_mxnet_layout(there, shape), array)


def permutations_of(array):
    return {4: [(2, 3, 1, 0), (2, 3, 0, 1)], 2: [(1, 0)], 1: [(0,)]}[array.ndim]


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
        "has grids of several prefixes, 'arg:sat0_w1_h3_x_conv_weight', 'arg:sta0_",
    ),
}


@pytest.mark.parametrize("arrays, message", BAD_FITS.values(), ids=BAD_FITS.keys())
def test_a_file_that_does_not_fit_leaves_the_model_alone(write, arrays, message):
    model, path = small_model(), save(write, arrays)
    before = weights_of(model)
    with pytest.raises(FaceAlignError) as caught:
        load_mxnet_weights(model, path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_two_weights_of_one_name_are_refused(write):
    inputs = keras.Input((4, 4, 1))
    x = ConvBatchNorm(1, 1, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, name="a_conv")(x))
    assert {"a/conv/kernel", "a_conv/kernel"} <= {v.path for v in model.weights}
    with pytest.raises(FaceAlignError, match="Two weights of the model are called 'arg:a_conv_wei"):
        load_mxnet_weights(model, save(write, {}))
