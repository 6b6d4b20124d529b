"""Graphs in TensorFlow: the same function as the Keras layers, and rounded as int8 rounds."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.networks.tracing.lowering import trace
from keras_facealign.networks.tracing.simplification import simplify
from tests.export.networks import heatmaps, images, network, relative_error

if keras.backend.backend() != "tensorflow":
    pytest.skip("quantization is written in TensorFlow", allow_module_level=True)

from keras_facealign.export.quantize import calibrate_ranges, evaluate, fake_quantized


@pytest.mark.parametrize(
    "fields",
    [
        {"topology": "sat", "depth": 3, "stem": "light"},
        {"topology": "sat", "input_size": 64, "gate": True, "depth": 3},
        {"topology": "sat", "deformable": "heads"},
        {"topology": "hourglass", "block": "hpm"},
        {"topology": "hourglass", "block": "inception", "variant": "insightface_2018"},
        {"topology": "dla"},
    ],
)
def test_every_operation_is_the_layers(fields):
    model = network(**fields)
    batch = images(size=model.input_size)
    for graph in (trace(model, keep_layers=True), simplify(trace(model, keep_layers=True))):
        graph.outputs = graph.outputs[model.architecture.stacks - 1 :][:1]
        found = evaluate(graph, keras.ops.convert_to_tensor(batch)).numpy()
        assert relative_error(found, heatmaps(model, batch)[model.architecture.stacks - 1]) < 1e-4


def test_ranges_are_the_extremes_over_all_images():
    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2D(2, 1)
    last = keras.layers.Conv2D(1, 1)
    model = keras.Model(inputs, last(keras.layers.ReLU()(layer(inputs))))
    graph = simplify(trace(model))
    batch = np.random.default_rng(0).integers(0, 256, (37, 4, 4, 3)).astype("uint8")
    ((low, high),) = calibrate_ranges(graph, batch).values()
    kernel, bias = layer.get_weights()
    truth = np.maximum(batch.astype("float64") @ kernel[0, 0] + bias, 0)
    assert low == 0.0
    np.testing.assert_allclose(high, truth.max(), rtol=1e-5)


def test_rounding_has_a_scale_a_channel_and_255_steps():
    """One hidden convolution, rounded by hand: weights by channel, its result by the range."""
    inputs = keras.Input((2, 2, 3))
    layer, last = keras.layers.Conv2D(4, 1, use_bias=False), keras.layers.Conv2D(1, 1)
    model = keras.Model(inputs, last(layer(inputs)))
    rng = np.random.default_rng(0)
    kernel = (rng.normal(size=(1, 1, 3, 4)) * (0.01, 0.1, 1, 10)).astype("float32")
    layer.set_weights([kernel])
    graph = trace(model)
    batch = rng.integers(0, 256, (5, 2, 2, 3)).astype("uint8")
    ranges = calibrate_ranges(graph, batch)
    found = fake_quantized(graph, ranges)(keras.ops.convert_to_tensor(batch.astype("float32")))
    step = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    hidden = batch.astype("float64") @ (np.rint(kernel / step) * step)[0, 0]
    ((low, high),) = ranges.values()
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    hidden = (np.clip(np.rint(hidden / scale) + zero, 0, 255) - zero) * scale
    head, bias = last.get_weights()
    expected = hidden @ head[0, 0] + bias
    # float32 may round the other way at a half: one step of one hidden value.
    np.testing.assert_allclose(found, expected, atol=1.01 * scale * np.abs(head).max())
    assert np.median(np.abs(found - expected)) < 1e-2 * scale
