"""The convolution blocks: arithmetic, sizes, widths, dtypes and configuration."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import (
    BLOCKS,
    ChannelAggregationBlock,
    ConvBatchNorm,
    HPMBlock,
    InceptionBlock,
    ResNetBlock,
    make_block,
)
from keras_facealign.layers.common import batch_norm, conv, he_normal
from tests.layers import reference

REFERENCES = {
    ResNetBlock: reference.resnet,
    HPMBlock: reference.hpm,
    InceptionBlock: reference.inception,
    ChannelAggregationBlock: reference.cab,
}
CASES = [  # block, input channels, output channels
    (ResNetBlock, 16, 16),
    (ResNetBlock, 6, 16),
    (HPMBlock, 16, 16),
    (HPMBlock, 6, 16),
    (InceptionBlock, 16, 16),
    (ChannelAggregationBlock, 16, 16),
]


def images(channels, shape=(2, 6, 5), seed=1):
    return np.random.default_rng(seed).normal(size=(*shape, channels)).astype(np.float32)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


@pytest.mark.parametrize("block, channels, filters", CASES)
def test_against_numpy(block, channels, filters):
    layer, x = block(filters, name="n"), images(channels)
    layer.build(x.shape)
    reference.randomize(layer)
    found = ops.convert_to_numpy(layer(x, training=False))
    assert found.shape == (2, 6, 5, filters)
    assert layer.compute_output_shape(x.shape) == found.shape
    expected = REFERENCES[block](x.astype(np.float64), reference.weights(layer))
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=2e-4)
    assert expected.std() > 0.1


@pytest.mark.parametrize("side", [6, 7])
def test_strided_unit_pads_alike_on_all_sides(side):
    layer = ConvBatchNorm(4, activation="sigmoid", strides=2, name="n")
    x = images(4, (2, side, 6))
    layer.build(x.shape)
    reference.randomize(layer)
    w = reference.weights(layer)
    whole = reference.batch_norm(reference.conv(x, w["conv/kernel"]), w, "bn")
    expected = 1 / (1 + np.exp(-whole[:, ::2, ::2]))
    found = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == found.shape


@pytest.mark.parametrize("depthwise", [False, True])
def test_unit_against_numpy(depthwise):
    layer, x = ConvBatchNorm(4, depthwise=depthwise, name="n"), images(4)
    layer.build(x.shape)
    reference.randomize(layer)
    w = reference.weights(layer)
    convolve = reference.depthwise_conv if depthwise else reference.conv
    expected = reference.relu(reference.batch_norm(convolve(x, w["conv/kernel"]), w, "bn"))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-5)


def bn(width):
    """Learned, running."""
    return np.array([2 * width, 2 * width])


@pytest.mark.parametrize("f", [16, 64])
def test_parameter_counts(f):
    q, e = f // 4, f // 8
    half = f // 2
    expected = {
        ResNetBlock: bn(f) + 2 * bn(half) + [f * half + 9 * half * half + half * f, 0],
        HPMBlock: bn(f) + bn(half) + bn(q) + [9 * (f * half + half * q + q * q), 0],
        ChannelAggregationBlock: 2 * bn(half)
        + 2 * bn(q)
        + bn(e)
        + [9 * (f * half + half * q + q * e) + 9 * (half + q), 0],
    }
    for block, numbers in expected.items():
        layer = block(f)
        layer.build((None, 8, 8, f))
        found = (count(layer.trainable_weights), count(layer.non_trainable_weights))
        assert found == tuple(numbers), block


def test_parameter_counts_of_the_original_at_full_width():
    original = {
        ResNetBlock: (214016, 1024),
        HPMBlock: (406400, 896),
        ChannelAggregationBlock: (389632, 832),
    }
    for block, numbers in original.items():
        layer = block(256)
        layer.build((None, 64, 64, 256))
        assert (count(layer.trainable_weights), count(layer.non_trainable_weights)) == numbers


def test_a_change_of_width_adds_one_convolution_without_bias():
    for block in (ResNetBlock, HPMBlock):
        same, other = block(16), block(16)
        same.build((None, 8, 8, 16))
        other.build((None, 8, 8, 8))
        kernels = {v.path.split("/", 1)[1]: v.shape for v in other.trainable_weights}
        assert kernels["sc/kernel"] == (1, 1, 8, 16) and "sc/bias" not in kernels
        assert not any("/sc/" in v.path for v in same.weights)


@pytest.mark.parametrize(
    "block, filters, channels, message",
    [
        (ResNetBlock, 15, 15, "ResNetBlock 'n' needs filters divisible by 2, got 15"),
        (ResNetBlock, 0, 8, "got 0"),
        (HPMBlock, 18, 18, "HPMBlock 'n' needs filters divisible by 4, got 18"),
        (ChannelAggregationBlock, 20, 20, "needs filters divisible by 8, got 20"),
        (ChannelAggregationBlock, 4, 4, "needs filters divisible by 8, got 4"),
        (ChannelAggregationBlock, 16, 8, "filters=16 needs an input of 16 channels, got 8"),
    ],
)
def test_bad_widths(block, filters, channels, message):
    with pytest.raises(FaceAlignError) as caught:
        block(filters, name="n").build((None, 8, 8, channels))
    assert message in str(caught.value)


@pytest.mark.parametrize("block, channels, filters", CASES)
def test_config_round_trip(block, channels, filters):
    layer = block(filters, name="here", dtype="mixed_bfloat16", trainable=False)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is block
    assert copy.get_config() == layer.get_config()
    assert copy.dtype_policy.name == "mixed_bfloat16" and copy.name == "here"


def test_config_round_trip_of_the_unit():
    layer = ConvBatchNorm(8, 5, depthwise=True, name="here")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.filters, copy.kernel_size, copy.depthwise) == (8, 5, True)


@pytest.mark.parametrize("block, channels, filters", CASES)
def test_bfloat16_layers_compute_in_it_and_keep_float32_weights(block, channels, filters):
    x = images(channels)
    exact, half = block(filters, name="n"), block(filters, name="n", dtype="mixed_bfloat16")
    for layer in (exact, half):
        layer.build(x.shape)
        reference.randomize(layer)
    assert {part.compute_dtype for part in half._flatten_layers()} == {"bfloat16"}
    assert {keras.backend.standardize_dtype(v.dtype) for v in half.weights} == {"float32"}
    found = half(x)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    expected = ops.convert_to_numpy(exact(x))
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("block, channels, filters", CASES)
def test_training_moves_every_running_statistic(block, channels, filters):
    """Momentum 0.9 on batch statistics: every batch norm is told whether it trains."""
    layer, x = block(filters), images(channels)
    layer.build(x.shape)
    reference.randomize(layer)
    before = [ops.convert_to_numpy(v.value) for v in layer.non_trainable_weights]
    layer(x, training=False)
    for variable, value in zip(layer.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable.value), value)
    layer(x, training=True)
    for variable, value in zip(layer.non_trainable_weights, before, strict=True):
        assert (ops.convert_to_numpy(variable.value) != value).all(), variable.path


def test_batch_norm_is_the_originals():
    layer, x = batch_norm("bn"), images(3)
    found = ops.convert_to_numpy(layer(x, training=True))
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(found, (x - mean) / np.sqrt(variance + 2e-5), atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_mean), 0.1 * mean, atol=1e-6)
    # The original keeps the variance of the batch itself, not an estimate of the population's.
    expected = 0.9 + 0.1 * variance
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_variance), expected, rtol=1e-4)


def test_initial_weights_have_variance_two_over_fan_in():
    dense = conv(256, 3, "c")
    dense.build((None, 8, 8, 64))
    kernel = ops.convert_to_numpy(dense.kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.01)
    assert np.abs(kernel).max() > 3.5 * kernel.std()  # a truncated normal ends at 2
    depthwise = ConvBatchNorm(512, depthwise=True)
    depthwise.build((None, 8, 8, 512))
    kernel = ops.convert_to_numpy(depthwise.conv.kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 9), rel=0.05)
    assert he_normal(50).stddev == pytest.approx(0.2)


def test_blocks_by_name():
    assert set(BLOCKS) == {"resnet", "inception", "hpm", "cab"}
    assert type(make_block("resnet", 8, 16, "n")) is ResNetBlock
    assert type(make_block("hpm", 16, 16, "n")) is HPMBlock
    assert type(make_block("cab", 16, 16, "n")) is ChannelAggregationBlock
    assert type(make_block("inception", 16, 16, "n")) is InceptionBlock
    # Two of the original's networks widen with another block.
    assert type(make_block("cab", 8, 16, "n")) is HPMBlock
    assert type(make_block("inception", 8, 16, "n")) is ResNetBlock
    assert make_block("cab", 8, 16, "n").name == "n"
    with pytest.raises(
        FaceAlignError, match="Unknown block 'xception'.*resnet, inception, hpm, cab"
    ):
        make_block("xception", 8, 8, "n")
