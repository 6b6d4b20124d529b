"""Our batch normalization against Keras's: results, gradients, statistics, files and export."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.layers import batch_norm
from keras_facealign.layers.batch_norm import BatchNormalization
from keras_facealign.networks.tracing import fold_batch_norm
from tests.ops.autodiff import gradient

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the fused kernel is TensorFlow's"
)

CHANNELS = 6


def images(*shape, seed=1):
    return np.random.default_rng(seed).normal(1.0, 2.0, shape or (2, 5, 7, CHANNELS)).astype("f4")


def layers(shape=(None, None, None, CHANNELS), **options):
    """Keras's layer and ours with the same weights, which are not those that they start with."""
    rng = np.random.default_rng(0)
    made = []
    for cls in (keras.layers.BatchNormalization, BatchNormalization):
        layer = cls(momentum=0.9, **{"epsilon": 2e-5, **options})
        layer.build(shape)
        made.append(layer)
    weights = [rng.uniform(0.5, 2.0, w.shape) for w in made[0].weights]
    for layer in made:
        layer.set_weights(weights)
    return made


def to_float(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def assert_same(ours, keras_own, **tolerance):
    np.testing.assert_allclose(ours, keras_own, **{"rtol": 1e-5, "atol": 1e-5, **tolerance})


def check(x, training, mask=None, tolerance=1e-5, **options):
    """Compares results and statistics of both layers after a call."""
    theirs, ours = layers((None, *x.shape[1:]), **options)
    expected = to_float(theirs(x, training=training, mask=mask))
    found = ours(x, training=training, mask=mask)
    assert keras.backend.standardize_dtype(found.dtype) == ours.compute_dtype
    assert_same(to_float(found), expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert_same(to_float(a), to_float(b))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_results_and_statistics_are_those_of_keras(policy, training):
    # 2^-8 is a unit in the last place of bfloat16.
    check(images(), training, dtype=policy, tolerance=1e-5 if policy == "float32" else 2**-8)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"trainable": False}])
def test_options_are_those_of_keras(options):
    check(images(), True, **options)


@pytest.mark.parametrize("shape", [(8, CHANNELS), (2, 9, CHANNELS), (2, 3, 4, 5, CHANNELS)])
def test_other_ranks_are_computed_by_keras(shape):
    check(images(*shape), True)


def test_another_axis_is_computed_by_keras():
    check(images(2, CHANNELS, 5, 7), True, axis=1)


def test_a_mask_is_respected():
    mask = np.random.default_rng(3).uniform(size=(2, 5, 7)) > 0.3
    check(images(), True, mask=mask)


def test_a_single_pixel_has_no_variance():
    # Keras adds what it has multiplied by 1 / sqrt(epsilon), and rounds accordingly.
    check(images(1, 1, 1, CHANNELS), True, tolerance=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_keras(training):
    x, weight = images(), images(seed=2)
    found = []
    for layer in layers():

        def loss(x, layer=layer):
            return ops.sum(ops.multiply(layer(x, training=training), ops.convert_to_tensor(weight)))

        found.append(gradient(loss, x))
    theirs, ours = found
    assert_same(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@on_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_compiled_gradients_of_all_weights(policy, training, jit_compile):
    import tensorflow as tf

    weight = tf.constant(images(seed=2))
    found = []
    for layer in layers(dtype=policy):
        x = tf.cast(images(), layer.compute_dtype)

        @tf.function(jit_compile=jit_compile, autograph=False)
        def step(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
                loss = tf.reduce_sum(tf.cast(y, "float32") * weight)
            return [y, *tape.gradient(loss, [x, *layer.trainable_variables])]

        results = [to_float(v) for v in step(x)]
        found.append(results + [to_float(w) for w in layer.non_trainable_variables])
    tolerance = 1e-5 if policy == "float32" else 2**-8
    for theirs, ours in zip(*found, strict=True):
        assert_same(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


@on_tensorflow
def test_the_fused_kernel_is_used_where_it_fits():
    import tensorflow as tf

    def operations(layer, shape=(None, 4, 4, CHANNELS)):
        traced = tf.function(lambda x: layer(x, training=True), autograph=False)
        graph = traced.get_concrete_function(tf.TensorSpec(shape, "float32")).graph
        return {operation.type for operation in graph.get_operations()}

    assert "FusedBatchNormV3" in operations(layers()[1])
    assert "FusedBatchNormV3" not in operations(layers(epsilon=1e-6)[1])
    flat = layers((None, CHANNELS))[1]
    assert "FusedBatchNormV3" not in operations(flat, (None, CHANNELS))


def test_configuration_is_that_of_keras():
    theirs, ours = layers()
    assert {**ours.get_config(), "name": ""} == {**theirs.get_config(), "name": ""}
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    again = BatchNormalization.from_config(ours.get_config())
    assert again.get_config() == ours.get_config()


@pytest.mark.parametrize("cls", [keras.layers.BatchNormalization, BatchNormalization])
def test_saved_models_load_as_the_class_that_they_have(cls, tmp_path):
    inputs = keras.Input((4, 4, CHANNELS))
    model = keras.Model(inputs, cls(name="bn")(inputs))
    model.get_layer("bn").set_weights(layers()[0].get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("bn")) is cls
    x = images(2, 4, 4, CHANNELS)
    assert_same(to_float(loaded(x)), to_float(model(x)))


def test_weights_of_keras_load(tmp_path):
    inputs = keras.Input((4, 4, CHANNELS))
    theirs, ours = (
        keras.Model(inputs, cls(name="bn")(inputs))
        for cls in (keras.layers.BatchNormalization, BatchNormalization)
    )
    theirs.get_layer("bn").set_weights(layers()[0].get_weights())
    theirs.save_weights(tmp_path / "model.weights.h5")
    ours.load_weights(tmp_path / "model.weights.h5")
    x = images(2, 4, 4, CHANNELS)
    assert_same(to_float(ours(x)), to_float(theirs(x)))


def test_export_folds_it():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(CHANNELS, 3, use_bias=False)(inputs)
    model = keras.Model(inputs, keras.layers.ReLU()(BatchNormalization(name="bn")(x)))
    model.get_layer("bn").set_weights(layers()[0].get_weights())
    folded = fold_batch_norm(model)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in folded.layers)
    x = images(2, 8, 8, 3)
    assert_same(to_float(folded(x)), to_float(model(x)), atol=1e-4)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_statistics_of_replicas_are_those_of_their_sums(monkeypatch, axis, dtype):
    """Two replicas with the same faces have twice the sums, and the results of one."""
    x = images(4, 5, 5, 5) + 10.0
    tensor = ops.cast(ops.convert_to_tensor(x), dtype)
    shape = (None, *x.shape[1:])
    theirs, ours = layers(
        shape, axis=axis, dtype=keras.DTypePolicy(f"{'mixed_' * (dtype != 'float32')}{dtype}")
    )
    for layer in (theirs, ours):
        layer.moving_mean.assign(np.full(5, 9.0))
    expected = to_float(theirs(tensor, training=True))
    monkeypatch.setattr(batch_norm, "replica_count", lambda: 2)
    sent = []
    monkeypatch.setattr(batch_norm, "all_sum", lambda value: sent.append(value) or 2.0 * value)
    found = to_float(ours(tensor, training=True))
    assert [tuple(value.shape) for value in sent] == [(11,)]  # in one exchange
    assert_same(found, expected, rtol=1e-4, atol=2e-2 if dtype == "bfloat16" else 1e-4)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert_same(to_float(a), to_float(b), rtol=1e-4)
    # Prediction has no need of others.
    ours(tensor, training=False)
    assert len(sent) == 1
