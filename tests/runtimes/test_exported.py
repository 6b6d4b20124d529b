"""Exported files are run as they say they are, and anything else is refused in one line."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import FaceAligner
from keras_facealign.runtimes import ExportedModel, choose_runtime, load_model
from keras_facealign.runtimes.litert import TFLiteGraph, find_interpreter
from tests.runtimes.exported_files import (
    METADATA,
    POINTS,
    SIZE,
    dots,
    heatmaps,
    pictures,
    write_tflite,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow writes the files"
)
ALL = ("landmarks", "confidence", "sigma", "visibility")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def path(folder):
    return write_tflite(folder / "dots.tflite")


@pytest.fixture(scope="module")
def full_path(folder):
    return write_tflite(folder / "full.tflite", outputs=ALL)


def centroids(images: np.ndarray) -> np.ndarray:
    """What the file must answer, by loops."""
    points = np.zeros((len(images), POINTS, 2))
    for b, image in enumerate(images):
        for k, color in enumerate((0, 1, 2, 0, 1)):
            plane = image[:, :, color].astype(np.float64)
            for row in range(SIZE):
                for column in range(SIZE):
                    points[b, k] += plane[row, column] * np.array([column, row])
            points[b, k] /= plane.sum()
    return points


def write_onnx(path, claim=None):
    """The brightest value of each color, over 255, as confidence; landmarks (c, 2c) of it."""
    onnx = pytest.importorskip("onnx", reason="writes the file")
    make, kinds = onnx.helper, onnx.TensorProto
    constants = {
        "colors": np.array([0, 1, 2, 0, 1], np.int64),
        "white": np.float32(255),
        "two": np.float32(2),
        "last": np.array([2], np.int64),
    }
    nodes = [
        make.make_node("Cast", ["images"], ["pixels"], to=kinds.FLOAT),
        make.make_node("Gather", ["pixels", "colors"], ["weights"], axis=3),
        make.make_node("ReduceMax", ["weights"], ["peak"], axes=[1, 2], keepdims=0),
        make.make_node("Div", ["peak", "white"], ["confidence"]),
        make.make_node("Unsqueeze", ["confidence", "last"], ["x"]),
        make.make_node("Mul", ["x", "two"], ["y"]),
        make.make_node("Concat", ["x", "y"], ["landmarks"], axis=2),
    ]
    value = make.make_tensor_value_info
    graph = make.make_graph(
        nodes,
        "brightest",
        [value("images", kinds.UINT8, ["B", SIZE, SIZE, 3])],
        [
            value("landmarks", kinds.FLOAT, ["B", POINTS, 2]),
            value("confidence", kinds.FLOAT, ["B", POINTS]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    metadata = METADATA | {"batch": None} | (claim or {})
    make.set_model_props(model, {"keras_facealign": json.dumps(metadata)})
    path.write_bytes(model.SerializeToString())
    return path


def test_onnx_files(folder):
    pytest.importorskip("onnxruntime", reason="is the runtime")
    path = write_onnx(folder / "brightest.onnx")
    images = pictures(19)
    model = ExportedModel(path)
    points, confidence = model.predict_landmarks(images)
    expected = images.max(axis=(1, 2))[:, [0, 1, 2, 0, 1]] / 255
    np.testing.assert_allclose(confidence, expected, atol=1e-6)
    np.testing.assert_allclose(points, expected[..., None] * [1, 2], atol=1e-6)
    assert FaceAligner.from_preset(path, None).runtime == "onnx"
    with pytest.raises(FaceAlignError, match="uint8 crops of 64x64"):
        ExportedModel(write_onnx(folder / "wrong.onnx", {"input_size": 64}))
    content = path.read_bytes()
    (folder / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(FaceAlignError, match=r"cut\.onnx"):
        ExportedModel(folder / "cut.onnx")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_landmarks_of_any_number_of_crops(path, count):
    images = pictures(count)
    model = ExportedModel(path)
    points, confidence = model.predict_landmarks(images)
    assert points.dtype == confidence.dtype == np.float32
    assert points.shape == (count, POINTS, 2) and confidence.shape == (count, POINTS)
    np.testing.assert_allclose(points, centroids(images), atol=1e-3)
    expected = images.max(axis=(1, 2))[:, [0, 1, 2, 0, 1]] / 255
    np.testing.assert_allclose(confidence, expected, atol=1e-6)
    assert (model.runtime, model.input_size, model.scheme.name) == ("litert", SIZE, "five")


def test_faces_side_by_side_are_those_one_after_the_other(path, monkeypatch):
    images = pictures(7)
    model = ExportedModel(path, threads=1)
    alone = np.concatenate([model.predict_landmarks(image[None])[0] for image in images])
    for module in ("runtimes.litert", "prediction.concurrency"):
        monkeypatch.setattr(f"keras_facealign.{module}.available_cores", lambda: 3)
    np.testing.assert_array_equal(ExportedModel(path).predict_landmarks(images)[0], alone)


@pytest.mark.parametrize("started", [0, 1])
def test_faces_of_a_process_that_can_have_no_more_threads(path, started, monkeypatch):
    """As in a worker with a limit of memory: one after the other then."""
    images = pictures(3)
    expected = ExportedModel(path).predict_landmarks(images)[0]
    for module in ("runtimes.litert", "prediction.concurrency"):
        monkeypatch.setattr(f"keras_facealign.{module}.available_cores", lambda: 3)
    model, start, calls = ExportedModel(path), threading.Thread.start, []

    def few(thread):
        calls.append(thread)
        if len(calls) > started:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", few)
        np.testing.assert_array_equal(model.predict_landmarks(images)[0], expected)
    assert len(calls) == started + 1
    np.testing.assert_array_equal(model.predict_landmarks(images)[0], expected)


@pytest.mark.parametrize("batch", [4, None])
def test_files_for_other_batches(folder, batch):
    metadata = METADATA | {"batch": batch}
    path = write_tflite(folder / f"batch{batch}.tflite", metadata=metadata, batch=batch)
    images = pictures(10)
    points, _ = ExportedModel(path, threads=1).predict_landmarks(images.astype(np.float32))
    np.testing.assert_allclose(points, centroids(images), atol=1e-3)


def test_heatmaps_are_decoded_here(folder):
    metadata = METADATA | {"decode": False, "outputs": ["heatmaps"]}
    path = write_tflite(folder / "maps.tflite", heatmaps, ("heatmaps",), metadata)
    images = pictures(2)
    points, confidence = ExportedModel(path).predict_landmarks(images)
    for b, image in enumerate(images):
        for k, color in enumerate((0, 1, 2, 0, 1)):
            row, column = np.unravel_index(image[:, :, color].argmax(), (SIZE, SIZE))
            assert points[b, k].tolist() == [column, row]
            logit = image[row, column, color] / 16 - 8
            assert confidence[b, k] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def test_an_aligner_takes_a_file_and_tells_all_it_says(full_path):
    aligner = FaceAligner.from_preset(full_path, detector=None)
    assert aligner.runtime == "litert"
    photo = np.zeros((200, 300, 3), np.uint8)
    photo[80:83, 120:123] = 255  # center (121, 81)
    (face,) = aligner.align(photo, boxes=(80.0, 40.0, 160.0, 120.0))
    np.testing.assert_allclose(face.landmarks, [[121.0, 81.0]] * POINTS, atol=0.3)
    # The crop shows 1.3 * 80 pixels on SIZE, so that its pixels are 3.25 of the photo's.
    np.testing.assert_allclose(face.sigma, np.arange(1, 6) * 1.3 * 80 / SIZE, rtol=1e-5)
    np.testing.assert_allclose(face.visibility, face.confidence / 2, rtol=1e-5)
    assert face.sigma.dtype == face.visibility.dtype == np.float32
    record = face.to_dict()
    assert list(record) == ["box", "roll", "score", "reliable", *ALL]
    assert record["sigma"] == [3.25, 6.5, 9.75, 13.0, 16.25]


def test_a_file_without_them_leaves_them_out(path):
    photo = np.full((100, 100, 3), 9, np.uint8)
    (face,) = FaceAligner.from_preset(path, None).align(photo, boxes=(10, 10, 90, 90))
    assert face.sigma is None and face.visibility is None
    assert set(face.to_dict()) == {"box", "roll", "score", "reliable", "landmarks", "confidence"}


def test_the_crop_is_the_one_that_the_file_asks_for(folder, path):
    wide = write_tflite(folder / "wide.tflite", metadata=METADATA | {"box_scale": 2.6})
    photo = np.zeros((200, 300, 3), np.uint8)
    photo[:, 180:] = 255  # beyond the crop of 1.3, well inside the one of 2.6
    seen = [
        FaceAligner.from_preset(p, None).align(photo, boxes=(80.0, 40.0, 160.0, 120.0))[0]
        for p in (path, wide)
    ]
    assert seen[0].confidence.max() == 0 and seen[1].confidence.min() > 0.9


def test_files_and_runtimes_that_do_not_go_together(path):
    model = load_model(path)
    assert choose_runtime(model) == choose_runtime(model, "litert") == ("litert", model)
    for runtime in ("keras", "openvino", "onnx"):
        with pytest.raises(FaceAlignError, match=f"dots.tflite runs on 'litert', not .{runtime}"):
            load_model(path, runtime)
    with pytest.raises(FaceAlignError, match="runs exported files, not a object"):
        choose_runtime(object(), "litert")


def test_a_preset_without_the_file(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FaceAlignError, match=r"model\.tflite, which is not there; make a file"):
        load_model(tmp_path, "litert")
    with pytest.raises(FaceAlignError, match="load_weights=False needs Keras"):
        load_model(tmp_path, "litert", load_weights=False)
    with pytest.raises(FaceAlignError, match="Unknown preset 'nobody'"):
        load_model("nobody", "litert")


def test_a_preset_with_the_file(tmp_path, path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.tflite").write_bytes(path.read_bytes())
    assert load_model(tmp_path, "litert").name == "dots"


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"architecture": {"num_landmarks": 68}}, "num_landmarks is 5 there and 68 in config.json"),
        ({"architecture": {"input_size": 128}}, "input_size is 32 there and 128"),
        ({"scheme": "ibug68"}, "scheme is 'five' there and 'ibug68'"),
    ],
)
def test_a_file_beside_the_configuration_of_another_network(tmp_path, path, config, match):
    (tmp_path / "config.json").write_text(json.dumps({"class_name": "x", "config": config}))
    (tmp_path / "model.tflite").write_bytes(path.read_bytes())
    with pytest.raises(FaceAlignError, match=f"model.tflite was made from another.*{match}"):
        load_model(tmp_path, "litert")


def test_auto_takes_the_file_of_a_preset_but_on_a_gpu(tmp_path, path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="is the runtime")
    (tmp_path / "config.json").write_text("{}")
    choice = "keras_facealign.runtimes.choice"
    monkeypatch.setattr(f"{choice}.shutil.which", lambda name: None)
    with pytest.raises(FaceAlignError, match=r"config\.json"):  # there is no file: Keras is asked
        load_model(tmp_path)
    (tmp_path / "model.tflite").write_bytes(path.read_bytes())
    aligner = FaceAligner.from_preset(tmp_path, None)
    assert (aligner.runtime, aligner.model.name) == ("litert", "dots")
    for ask in (
        lambda: load_model(tmp_path, "openvino"),
        lambda: load_model(tmp_path, "keras"),
        lambda: load_model(tmp_path, load_weights=False),
    ):
        with pytest.raises(FaceAlignError, match=r"config\.json"):
            ask()
    monkeypatch.setattr(f"{choice}.shutil.which", lambda name: f"/usr/bin/{name}")
    for has_gpu in (False, True):
        monkeypatch.setattr(f"{choice}._has_gpu", lambda answer=has_gpu: answer)
        if has_gpu:
            with pytest.raises(FaceAlignError, match=r"config\.json"):
                load_model(tmp_path)
        else:
            assert isinstance(load_model(tmp_path), ExportedModel)


def test_images_that_are_no_crops(path):
    model = ExportedModel(path)
    with pytest.raises(FaceAlignError, match=r"\(2, 30, 32, 3\).*\(batch, 32, 32, 3\)"):
        model.predict_landmarks(np.zeros((2, 30, 32, 3), np.uint8))
    with pytest.raises(FaceAlignError, match="values from 0 to 256"):
        model.predict_landmarks(np.linspace(0, 256, SIZE * SIZE * 3).reshape(1, SIZE, SIZE, 3))


class TestFilesThatAreNotOurs:
    def refused(self, path, match):
        with pytest.raises(FaceAlignError, match=match) as caught:
            FaceAligner.from_preset(path, None)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)

    def test_no_metadata(self, folder):
        self.refused(write_tflite(folder / "foreign.tflite", metadata={}), "was not written by")

    def test_missing(self, folder):
        self.refused(folder / "missing.tflite", "cannot be opened")

    def test_another_kind_of_file(self, folder):
        (folder / "text.tflite").write_text("not a network at all")
        self.refused(folder / "text.tflite", "neither a TFLite nor an ONNX file")

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.98])
    def test_truncated(self, folder, path, share):
        content = path.read_bytes()
        cut = folder / "cut.tflite"
        cut.write_bytes(content[: int(len(content) * share)])
        self.refused(cut, "network|damaged|metadata|TFLite|empty")

    @pytest.mark.parametrize(
        ("claim", "match"),
        [
            (
                {"input_size": 64},
                r"takes uint8 of shape \(1, 32, 32, 3\), not uint8 crops of 64x64",
            ),
            ({"num_landmarks": 68, "scheme": "ibug68"}, "gives landmarks of shape .*not of 68"),
            ({"decode": False}, "gives heatmaps of shape None"),
            ({"scheme": "ibug68"}, "has 5 landmarks, but its scheme ibug68 has 68"),
            ({"scheme": "tails"}, "tails"),
            ({"format": 2}, "format 2"),
        ],
    )
    def test_it_is_not_what_it_says(self, folder, claim, match):
        path = write_tflite(folder / "claim.tflite", metadata=METADATA | claim)
        with pytest.raises(FaceAlignError, match=match):
            FaceAligner.from_preset(path, None)

    @pytest.mark.parametrize("name", ["sigma", "visibility"])
    def test_one_number_for_all_landmarks(self, folder, name):
        def network(tf, images):
            outputs = dots(tf, images)
            return {**outputs, name: tf.reduce_mean(outputs["confidence"])}

        outputs = ("landmarks", "confidence", name)
        path = write_tflite(folder / "single.tflite", network, outputs)
        self.refused(path, rf"gives {name} of shape \(\), not of 5 landmarks")

    def test_numbers_of_another_type(self, folder):
        path = write_tflite(folder / "float.tflite", dtype="float32")
        self.refused(path, "takes float32")

    def test_an_ending_that_nothing_runs(self, folder):
        with pytest.raises(FaceAlignError, match="no runtime is known for the suffix '.pb'"):
            ExportedModel(folder / "graph.pb")


def test_damage_beneath_the_metadata_is_an_error_and_no_crash(path):
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(30):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 8):
            damaged[place] = rng.integers(0, 256)
        try:
            TFLiteGraph(bytes(damaged), "damaged.tflite")(pictures(1))
            outcomes.add("ran")
        except FaceAlignError as error:
            assert "damaged.tflite" in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes


def test_the_interpreter_inside_tensorflow_steps_in(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert "tensorflow" in find_interpreter().__module__
    images = pictures(1)
    points, _ = ExportedModel(path).predict_landmarks(images)
    np.testing.assert_allclose(points, centroids(images), atol=1e-3)


def test_nothing_to_run_a_file_with(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(FaceAlignError, match=r"cannot be run here.*keras_facealign\[litert\]"):
        ExportedModel(path)


def test_without_keras_a_preset_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "keras" else find(name)
    )
    monkeypatch.setattr("keras_facealign.runtimes.choice._is_for_litert", lambda name: False)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FaceAlignError, match=r"needs Keras, which is not installed; pip install"):
        load_model(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"")
    with pytest.raises(
        FaceAlignError, match=r'neither is installed; .*"keras_facealign\[litert\]"'
    ):
        load_model(tmp_path)
