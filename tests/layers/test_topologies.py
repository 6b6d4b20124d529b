"""Hourglass, U-Net and aggregation from the parts they are built of, and the decoding layer."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import (
    DepthwiseUpsampling2D,
    HeatmapDecoder,
    Hourglass,
    InceptionBlock,
    ScaleAggregation,
    UNet,
)
from keras_facealign.ops import decode_heatmaps
from tests.layers import reference

TOPOLOGIES = {
    "hourglass of resnet": lambda **kw: Hourglass(16, depth=2, block="resnet", **kw),
    "hourglass of hpm": lambda **kw: Hourglass(16, depth=1, block="hpm", **kw),
    "hourglass of cab": lambda **kw: Hourglass(16, depth=2, block="cab", **kw),
    "sat 2": lambda **kw: ScaleAggregation(16, depth=2, **kw),
    "sat 3": lambda **kw: ScaleAggregation(16, depth=3, **kw),
    "sat 4": lambda **kw: ScaleAggregation(16, depth=4, **kw),
    "unet": lambda **kw: UNet(16, depth=2, block="cab", **kw),
    "old hourglass": lambda **kw: Hourglass(16, depth=2, learned_upsampling=True, **kw),
    "sat ii, gate": lambda **kw: ScaleAggregation(
        16, 3, "dense", downward=True, gate=True, learned_upsampling=True, **kw
    ),
}
NAMES = pytest.mark.parametrize("name", TOPOLOGIES)


def images(side=16, batch=2, seed=1):
    return np.random.default_rng(seed).normal(size=(batch, side, side, 16)).astype(np.float32)


def built(layer, x):
    layer.build(x.shape)
    reference.randomize(layer)
    return layer


@functools.cache
def topology(name):
    """One for several tests, with random weights."""
    return built(TOPOLOGIES[name](name="n"), images(16, batch=1))


def inner(w, prefix):
    """The weights below a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in w.items() if k.startswith(prefix)}


def max_pool(x):
    return np.maximum.reduce([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def nearest(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def double(x, w, name):
    """By the kernel of that name where there is one, else by repetition."""
    if f"{name}/kernel" not in w:
        return nearest(x)
    kernel = w[f"{name}/kernel"][..., 0]  # (2, 2, C)
    result = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3]))
    for i in (0, 1):
        for j in (0, 1):
            result[:, i::2, j::2] = x * kernel[i, j]
    return result


def unit(x, w, convolve):
    """Convolution, batch norm, ReLU."""
    return reference.relu(reference.batch_norm(convolve(x, w["conv/kernel"]), w, "bn"))


def slow_hourglass(x, w, depth, block, lateral=None):
    low = block(max_pool(x), inner(w, "low1_0/"))
    if depth > 1:
        low = slow_hourglass(low, inner(w, f"{depth - 1}/"), depth - 1, block, lateral)
    else:
        low = block(low, inner(w, "low2_0/"))
    low = block(low, inner(w, "low3_0/"))
    return (lateral or block)(x, inner(w, "up1_0/")) + double(low, w, f"upsampling_{depth}")


def deconv(x, kernel):
    """Transposed, 2x2, stride 2: every pixel becomes four; kernel (2, 2, out, in)."""
    batch, height, width, _ = x.shape
    result = np.zeros((batch, 2 * height, 2 * width, kernel.shape[2]))
    for i in (0, 1):
        for j in (0, 1):
            result[:, i::2, j::2] = x @ kernel[i, j].T
    return result


def slow_sat(x, w, depth, dense=False, downward=False, gate=False):
    """Node by node from the output backwards."""
    n = depth + 1

    @functools.cache
    def node(column, row):
        if (column, row) == (n, n):
            return x
        if row == n:
            y = reference.cab(node(column + 1, n), inner(w, f"w{column}_h{n}_1/"))
            return reference.cab(max_pool(y), inner(w, f"w{column}_h{n}_2/"))
        same, half = node(column + 1, row + 1), node(column, row + 1)
        part = inner(w, f"w{column}_h{row}_x/")
        if dense:
            same = unit(same, part, reference.conv)
        elif row % 2 == 1 and row != column:
            same = unit(same, part, reference.depthwise_conv)
        if column > 1:
            up = deconv(half, w[f"upsampling_w{column}_h{row}/kernel"])
            up = reference.relu(reference.batch_norm(up, w, f"w{column}_h{row}_y_bn"))
        else:
            up = double(half, w, f"upsampling_w{column}_h{row}")
            up = reference.cab(up, inner(w, f"w{column}_h{row}_4/"))
        value = (same + up) / 2
        if downward and column != row:
            part = inner(w, f"w{column}_h{row}_z/")
            down = reference.conv(node(column + 1, row), part["conv/kernel"])[:, ::2, ::2]
            down = 1 / (1 + np.exp(-reference.batch_norm(down, part, "bn")))
            value = (same + up + down) / 3
        if gate and (column, row) == (2, 3):
            value = value * node(3, 3).mean(axis=(1, 2), keepdims=True)
        return value

    return node(1, 1)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_hourglass_against_numpy(depth):
    x = images(8)
    layer = built(Hourglass(16, depth=depth, block="resnet", name="n"), x)
    expected = slow_hourglass(x, reference.weights(layer), depth, reference.resnet)
    found = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-3)
    assert expected.std() > 0.3


@pytest.mark.parametrize("learned", [False, True])
def test_unet_against_numpy(learned):
    x = images(8)
    layer = built(UNet(16, depth=2, block="hpm", learned_upsampling=learned, name="n"), x)
    lateral = functools.partial(unit, convolve=reference.conv)
    expected = slow_hourglass(x, reference.weights(layer), 2, reference.hpm, lateral)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-3, rtol=1e-3)
    assert any("upsampling" in v.path for v in layer.weights) == learned
    assert expected.std() > 0.3


VARIANTS = {
    "dla": {"dense": True},
    "sat ii": {"dense": True, "downward": True},
    "gate": {"gate": True},
    "all": {"dense": True, "downward": True, "gate": True},
}


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_aggregation_variants_against_numpy(options, learned):
    x = images(8, batch=1)
    settings = {
        "laterals": "dense" if options.get("dense") else "depthwise",
        "downward": options.get("downward", False),
        "gate": options.get("gate", False),
        "learned_upsampling": learned,
    }
    layer = built(ScaleAggregation(16, depth=3, name="n", **settings), x)
    expected = slow_sat(x.astype(np.float64), reference.weights(layer), 3, **options)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-3, rtol=1e-3)
    plain = slow_sat(x.astype(np.float64), reference.weights(layer), 3, options.get("dense", False))
    assert (np.abs(plain - expected).max() > 1e-2) == (options != {"dense": True})
    assert expected.std() > 0.05


def test_learned_upsampling_starts_at_the_top_left():
    x = images(4, batch=1)
    found = ops.convert_to_numpy(DepthwiseUpsampling2D()(x))
    expected = np.zeros((1, 8, 8, 16), np.float32)
    expected[:, ::2, ::2] = x
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("depth, side", [(2, 8), (3, 8), (4, 16)])
def test_scale_aggregation_against_numpy(depth, side):
    x = images(side, batch=1)
    layer = built(ScaleAggregation(16, depth=depth, name="n"), x)
    expected = slow_sat(x.astype(np.float64), reference.weights(layer), depth)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-3, rtol=1e-3)
    assert expected.std() > 0.1


@NAMES
def test_shapes_do_not_change(name):
    layer, x = topology(name), images(16, batch=1)
    assert layer(x).shape == x.shape
    assert layer.compute_output_shape((None, None, None, 16)) == (None, None, None, 16)
    # Rectangles, as long as every side can be halved.
    assert layer(images(32, batch=1)[:, :16]).shape == (1, 16, 32, 16)


@NAMES
def test_config_round_trip(name):
    layer, x = topology(name), images(16, batch=1)
    new = TOPOLOGIES[name](name="n")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(new))
    assert copy.get_config() == layer.get_config()
    copy.build(x.shape)
    assert [v.path for v in copy.weights] == [v.path for v in layer.weights]
    copy.set_weights(layer.get_weights())
    found, expected = (ops.convert_to_numpy(m(x)) for m in (copy, layer))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@NAMES
def test_bfloat16_reaches_every_part(name):
    x = images(16, batch=1)
    layer = built(TOPOLOGIES[name](dtype="mixed_bfloat16"), x)
    assert {part.compute_dtype for part in layer._flatten_layers()} == {"bfloat16"}
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} == {"float32"}
    found = layer(x)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    assert np.isfinite(ops.convert_to_numpy(ops.cast(found, "float32"))).all()


@NAMES
def test_training_moves_every_running_statistic(name):
    layer, x = topology(name), images(16)
    statistics = [ops.convert_to_numpy(v.value) for v in layer.non_trainable_weights]
    layer(x, training=True)
    for variable, value in zip(layer.non_trainable_weights, statistics, strict=True):
        assert (ops.convert_to_numpy(variable.value) != value).all(), variable.path


def test_bad_width_and_bad_block():
    with pytest.raises(FaceAlignError, match="needs filters divisible by 8, got 12"):
        ScaleAggregation(12).build((None, 16, 16, 12))
    with pytest.raises(FaceAlignError, match="needs filters divisible by 4, got 10"):
        Hourglass(10, block="hpm").build((None, 16, 16, 10))
    with pytest.raises(FaceAlignError, match="filters=16 needs an input of 16 channels, got 8"):
        InceptionBlock(16).build((None, 16, 16, 8))
    with pytest.raises(FaceAlignError, match='choose "depthwise" or "dense"'):
        ScaleAggregation(16, laterals="none")
    with pytest.raises(FaceAlignError, match="gate=True needs depth=3 or more, got 2"):
        ScaleAggregation(16, 2, gate=True)
    with pytest.raises(FaceAlignError, match="Unknown block 'dense'"):
        Hourglass(16, block="dense").build((None, 16, 16, 16))


def test_decoder_layer():
    maps = np.random.default_rng(2).normal(size=(2, 16, 16, 5)).astype(np.float32)
    layer = HeatmapDecoder(32, "taylor")
    tensors = ops.convert_to_tensor(maps)
    for found, expected in zip(layer(maps), decode_heatmaps(tensors, 32, "taylor"), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    symbolic = layer(keras.Input((16, 16, 5), dtype="float16"))
    assert [tuple(t.shape) for t in symbolic] == [(None, 5, 2), (None, 5)]
    assert [t.dtype for t in symbolic] == ["float32", "float32"]
