"""The layer against `norm_crop`, in files, and in a graph."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.synthetic_faces import render_synthetic_faces
from keras_facealign.landmarks import convert_landmarks
from keras_facealign.layers import FaceNormalization
from keras_facealign.recognition import NORMALIZATION_MODES, norm_crop


@pytest.fixture(scope="module")
def faces():
    return render_synthetic_faces(3, 150, seed=5, max_angles=(40, 15, 30))


@pytest.mark.parametrize("size", [112, 128])
@pytest.mark.parametrize("mode", NORMALIZATION_MODES)
def test_crops_are_those_of_norm_crop(faces, mode, size):
    images, landmarks = faces
    found = ops.convert_to_numpy(FaceNormalization(size, mode)([images, landmarks]))
    expected = norm_crop(images, landmarks, size, mode).astype(float)
    # OpenCV interpolates at 1/32 of a pixel, and the values are rounded.
    assert np.abs(found - expected).mean() < 0.6
    assert np.quantile(np.abs(found - expected), 0.99) < 4


def test_five_points_and_reduced_images(faces):
    images, landmarks = faces
    five = convert_landmarks(landmarks, "ibug68", "five")
    layer = FaceNormalization(48)
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(layer([images, points])) for points in (five, landmarks)), atol=0.1
    )
    large, at = np.repeat(np.repeat(images, 3, 1), 3, 2), 3 * landmarks + 1
    reduced = FaceNormalization(48, reduction=3)([large, at.astype("float32")])
    np.testing.assert_allclose(
        ops.convert_to_numpy(reduced), ops.convert_to_numpy(layer([images, landmarks])), atol=0.05
    )


def test_restored_and_in_half_precision(faces, tmp_path):
    images, landmarks = faces
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((150, 150, 3), dtype="uint8"), keras.Input((68, 2))
        model = keras.Model(inputs, FaceNormalization(96, "pose3d")(list(inputs)))
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32" and model.output.shape == (None, 96, 96, 3)
    expected = norm_crop(images, landmarks, 96, "pose3d").astype(float)
    for each in (model, again):
        found = ops.convert_to_numpy(each([images, landmarks]))
        assert np.abs(found - expected).mean() < 0.6


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a graph of TensorFlow")
def test_one_graph_for_any_number_of_faces(faces):
    import tensorflow as tf

    images, landmarks = faces
    inputs = keras.Input((150, 150, 3), dtype="uint8"), keras.Input((68, 2))
    model = keras.Model(inputs, FaceNormalization(32, "frontal3d")(list(inputs)))
    shapes = [tf.TensorSpec((None, 150, 150, 3), tf.uint8), tf.TensorSpec((None, 68, 2))]
    graph = tf.function(lambda i, p: model([i, p]), autograph=False).get_concrete_function(*shapes)
    found = graph(tf.constant(images), tf.constant(landmarks))
    np.testing.assert_allclose(found, model([images, landmarks]), atol=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a converter of TensorFlow")
@pytest.mark.parametrize("mode", ["arcface", "frontal3d"])
def test_exported_to_tflite_with_the_network_behind_it(faces, mode):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    images, landmarks = faces
    inputs = keras.Input((150, 150, 3), batch_size=3), keras.Input((68, 2), batch_size=3)
    crops = FaceNormalization(32, mode)(list(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(crops))
    shapes = [tf.TensorSpec(tensor.shape, tf.float32) for tensor in inputs]
    graph = tf.function(lambda i, p: model([i, p]), autograph=False).get_concrete_function(*shapes)
    content = tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert()
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        values = images.astype("float32") if len(detail["shape"]) == 4 else landmarks
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, model([images.astype("float32"), landmarks]), atol=1e-2)


def test_wrong_inputs():
    images = np.zeros((1, 20, 20, 3), "uint8")
    with pytest.raises(FaceAlignError, match="pose3d needs"):
        FaceNormalization(mode="pose3d")([images, np.zeros((1, 5, 2), "float32")])
    with pytest.raises(FaceAlignError, match="of known size"):
        FaceNormalization()([keras.Input((None, None, 3)), keras.Input((5, 2))])
    with pytest.raises(FaceAlignError, match="Unknown mode"):
        FaceNormalization(mode="arc")
    with pytest.raises(FaceAlignError, match="image_size is 0"):
        FaceNormalization(0)
