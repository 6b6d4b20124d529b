"""The reference client agrees with the library, and needs nothing of it."""

from __future__ import annotations

import ast
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest

from keras_facealign import FaceAligner
from keras_facealign.export import export_model
from tests.paths import ROOT, load_script

CLIENT = ROOT / "examples" / "tflite_client.py"
PHOTO = CLIENT.parent / "astronaut.jpg"
BOX = [175.0, 75.0, 275.0, 190.0]

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are traced by TensorFlow"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return export_model("sat1_cab_mobile", folder, "tflite").path


@pytest.fixture(scope="module")
def client():
    return load_script(CLIENT)


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(cv2.imread(str(PHOTO))[..., ::-1])


@pytest.mark.slow
@pytest.mark.parametrize("enlarged", [1.0, 4.0, 0.5])
def test_landmarks_are_those_of_the_library(enlarged, exported, client, photo):
    """Also where the crop is a reduction of the photo, and where it is an enlargement."""
    height, width = photo.shape[:2]
    photo = cv2.resize(photo, (round(width * enlarged), round(height * enlarged)))
    box = [enlarged * v for v in BOX]
    found = client.find_landmarks(str(exported), photo, box)
    aligner = FaceAligner.from_preset("sat1_cab_mobile", detector=None, runtime="keras")
    (face,) = aligner.align(photo, boxes=[box])
    # In units of the crop's pixels, of which the face is about a hundred wide.
    distance = np.linalg.norm(found[:, :2] - face.landmarks, axis=1) * 100 / (box[3] - box[1])
    assert distance.mean() < 0.2
    np.testing.assert_allclose(found[:, 2], face.confidence, atol=0.1)


def test_the_command_prints_a_line_a_landmark(exported, client, photo):
    words = [sys.executable, str(CLIENT), str(exported), str(PHOTO), *(str(v) for v in BOX)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    rows = [[float(v) for v in line.split()] for line in printed.splitlines()]
    expected = client.find_landmarks(str(exported), photo, BOX)
    np.testing.assert_allclose(rows, expected, atol=6e-3)


def test_the_client_is_short_and_stands_alone():
    source = CLIENT.read_text()
    assert len(source.splitlines()) < 60
    modules = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules == {"__future__", "sys", "cv2", "numpy", "ai_edge_litert"}
