"""The bundled MTCNN files equal what the script makes of the `mtcnn` package's weights."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest

from keras_facealign.runtimes.litert import TFLiteGraph
from tests.paths import ROOT, load_script

export = load_script(ROOT / "benchmarks" / "export_mtcnn.py")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("tensorflow", reason="the converter is in it")
    pytest.importorskip("mtcnn", reason="the weights are in it")
    return {path.name: path for path in export.export_networks(tmp_path_factory.mktemp("mtcnn"))}


@pytest.mark.parametrize("name", export.INPUT_SHAPES)
def test_the_script_writes_the_bundled_files(name, written):
    bundled = importlib.resources.files("keras_facealign.detection.mtcnn") / f"{name}.tflite"
    shape = export.INPUT_SHAPES[name]
    images = np.random.default_rng(4).uniform(0, 255, shape).astype(np.float32)
    graphs = [TFLiteGraph(f.read_bytes(), name) for f in (written[f"{name}.tflite"], bundled)]
    first, second = (graph(images) for graph in graphs)
    assert graphs[1].input_shape == shape
    assert set(first) == set(second) == {"boxes", "scores"}
    for output in first:
        assert np.ptp(first[output]) > 1e-3
        np.testing.assert_allclose(first[output], second[output], atol=1e-6)


def test_any_size_and_any_batch():
    folder = importlib.resources.files("keras_facealign.detection.mtcnn")
    pnet = TFLiteGraph((folder / "pnet.tflite").read_bytes(), "pnet")
    rng = np.random.default_rng(5)
    large = rng.uniform(0, 255, (1, 80, 97, 3)).astype(np.float32)
    whole = pnet(large)["scores"]
    assert whole.shape == (1, 35, 44, 1)
    # A cell sees 12 x 12 pixels.
    cell = pnet(large[:, 20:32, 40:52])["scores"]
    np.testing.assert_allclose(cell[0, 0, 0], whole[0, 10, 20], atol=1e-5)
    rnet = TFLiteGraph((folder / "rnet.tflite").read_bytes(), "rnet")
    patches = rng.uniform(0, 255, (5, 24, 24, 3)).astype(np.float32)
    together = rnet(patches)["boxes"].copy()
    for patch, expected in zip(patches, together, strict=True):
        np.testing.assert_allclose(rnet(patch[None])["boxes"][0], expected, atol=1e-5)
