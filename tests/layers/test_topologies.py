"""Hourglass and scale aggregation from the parts they are built of, and the decoding layer."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import HeatmapDecoder, Hourglass, ScaleAggregation
from keras_facealign.ops import decode_heatmaps
from tests.layers import reference

TOPOLOGIES = {
    "hourglass of resnet": lambda **kw: Hourglass(16, depth=2, block="resnet", **kw),
    "hourglass of hpm": lambda **kw: Hourglass(16, depth=1, block="hpm", **kw),
    "hourglass of cab": lambda **kw: Hourglass(16, depth=2, block="cab", **kw),
    "sat 2": lambda **kw: ScaleAggregation(16, depth=2, **kw),
    "sat 3": lambda **kw: ScaleAggregation(16, depth=3, **kw),
    "sat 4": lambda **kw: ScaleAggregation(16, depth=4, **kw),
}
BUILDERS = pytest.mark.parametrize("build", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())


def images(side=16, batch=2, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, side, side, 16)).astype(np.float32)


def built(layer, x):
    layer.build(x.shape)
    reference.randomize(layer)
    return layer


def inner(w, prefix):
    """The weights below a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in w.items() if k.startswith(prefix)}


def max_pool(x):
    return np.maximum.reduce([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def nearest(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def slow_hourglass(x, w, depth, block):
    low = block(max_pool(x), inner(w, "low1_0/"))
    if depth > 1:
        low = slow_hourglass(low, inner(w, f"{depth - 1}/"), depth - 1, block)
    else:
        low = block(low, inner(w, "low2_0/"))
    low = block(low, inner(w, "low3_0/"))
    return block(x, inner(w, "up1_0/")) + nearest(low)


def deconv(x, kernel):
    """Transposed, 2x2, stride 2: every pixel becomes four; kernel (2, 2, out, in)."""
    batch, height, width, _ = x.shape
    result = np.zeros((batch, 2 * height, 2 * width, kernel.shape[2]))
    for i in (0, 1):
        for j in (0, 1):
            result[:, i::2, j::2] = x @ kernel[i, j].T
    return result


def slow_sat(x, w, depth):
    """Node by node from the output backwards."""
    n = depth + 1

    def node(column, row):
        if (column, row) == (n, n):
            return x
        if row == n:
            y = reference.cab(node(column + 1, n), inner(w, f"w{column}_h{n}_1/"))
            return reference.cab(max_pool(y), inner(w, f"w{column}_h{n}_2/"))
        same, half = node(column + 1, row + 1), node(column, row + 1)
        if row % 2 == 1 and row != column:
            part = inner(w, f"w{column}_h{row}_x/")
            same = reference.depthwise_conv(same, part["conv/kernel"])
            same = reference.relu(reference.batch_norm(same, part, "bn"))
        if column > 1:
            up = deconv(half, w[f"upsampling_w{column}_h{row}/kernel"])
            up = reference.relu(reference.batch_norm(up, w, f"w{column}_h{row}_y_bn"))
        else:
            up = reference.cab(nearest(half), inner(w, f"w{column}_h{row}_4/"))
        return (same + up) / 2

    return node(1, 1)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_hourglass_against_numpy(depth):
    x = images(8)
    layer = built(Hourglass(16, depth=depth, block="resnet", name="n"), x)
    expected = slow_hourglass(x, reference.weights(layer), depth, reference.resnet)
    found = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)
    assert expected.std() > 0.3


@pytest.mark.parametrize("depth, side", [(2, 8), (3, 8), (4, 16)])
def test_scale_aggregation_against_numpy(depth, side):
    x = images(side, batch=1)
    layer = built(ScaleAggregation(16, depth=depth, name="n"), x)
    expected = slow_sat(x.astype(np.float64), reference.weights(layer), depth)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-3, rtol=1e-3)
    assert expected.std() > 0.1


@BUILDERS
def test_shapes_do_not_change(build):
    layer, x = build(), images(32, batch=1)
    assert layer(x).shape == x.shape
    assert layer.compute_output_shape((None, None, None, 16)) == (None, None, None, 16)
    # Rectangles, as long as every side can be halved.
    assert layer(x[:, :16]).shape == (1, 16, 32, 16)


@BUILDERS
def test_config_round_trip(build):
    layer, x = build(name="n"), images(16, batch=1)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    built(layer, x)
    copy.build(x.shape)
    assert [v.path for v in copy.weights] == [v.path for v in layer.weights]
    copy.set_weights(layer.get_weights())
    found, expected = (ops.convert_to_numpy(m(x)) for m in (copy, layer))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@BUILDERS
def test_bfloat16_reaches_every_part(build):
    x = images(16, batch=1)
    layer = built(build(dtype="mixed_bfloat16"), x)
    assert {part.compute_dtype for part in layer._flatten_layers()} == {"bfloat16"}
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} == {"float32"}
    found = layer(x)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    assert np.isfinite(ops.convert_to_numpy(ops.cast(found, "float32"))).all()


@BUILDERS
def test_training_moves_every_running_statistic(build):
    x = images(16)
    layer = built(build(), x)
    statistics = [ops.convert_to_numpy(v.value) for v in layer.non_trainable_weights]
    layer(x, training=True)
    for variable, value in zip(layer.non_trainable_weights, statistics, strict=True):
        assert (ops.convert_to_numpy(variable.value) != value).all(), variable.path


def test_bad_width_and_bad_block():
    with pytest.raises(FaceAlignError, match="needs filters divisible by 8, got 12"):
        ScaleAggregation(12).build((None, 16, 16, 12))
    with pytest.raises(FaceAlignError, match="needs filters divisible by 4, got 10"):
        Hourglass(10, block="hpm").build((None, 16, 16, 10))
    with pytest.raises(FaceAlignError, match="Unknown block 'dense'"):
        Hourglass(16, block="dense").build((None, 16, 16, 16))


def test_decoder_layer():
    maps = np.random.default_rng(2).normal(size=(2, 16, 16, 5)).astype(np.float32)
    layer = HeatmapDecoder(32, "taylor")
    for found, expected in zip(layer(maps), decode_heatmaps(maps, 32, "taylor"), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    symbolic = layer(keras.Input((16, 16, 5), dtype="float16"))
    assert [tuple(t.shape) for t in symbolic] == [(None, 5, 2), (None, 5)]
    assert [t.dtype for t in symbolic] == ["float32", "float32"]
