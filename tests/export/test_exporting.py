"""Exported files compute what the Keras model does, say what they are, and fail in one piece."""

from __future__ import annotations

import importlib
import json
import re

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.export import export_model, exporting
from keras_facealign.export.parity import load_export
from keras_facealign.inference.synthetic_faces import render_synthetic_faces
from keras_facealign.presets import from_preset
from keras_facealign.runtimes import read_metadata
from keras_facealign.runtimes.exported import ExportedModel
from keras_facealign.runtimes.litert import find_interpreter
from tests.calibration.synthetic import some_calibration
from tests.export.networks import network

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are traced by TensorFlow"
)

# The heads of a random network hardly peak: landmarks jump where pixels are almost equal. What they
# are compared by is the heatmaps.
ANY = 100.0
# Largest relative difference of heatmaps.
TOLERANCE = {"none": 1e-4, "float16": 5e-3, "int8": 0.25}


def pictures(count=3, size=32):
    return render_synthetic_faces(count, size, seed=9)[0]


def mean_difference(found, expected):
    """In the mean: the Newton steps at the flat peaks of random heatmaps multiply rounding."""
    assert found.shape == expected.shape
    return np.abs(found - expected).mean()


def operators(path):
    """(names of the built-in operators, of the custom ones) in a TFLite file."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {value: key for key, value in vars(schema.BuiltinOperator).items()}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    custom = [c.customCode for c in model.operatorCodes if c.customCode]
    return {names[code] for code in codes}, custom


def ranks(path):
    """How many axes the tensors of a TFLite file have."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return {0 if t.shape is None else len(t.shape) for t in model.subgraphs[0].tensors}


def types(path):
    """(operator, type of its last result) of everything a TFLite file computes."""
    kind = find_interpreter()
    resolvers = importlib.import_module(kind.__module__).OpResolverType
    interpreter = kind(
        model_path=str(path),
        experimental_op_resolver_type=resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    kinds = {d["index"]: d["dtype"].__name__ for d in interpreter.get_tensor_details()}
    return [(op["op_name"], kinds[op["outputs"][-1]]) for op in interpreter._get_ops_details()]


@pytest.fixture(scope="module")
def small():
    return network(topology="sat", stem="light", depth=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "quantize"),
    [
        ("tflite", "none"),
        ("tflite", "float16"),
        ("tflite", "int8"),
        ("saved_model", "none"),
        ("saved_model", "float16"),
        ("onnx", "none"),
        ("onnx", "float16"),
    ],
)
def test_heatmaps_are_the_models(format, quantize, small, tmp_path):
    report = export_model(small, tmp_path, format, quantize, decode=False, limit=ANY)
    images = pictures(4)
    found = load_export(format, report.path)(images)
    expected = keras.ops.convert_to_numpy(small(images.astype("float32"))[-1])
    assert list(found) == ["heatmaps"] and found["heatmaps"].dtype == np.float32
    error = np.abs(found["heatmaps"] - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE[quantize]
    # That the weights were rounded at all shows, too.
    assert quantize == "none" or error > 1e-6
    about = read_metadata(report.path)
    assert about == report.metadata
    assert about["outputs"] == ["heatmaps"] and about["decode"] is False
    assert about["edges"] == [list(edge) for edge in small.scheme.edges]
    assert "eyes" in about and "own_scheme" not in about
    assert (about["quantize"], about["batch"]) == (quantize, 1 if format == "tflite" else None)
    if format == "tflite":
        names, custom = operators(report.path)
        assert custom == []
        # Graphics units take this network whole: they know no fifth axis and no transposed
        # convolution with an activation.
        assert max(ranks(report.path)) == 4
        assert {"DEPTH_TO_SPACE", "RESIZE_NEAREST_NEIGHBOR"} <= names
        assert not names & {"TILE", "TRANSPOSE_CONV", "GATHER"}


@pytest.mark.slow
@pytest.mark.parametrize("decode", [True, False])
def test_the_offset_of_landmarks_goes_into_the_file(decode, tmp_path):
    model, images = network(topology="hourglass", block="resnet", stem="light"), pictures(2)
    found = []
    for offset in ((0.0, 0.0), (1.5, -0.5)):
        model.landmark_offset = offset
        report = export_model(model, tmp_path / str(offset), decode=decode, limit=ANY)
        exported = ExportedModel(report.path)
        assert exported.landmark_offset == offset
        found.append([exported.predict_landmarks(images, flip_test=m)[0] for m in (False, True)])
    # The same weights in the same graph, so that flat peaks do not matter.
    np.testing.assert_allclose(found[1], np.add(found[0], [1.5, -0.5]), atol=1e-3)


@pytest.mark.parametrize(
    ("format", "batch"),
    [("tflite", "dynamic"), ("tflite", 2), ("saved_model", "dynamic"), ("onnx", "dynamic")],
)
def test_all_that_is_known_of_landmarks_for_any_number_of_faces_or_one_number(
    format, batch, tmp_path
):
    model = network(topology="sat", stem="light")
    model.calibration = some_calibration()
    report = export_model(model, tmp_path, format, batch=batch)
    assert report.parity.mean <= 0.05
    for count in (1, 4) if batch == "dynamic" else (2,):
        images = pictures(count)
        found = load_export(format, report.path)(images)
        expected = model.predict_outputs(images)
        names = ["confidence", "landmarks", "sigma", "visibility"]
        assert sorted(found) == sorted(expected) == names
        for name in names:
            assert found[name].dtype == np.float32
            assert mean_difference(found[name], expected[name]) < 1e-3
    about = read_metadata(report.path)
    assert about["batch"] == (None if batch == "dynamic" else 2) and about["outputs"] == names
    assert about["box_scale"] == 1.3 and about["input_size"] == 32 and about["num_landmarks"] == 68
    if format == "tflite":
        names, custom = operators(report.path)
        assert not custom and "CONV_2D" in names and "ARG_MAX" in names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "quantize"),
    [
        ({"topology": "hourglass", "block": "resnet", "deformable": "between"}, "none"),
        ({"topology": "sat", "stem": "light", "deformable": "heads"}, "int8"),
        ({"topology": "sat", "depth": 2, "variant": "insightface_2018"}, "int8"),
        ({"topology": "hourglass", "block": "hpm"}, "int8"),
        ({"topology": "sat", "spatial_transformer": True}, "none"),
    ],
)
def test_every_kind_of_network_goes_into_built_in_operators(fields, quantize, tmp_path):
    model = network(**fields)
    decode = model.architecture.spatial_transformer
    report = export_model(
        model,
        tmp_path,
        "tflite",
        quantize,
        decode=decode,
        limit=ANY if quantize == "int8" else None,
    )
    assert operators(report.path)[1] == []
    if decode:
        assert report.parity.mean <= 0.05
        return
    images = pictures()
    found = load_export("tflite", report.path)(images)["heatmaps"]
    heatmaps, _ = model.heatmaps_and_frames(images.astype("float32"), training=False)
    expected = keras.ops.convert_to_numpy(heatmaps[-1])
    assert np.abs(found - expected).max() / np.abs(expected).max() < TOLERANCE[quantize]
    if quantize == "int8":
        kinds = types(report.path)
        convolutions = [kind for op, kind in kinds if op in ("CONV_2D", "DEPTHWISE_CONV_2D")]
        assert convolutions.count("int8") > 0.7 * len(convolutions)
        # Where samples are read from is never rounded; what is read may be.
        floors = [kind for op, kind in kinds if op == "FLOOR"]
        assert floors == ["float32"] * (2 * 2 if "deformable" in fields else 0)


@pytest.mark.slow
def test_a_deformable_network_as_onnx_and_saved_model(tmp_path):
    model = network(topology="hourglass", block="resnet", stem="light", deformable="between")
    for format in ("onnx", "saved_model"):
        report = export_model(model, tmp_path, format)
        found = load_export(format, report.path)(pictures())
        expected = model.predict_outputs(pictures())
        assert mean_difference(found["landmarks"], expected["landmarks"]) < 1e-3


@pytest.fixture(scope="module")
def bundled():
    """A bundled preset, and what it says of faces that no export was checked on."""
    model = from_preset("sat1_cab_mobile")
    images = render_synthetic_faces(12, model.input_size, seed=31)[0]
    return model, images, model.predict_outputs(images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "quantize", "limit"),
    [
        ("saved_model", "none", 0.05),
        ("tflite", "float16", 0.1),
        ("onnx", "float16", 0.1),
    ],
)
def test_the_bundled_preset_in_every_format(format, quantize, limit, bundled, tmp_path):
    model, images, expected = bundled
    report = export_model(model, tmp_path, format, quantize)
    assert report.parity.limit == limit and report.parity.mean <= limit
    found = load_export(format, report.path)(images)
    distance = np.linalg.norm(found["landmarks"] - expected["landmarks"], axis=-1)
    assert distance.mean() <= limit
    assert np.abs(found["visibility"] - expected["visibility"]).max() < 0.01


@pytest.mark.slow
def test_the_bundled_preset_in_int8(bundled, tmp_path):
    report = export_model("sat1_cab_mobile", tmp_path, "tflite", "int8")
    assert report.path == tmp_path / "model_int8.tflite"
    assert report.size == report.path.stat().st_size
    assert 1e-3 < report.parity.mean < 0.5 and report.parity.faces == 32
    assert report.metadata["preset"] == "sat1_cab_mobile"
    assert report.metadata["license"] == "research, non-commercial data"
    _, images, expected = bundled
    found = load_export("tflite", report.path)(images)
    distance = np.linalg.norm(found["landmarks"] - expected["landmarks"], axis=-1)
    assert distance.mean() < 0.5
    assert np.abs(found["confidence"] - expected["confidence"]).mean() < 0.05
    kinds = types(report.path)
    convolutions = [kind for op, kind in kinds if "CONV" in op]
    assert convolutions.count("float32") == 1  # the one that gives the logits
    assert {kind for op, kind in kinds if op == "LOG"} == {"float32"}


@pytest.mark.slow
def test_a_file_over_the_limit_is_not_left_behind(small, tmp_path):
    with pytest.raises(
        FaceAlignError, match=r"was not written: landmarks of 2 faces .* limit is 0"
    ):
        export_model(small, tmp_path, quantize="float16", calibration_images=pictures(2), limit=0.0)
    assert list(tmp_path.iterdir()) == []
    # Nor does it take the place of one that was there.
    (tmp_path / "model_float16.tflite").write_bytes(b"before")
    with pytest.raises(FaceAlignError, match="not written"):
        export_model(small, tmp_path, quantize="float16", limit=0.0)
    assert (tmp_path / "model_float16.tflite").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_writer_that_breaks_leaves_nothing(small, tmp_path, monkeypatch):
    def broken(frozen, path, quantize, metadata):
        path.mkdir()
        (path / "half").write_text("written")
        raise OSError("disk full")

    monkeypatch.setitem(exporting.WRITERS, "saved_model", broken)
    with pytest.raises(OSError, match="disk full"):
        export_model(small, tmp_path, "saved_model")
    assert list(tmp_path.iterdir()) == []


def test_versions_of_a_saved_model_count_up_and_serve_by_name(small, tmp_path):
    import tensorflow as tf

    for version in ("1", "2"):
        assert export_model(small, tmp_path, "saved_model").path == tmp_path / version
    loaded = tf.saved_model.load(str(tmp_path / "2"))
    serve = loaded.signatures["serving_default"]
    spec = serve.structured_input_signature[1]["images"]
    assert spec.dtype == tf.uint8 and spec.shape.as_list() == [None, 32, 32, 3]
    assert serve.structured_outputs["landmarks"].shape.as_list() == [None, 68, 2]
    assert read_metadata(tmp_path)["preset"] == small.name
    # What TensorFlow Serving makes of {"instances": [...]}: all outputs are cut along axis 0.
    images = pictures(2)
    body = json.loads(json.dumps({"instances": [{"images": image.tolist()} for image in images]}))
    rows = [row["images"] for row in body["instances"]]
    outputs = serve(images=tf.constant(rows, tf.uint8))
    expected = small.predict_outputs(images)
    assert sorted(outputs) == sorted(expected)
    for name, values in outputs.items():
        assert values.shape[0] == 2
        assert mean_difference(values.numpy(), expected[name]) < 1e-3


def test_names_of_files(small, tmp_path):
    target = exporting._target
    assert target(tmp_path, "onnx", "none", True) == tmp_path / "model.onnx"
    assert target(tmp_path, "tflite", "int8", False) == tmp_path / "model_heatmaps_int8.tflite"
    assert target(tmp_path / "a.tflite", "tflite", "int8", True) == tmp_path / "a.tflite"
    (tmp_path / "file").write_text("")
    for output, format in (("a.onnx", "tflite"), ("file", "onnx"), ("file", "saved_model")):
        with pytest.raises(FaceAlignError, match=re.escape(output)):
            target(tmp_path / output, format, "none", True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"format": "coreml"}, "coreml"),
        ({"quantize": "int4"}, "int4"),
        ({"format": "onnx", "quantize": "int8"}, "TFLite only"),
        ({"format": "saved_model", "quantize": "int8"}, "TFLite only"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": "many"}, "many"),
        ({"batch": True}, "True"),
        ({"limit": float("nan")}, "limit"),
        ({"calibration_images": np.zeros((2, 8, 8, 3), np.uint8)}, "calibration_images"),
    ],
)
def test_bad_arguments_are_named(arguments, complaint, small, tmp_path):
    with pytest.raises(FaceAlignError, match=complaint):
        export_model(small, tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_a_spatial_transformer_cannot_do_is_said(tmp_path):
    model = network(spatial_transformer=True)
    with pytest.raises(FaceAlignError, match="with decoding"):
        export_model(model, tmp_path, decode=False)
    with pytest.raises(FaceAlignError, match="int8"):
        export_model(model, tmp_path, quantize="int8")


def test_unknown_presets_and_weights_beyond_float16(small, tmp_path):
    with pytest.raises(FaceAlignError, match="nobody"):
        export_model("nobody", tmp_path)
    big = network(topology="sat", stem="light")
    kernel = next(w for w in big.weights if w.path.endswith("heatmap/kernel"))
    kernel.assign(np.full(kernel.shape, 1e6, "float32"))
    with pytest.raises(FaceAlignError, match="float16"):
        export_model(big, tmp_path, "onnx", "float16")
