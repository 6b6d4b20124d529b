"""Graphs are the networks that they were traced from, before and after every rewriting."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.networks import count_macs
from keras_facealign.networks.tracing import UnsupportedLayerError, fold_batch_norm, simplify, trace
from keras_facealign.networks.tracing.folding import to_keras
from keras_facealign.networks.tracing.simplification import merge_upsampling
from tests.export.networks import heatmaps, images, network, relative_error

NETWORKS = [
    {"topology": "sat"},
    {"topology": "sat", "depth": 3, "stacks": 2},
    {"topology": "sat", "stem": "light"},
    {"topology": "sat", "input_size": 64},
    {"topology": "hourglass", "block": "cab", "stacks": 2},
    {"topology": "hourglass", "block": "hpm"},
    {"topology": "hourglass", "block": "resnet", "depth": 2},
    {"topology": "hourglass", "block": "inception"},
    {"topology": "unet"},
]


def name_of(fields):
    return "-".join(str(value) for value in fields.values())


@pytest.mark.slow
@pytest.mark.parametrize("fields", NETWORKS, ids=name_of)
def test_every_rewriting_leaves_the_heatmaps_as_they_are(fields):
    model = network(**fields)
    batch = images(size=model.input_size)
    expected = heatmaps(model, batch)
    graph = trace(model)
    assert graph.macs() == count_macs(model)
    for rewrite in (lambda g: g, simplify, merge_upsampling):
        found = heatmaps(to_keras(rewrite(graph)), batch)
        assert len(found) == model.architecture.stacks
        for maps, truth in zip(found, expected, strict=True):
            assert relative_error(maps, truth) < 1e-4


def test_folding_keeps_the_model_and_leaves_no_batch_norm():
    model = network(topology="sat", depth=2)
    before = [w.numpy() if hasattr(w, "numpy") else np.asarray(w) for w in model.weights]
    folded = fold_batch_norm(model)
    assert relative_error(heatmaps(folded, images())[0], heatmaps(model, images())[0]) < 1e-4
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in folded.layers)
    assert folded.count_params() < model.count_params()
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable))


def test_batch_norm_stays_where_no_convolution_can_take_it():
    """In front of an HPM block's convolutions, and behind one whose own result is joined."""
    counts = [
        sum(node.op == "affine" for node in simplify(trace(network("hourglass", block))).nodes())
        for block in ("hpm", "cab")
    ]
    # The input's scaling is one. An HPM block has three, a CAB none.
    assert counts == [1 + 3 * (3 + 4 + 1), 1]


def test_a_channel_aggregation_block_is_two_sums_of_halves_and_one_of_the_whole():
    model = network(topology="hourglass", depth=1)
    graph = simplify(trace(model))
    (first,) = [
        node
        for node in graph.nodes()
        if node.op == "conv" and node.name.startswith("stack0_unit0/w3")
    ]
    block = [node for node in graph.nodes() if "stack0_unit0/" in node.name and node.macs]
    assert sorted(node.op for node in block) == ["conv"] * 3 + ["depthwise"] * 2
    assert all(node.params["activation"] == "relu" for node in block)
    users = [node for node in graph.nodes() if first.inputs[0] in node.inputs and node.op == "sum"]
    # The input comes in once, an eighth of it; all other weights are in the convolutions.
    assert [node.params["weights"] for node in users] == [[0.125, 1.0]]


def test_upsampling_merges_into_four_ninths_of_the_multiplications():
    rng = np.random.default_rng(0)
    inputs = keras.Input((5, 6, 3))
    x = keras.layers.UpSampling2D(2)(inputs)
    layer = keras.layers.Conv2D(4, 3, padding="same")
    model = keras.Model(inputs, layer(x))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    graph = trace(model)
    before = graph.macs()
    merge_upsampling(graph)
    assert [node.op for node in graph.nodes()] == ["input", "deconv"]
    # Without the border that the nine taps of the first network multiply with zeros.
    assert 9 * graph.macs() == 4 * before
    batch = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    kernel, bias = layer.get_weights()
    big = np.pad(batch.repeat(2, 1).repeat(2, 2), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(
        big[:, i : i + 10, j : j + 12] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    found = keras.ops.convert_to_numpy(to_keras(graph)(batch))
    np.testing.assert_allclose(found, expected + bias, atol=1e-5)


def test_sums_of_repeated_sums_come_out_the_same():
    """Weights that cancel, tensors on several ways, repetition twice over."""
    inputs = keras.Input((4, 4, 8))
    half = keras.layers.Conv2D(4, 1)(inputs)
    quarter = keras.layers.Conv2D(2, 1, activation="relu")(half)

    def twice(x):
        return keras.ops.concatenate([x, x], axis=-1)

    inner = (half + twice(quarter)) * 0.5
    total = (inputs * 3.0 + twice(inner)) / 4.0 + twice(half) * -0.25
    outputs = keras.layers.Conv2D(3, 1)(total + twice(twice(quarter)))
    model = keras.Model(inputs, outputs)
    batch = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(batch))
    graph = simplify(trace(model))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(to_keras(graph)(batch)), expected, atol=1e-5
    )
    assert sum(node.op == "sum" for node in graph.nodes()) == 2


def test_what_a_graph_cannot_hold_is_named():
    inputs = keras.Input((8, 8, 2))
    cases = {
        "dilated": keras.layers.Conv2D(2, 3, dilation_rate=2),
        "interpolates": keras.layers.UpSampling2D(2, interpolation="bilinear"),
        "tanh": keras.layers.Activation("tanh"),
        "does not divide": keras.layers.MaxPooling2D(3),
        "no place": keras.layers.Permute((2, 1, 3)),
    }
    for complaint, layer in cases.items():
        with pytest.raises(UnsupportedLayerError, match=complaint):
            trace(keras.Model(inputs, layer(inputs)))
    unsized = keras.Input((None, None, 2))
    with pytest.raises(FaceAlignError, match="fixed size"):
        trace(keras.Model(unsized, keras.layers.ReLU()(unsized)))


def test_deformable_networks_are_refused():
    with pytest.raises(UnsupportedLayerError):
        trace(network(deformable="both"))
