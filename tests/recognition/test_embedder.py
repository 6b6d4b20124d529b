"""Networks of the three kinds of files, against the vectors that they should give."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction import any_size, fixed_size
from keras_facealign.recognition import Embedder

SIZE = 16
CROPS = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)


def quadrants(crops: np.ndarray, mean: float = 127.5, scale: float = 128.0) -> np.ndarray:
    """Twelve numbers, the mean colors of a crop's quarters, of length 1."""
    pixels = (crops.astype(float) - mean) / scale
    half = SIZE // 2
    parts = pixels.reshape(len(crops), 2, half, 2, half, 3).mean((2, 4))
    return parts.reshape(len(crops), 12)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def network(size: int = SIZE, channels: int = 3, batch: int | None = None) -> keras.Model:
    inputs = keras.Input(batch_shape=(batch, size, size, channels))
    pooled = keras.layers.AveragePooling2D(size // 2)(inputs)
    return keras.Model(inputs, keras.layers.Flatten()(pooled))


def save_tflite(path: Path, batch: int | None) -> None:
    """Writes a file without signatures, as older converters do."""
    import tensorflow as tf

    spec = tf.TensorSpec((batch, SIZE, SIZE, 3), tf.float32)
    pool = tf.function(lambda x: tf.reshape(tf.nn.avg_pool2d(x, 8, 8, "VALID"), (-1, 12)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([pool.get_concrete_function(spec)])
    path.write_bytes(converter.convert())


def save_onnx(path: Path, shape=("batch", 3, SIZE, SIZE), outputs: int = 1) -> None:
    """Writes a file with the channels first."""
    from onnx import TensorProto, helper

    sides = [SIZE // 2] * 2
    pool = helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=sides, strides=sides)
    nodes = [pool]
    nodes.append(helper.make_node("Transpose", ["pooled"], ["last"], perm=[0, 2, 3, 1]))
    nodes.append(helper.make_node("Flatten", ["last"], ["y0"], axis=1))
    nodes += [helper.make_node("Identity", ["y0"], [f"y{k}"]) for k in range(1, outputs)]
    value = helper.make_tensor_value_info
    ends = [value(f"y{k}", TensorProto.FLOAT, None) for k in range(outputs)]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, shape)], ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    save_tflite(folder / "fixed.tflite", 2)
    save_onnx(folder / "first.onnx")
    network().save(folder / "any.keras")
    return folder


@pytest.mark.parametrize("name", ["fixed.tflite", "first.onnx", "any.keras"])
def test_vectors_of_files(files, name):
    embedder = Embedder.from_file(files / name)
    assert embedder.input_size == SIZE and embedder.dimension is None
    found = embedder.embed(CROPS)
    np.testing.assert_allclose(found, unit(quadrants(CROPS)), atol=1e-5)
    assert found.dtype == np.float32 and embedder.dimension == 12
    np.testing.assert_allclose(embedder.embed(CROPS[:1]), found[:1], atol=1e-6)
    assert embedder.embed(CROPS[:0]).shape == (0, 12)


def test_mean_scale_and_the_mirror_image(files):
    embedder = Embedder.from_file(files / "any.keras", mean=100, scale=3, flip_average=True)
    expected = quadrants(CROPS, 100, 3) + quadrants(CROPS[:, :, ::-1], 100, 3)
    np.testing.assert_allclose(embedder.embed(CROPS), unit(expected), atol=1e-5)


@pytest.mark.parametrize(("plan", "sizes"), [(any_size(3), [3, 2]), (fixed_size(4), [4, 4])])
def test_batches(plan, sizes):
    seen = []

    def run(x):
        seen.append(len(x))
        return {"v": x[:, 0, 0]}

    vectors = Embedder(run, SIZE, "n", plan).embed(CROPS)
    assert seen == sizes
    np.testing.assert_allclose(vectors, unit(CROPS[:, 0, 0] - 127.5), atol=1e-6)


def refuse(message, path):
    with pytest.raises(FaceAlignError, match=message) as caught:
        Embedder.from_file(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_such_network(tmp_path):
    refuse("give a .tflite, .onnx or .keras file", tmp_path / "network.pb")
    for suffix in (".tflite", ".onnx", ".keras"):
        refuse("cannot be opened", tmp_path / f"missing{suffix}")
        (tmp_path / f"broken{suffix}").write_bytes(b"TFL3 or so, and no network")
        refuse("broken", tmp_path / f"broken{suffix}")
    network(channels=1).save(tmp_path / "gray.keras")
    refuse(r"of shape \(-1, 16, 16, 1\); a network for square RGB", tmp_path / "gray.keras")
    flat = keras.Sequential([keras.Input((12,)), keras.layers.Dense(2)])
    flat.save(tmp_path / "flat.keras")
    refuse("a network for square RGB", tmp_path / "flat.keras")
    two = [keras.Input((SIZE, SIZE, 3)) for _ in range(2)]
    keras.Model(two, keras.layers.Add()(two)).save(tmp_path / "two.keras")
    refuse("has 2 inputs", tmp_path / "two.keras")
    save_onnx(tmp_path / "outputs.onnx", outputs=2)
    refuse(r"has 2 outputs \(y0, y1\)", tmp_path / "outputs.onnx")


def test_crops_and_vectors_that_are_unusable(files):
    embedder = Embedder.from_file(files / "any.keras")
    with pytest.raises(FaceAlignError, match=r"any\.keras: images have shape \(5, 8, 8, 3\)"):
        embedder.embed(CROPS[:, :8, :8])
    with pytest.raises(FaceAlignError, match="values from"):
        embedder.embed(CROPS - 300.0)
    broken = CROPS.astype(np.float32)
    broken[1] = np.nan
    with pytest.raises(FaceAlignError, match="values from nan"):
        embedder.embed(broken)

    def run(x):
        return {"v": np.where(x[:, :1, 0, 0] > 0.9, np.nan, 0 * x[:, 0, 0])}

    bad = Embedder(run, SIZE, "network.onnx")
    with pytest.raises(FaceAlignError, match=r"network\.onnx: the vector of crop 0 is zero"):
        bad.embed(np.zeros_like(CROPS))
    crops = np.full_like(CROPS, 255)
    with pytest.raises(FaceAlignError, match=r"the vector of a\.png is not finite"):
        bad.embed(crops, ["a.png"] * 5)
    lengths = iter((3, 4))
    other = Embedder(lambda x: {"v": np.ones((len(x), next(lengths)))}, SIZE, "n")
    other.embed(CROPS)
    with pytest.raises(FaceAlignError, match="vectors of 4 numbers after some of 3"):
        other.embed(CROPS)
    with pytest.raises(FaceAlignError, match="scale 0"):
        Embedder(run, SIZE, "n", scale=0)
