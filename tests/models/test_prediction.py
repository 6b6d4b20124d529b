"""What a model says of each landmark, with and without a calibration."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.calibration import Calibration
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from tests.models.tiny import MAP, SIZE, as_numpy, as_tensor, fix_weights, tiny_model


def calibration():
    k = np.arange(68)
    return Calibration(
        IBUG68, SIZE, [1.0, 3.0, 9.0], [0.5, 1.0, 5.0], 1 + k / 100, k / 50, k / 70, -k / 30, k / 9
    )  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return fix_weights(tiny_model())


@pytest.fixture(scope="module")
def heatmaps():
    return np.random.default_rng(0).normal(-3, 2, (3, MAP, MAP, 68)).astype("float32")


def as_arrays(outputs):
    return {name: as_numpy(value) for name, value in outputs.items()}


def test_the_last_stack_counts_and_calibration_adds_to_it(model, heatmaps):
    plain = as_arrays(model.landmark_outputs(as_tensor(heatmaps)))
    assert {name: value.shape for name, value in plain.items()} == {
        "landmarks": (3, 68, 2),
        "confidence": (3, 68),
    }
    listed = as_arrays(model.landmark_outputs([as_tensor(0 * heatmaps), as_tensor(heatmaps)]))
    np.testing.assert_array_equal(listed["landmarks"], plain["landmarks"])
    model.calibration = calibration()
    try:
        outputs = as_arrays(model.landmark_outputs(as_tensor(heatmaps)))
    finally:
        model.calibration = None
    assert list(outputs) == ["landmarks", "confidence", "sigma", "visibility"]
    assert {str(value.dtype) for value in outputs.values()} == {"float32"}
    for name, value in plain.items():
        np.testing.assert_array_equal(outputs[name], value)
    # NumPy's side of the calibration, which its own tests compare with slow loops.
    expected = calibration()(heatmaps, plain["landmarks"], plain["confidence"])
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=2e-4, atol=1e-6)


def test_prediction_follows_the_calibration(model):
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3)).astype("uint8")
    before = model.predict_outputs(images)
    assert set(before) == {"landmarks", "confidence"}
    model.calibration = calibration()
    try:
        after = model.predict_outputs(images, batch_size=2)
        none = model.predict_outputs(images[:0])
        expected = model.landmark_outputs(model(as_tensor(images)))
    finally:
        model.calibration = None
    assert {name: value.shape for name, value in none.items()} == {
        name: (0, *value.shape[1:]) for name, value in after.items()
    }
    for name, value in as_arrays(expected).items():
        np.testing.assert_allclose(after[name], value, rtol=1e-3, atol=1e-3)
    landmarks, confidence = model.predict_landmarks(images)
    np.testing.assert_allclose(landmarks, before["landmarks"], atol=1e-4)
    np.testing.assert_allclose(confidence, before["confidence"], atol=1e-5)


def test_the_mirror_image_is_looked_at_too(model):
    images = np.random.default_rng(2).integers(0, 256, (3, SIZE, SIZE, 3)).astype("uint8")
    model.calibration = calibration()
    try:
        seen = model.predict_outputs(images)
        mirrored = model.predict_outputs(images[:, :, ::-1])
        found = model.predict_outputs(images, flip_test=True)
        landmarks, confidence = model.predict_landmarks(images, batch_size=2, flip_test=True)
        assert model.predict_outputs(images[:0], flip_test=True)["sigma"].shape == (0, 68)
        with pytest.raises(FaceAlignError, match="takes"):
            model.predict_outputs(images[0], flip_test=True)
    finally:
        model.calibration = None
    assert set(found) == set(seen) == {"landmarks", "confidence", "sigma", "visibility"}
    partner = dict(IBUG68.flip_pairs) | {b: a for a, b in IBUG68.flip_pairs}
    for name, values in found.items():
        for k in range(68):
            other = mirrored[name][:, partner.get(k, k)]
            if name == "landmarks":
                other = np.stack([SIZE - 1 - other[:, 0], other[:, 1]], axis=-1)
            expected = (seen[name][:, k] + other) / 2
            np.testing.assert_allclose(values[:, k], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(landmarks, found["landmarks"], atol=1e-3)
    np.testing.assert_allclose(confidence, found["confidence"], atol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="graphs of TensorFlow")
@pytest.mark.parametrize("batch", [1, None])
def test_graphs_of_fixed_and_open_batches_use_the_lite_operators(model, heatmaps, batch):
    import tensorflow as tf

    model.calibration = calibration()
    try:
        graph = tf.function(
            model.landmark_outputs,
            input_signature=[tf.TensorSpec((batch, MAP, MAP, 68), tf.float32)],
            autograph=False,
        ).get_concrete_function()
        expected = as_arrays(model.landmark_outputs(as_tensor(heatmaps[:1])))
    finally:
        model.calibration = None
    for name, value in as_arrays(graph(tf.constant(heatmaps[:1]))).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    assert len(converter.convert()) > 1000
