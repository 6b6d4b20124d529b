"""The layer around deformable convolution: weights, offsets of its own, files, policies, export."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import DeformableConv2D
from keras_facealign.networks import count_macs
from keras_facealign.ops import deform_conv2d, deform_conv2d_output_size, deform_implementation
from keras_facealign.runtimes.litert import find_interpreter

BACKEND = keras.backend.backend()


@pytest.fixture(autouse=True)
def portable():
    """Equal arithmetic on every backend and machine; nothing is compiled for these tests."""
    with deform_implementation("portable"):
        yield


def image(batch=2, size=(6, 7), channels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *size, channels)).astype("float32")


def randomize(layer, seed=1):
    """Gives the offset convolution (and all else) weights that move taps by a pixel or so."""
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape) * 0.4 for w in layer.get_weights()])


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_starts_as_an_ordinary_convolution(padding):
    layer = DeformableConv2D(5, 3, padding=padding, dilation_rate=2)
    plain = keras.layers.Conv2D(5, 3, padding=padding, dilation_rate=2)
    found = layer(image())
    plain.build((None, 6, 7, 4))
    plain.set_weights([layer.kernel, layer.bias])
    expected = ops.convert_to_numpy(plain(image()))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)


def test_the_own_mask_starts_at_a_half():
    layer = DeformableConv2D(5, 3, modulated=True, use_bias=False)
    found = ops.convert_to_numpy(layer(image()))
    plain = ops.conv(image(), layer.kernel, 1, "same", "channels_last")
    np.testing.assert_allclose(found, ops.convert_to_numpy(plain) / 2, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(),
        dict(padding="valid", strides=2, modulated=True),
        dict(padding=(2, 1), dilation_rate=(2, 1), border="mxnet"),
        dict(padding=1, strides=(2, 1)),
        dict(groups=2, deformable_groups=2, modulated=True, use_bias=False, activation="relu"),
    ],
)
def test_is_the_function_of_its_own_offsets(arguments):
    layer = DeformableConv2D(6, 3, **arguments)
    layer.build((None, 6, 7, 4))
    randomize(layer)
    found = ops.convert_to_numpy(layer(image()))
    padding = layer.padding
    pads = (0, 0) if isinstance(padding, str) else padding
    padded = np.pad(image(), ((0, 0), (pads[0],) * 2, (pads[1],) * 2, (0, 0)))
    maps = ops.conv(
        padded,
        layer.offset.kernel,
        layer.strides,
        padding if isinstance(padding, str) else "valid",
        "channels_last",
        layer.dilation_rate,
    )
    maps = ops.convert_to_numpy(maps + layer.offset.bias)
    samples = 9 * layer.deformable_groups
    mask = 1 / (1 + np.exp(-maps[..., 2 * samples :])) if layer.modulated else None
    geometry = {
        n: arguments[n]
        for n in ("padding", "strides", "dilation_rate", "groups", "deformable_groups", "border")
        if n in arguments
    }
    expected = deform_conv2d(
        image(), maps[..., : 2 * samples], layer.kernel, mask, layer.bias, **geometry
    )
    expected = ops.convert_to_numpy(expected)
    if "activation" in arguments:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.shape == layer.compute_output_shape((2, 6, 7, 4))


def test_offsets_and_mask_from_outside():
    rng = np.random.default_rng(3)
    offsets = rng.normal(size=(2, 6, 7, 18)).astype("float32")
    mask = rng.uniform(size=(2, 6, 7, 9)).astype("float32")
    layer = DeformableConv2D(5, 3)
    found = layer([image(), offsets])
    assert layer.offset is None and len(layer.weights) == 2
    expected = deform_conv2d(image(), offsets, layer.kernel, None, layer.bias)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))
    layer = DeformableConv2D(5, 3, modulated=True)
    found = layer([image(), offsets, mask])
    expected = deform_conv2d(image(), offsets, layer.kernel, mask, layer.bias)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))
    with pytest.raises(FaceAlignError, match="one tensor, or 3 with offsets and mask"):
        layer([image(), offsets])


def test_names_and_numbers_of_weights():
    layer = DeformableConv2D(8, 3, deformable_groups=2, modulated=True, name="site")
    layer.build((None, 6, 7, 4))
    shapes = {w.path: tuple(w.shape) for w in layer.weights}
    assert shapes == {
        "site/kernel": (3, 3, 4, 8),
        "site/bias": (8,),
        "site/offset/kernel": (3, 3, 4, 54),
        "site/offset/bias": (54,),
    }
    assert not ops.convert_to_numpy(layer.offset.kernel).any()


def small_model(dtype=None, given=False, **arguments):
    inputs = keras.Input((6, 7, 4))
    layer = DeformableConv2D(3, 3, dtype=dtype, name="site", **arguments)
    if given:
        offsets = keras.Input((6, 7, 18))
        return keras.Model([inputs, offsets], layer([inputs, offsets]))
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("given", [False, True])
def test_config_and_file_keep_everything(tmp_path, given):
    model = small_model(
        given=given,
        kernel_regularizer=keras.regularizers.L2(0.01),
        bias_constraint="non_neg",
        activation="tanh",
        border="mxnet",
        offset_initializer="glorot_uniform",
    )
    layer = model.get_layer("site")
    copy = DeformableConv2D.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    randomize(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    offsets = np.random.default_rng(4).normal(size=(2, 6, 7, 18)).astype("float32")
    batch = [image(), offsets] if given else image()
    expected = model.predict(batch, verbose=0)
    np.testing.assert_allclose(loaded.predict(batch, verbose=0), expected, atol=1e-6)
    assert len(loaded.losses) == 1


@pytest.mark.parametrize("policy, output", [("mixed_bfloat16", "bfloat16"), ("float16", "float16")])
def test_half_precision_policies(policy, output):
    model, exact = small_model(policy), small_model("float32")
    randomize(exact.get_layer("site"))
    model.set_weights(exact.get_weights())
    found = model(image())
    assert keras.backend.standardize_dtype(found.dtype) == output
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    # The offsets themselves are rounded to 3 (bfloat16) digits, and edges in noise are steep.
    error = np.abs(found - ops.convert_to_numpy(exact(image())))
    assert np.median(error) < 0.05 and error.max() < 0.6


def test_training_moves_the_taps():
    """A kernel of one tap learns to look two pixels to the right, which only offsets can."""
    rng = np.random.default_rng(5)
    coarse = ops.image.resize(rng.normal(size=(32, 4, 4, 1)), (12, 12), "bilinear")
    pictures = ops.convert_to_numpy(coarse).astype("float32")
    targets = np.zeros_like(pictures)
    targets[:, :, :-2] = pictures[:, :, 2:]
    layer = DeformableConv2D(1, 1, kernel_initializer="ones", use_bias=False)
    model = keras.Sequential([keras.Input((12, 12, 1)), layer])
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=BACKEND == "jax")
    model.fit(pictures, targets, batch_size=32, epochs=80, verbose=0)
    dy, dx = ops.convert_to_numpy(layer.offset.bias)
    assert abs(dx - 2) < 0.4 and abs(dy) < 0.3


def test_multiply_adds():
    model = small_model(deformable_groups=2)
    pixels = 6 * 7
    assert count_macs(model) == pixels * 9 * 4 * 3 + pixels * 9 * 4 * 36
    assert count_macs(small_model(given=True)) == pixels * 9 * 4 * 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(filters=0), "filters and groups must be an integer of at least 1"),
        (dict(filters=5, groups=2), "5 filters cannot be split into 2 groups"),
        (dict(border="wrap"), "border must be one of"),
        (dict(implementation="cuda"), "implementation must be one of"),
        (dict(padding="causal"), "padding must be one of"),
        (dict(kernel_size=0), "kernel_size must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(FaceAlignError, match=message):
        DeformableConv2D(**{"filters": 4, "kernel_size": 3, **arguments})


def test_channels_that_cannot_be_split():
    with pytest.raises(
        FaceAlignError, match="4 input channels cannot be split into 1 groups and 3"
    ):
        DeformableConv2D(6, 3, deformable_groups=3).build((None, 6, 7, 4))


@pytest.mark.parametrize("padding, strides", [("same", 2), (1, 2), ("valid", 1)])
def test_output_shape_of_unknown_sizes(padding, strides):
    layer = DeformableConv2D(5, 3, padding=padding, strides=strides)
    assert layer.compute_output_shape((None, None, 9, 4)) == (
        None,
        None,
        deform_conv2d_output_size((9, 9), 3, strides, padding)[1],
        5,
    )


# ---- export -------------------------------------------------------------------------------------


def exported_model():
    model = small_model(modulated=True, deformable_groups=2, strides=2)
    randomize(model.get_layer("site"))
    return model


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a SavedModel is written by TensorFlow")
def test_saved_model_gives_the_same_numbers(tmp_path):
    import tensorflow as tf

    model = exported_model()
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    for batch in (1, 3):
        expected = ops.convert_to_numpy(model(image(batch)))
        np.testing.assert_allclose(loaded.serve(image(batch)), expected, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the converter is TensorFlow's")
def test_tflite_with_built_in_operators_alone(tmp_path):
    import tensorflow as tf

    if not hasattr(tf, "lite"):
        pytest.skip("this TensorFlow has no TFLite converter")
    model = exported_model()
    model.export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = find_interpreter()(model_content=converter.convert())
    (slot,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    for batch in (1, 3):
        interpreter.resize_tensor_input(slot["index"], (batch, 6, 7, 4))
        interpreter.allocate_tensors()
        interpreter.set_tensor(slot["index"], image(batch))
        interpreter.invoke()
        found = interpreter.get_tensor(output["index"])
        np.testing.assert_allclose(found, ops.convert_to_numpy(model(image(batch))), atol=1e-5)
