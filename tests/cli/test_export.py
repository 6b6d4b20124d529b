"""`keras-facealign export`: writes files, or one line that says why not."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

from keras_facealign.cli import main
from keras_facealign.presets import save_to_preset
from keras_facealign.runtimes import read_metadata
from tests.export.networks import network

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are traced by TensorFlow"
)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    model = network(topology="sat", stem="light")
    return save_to_preset(model, tmp_path_factory.mktemp("presets") / "tiny", {"license": "mine"})


def test_a_preset_becomes_a_file_and_its_parity_is_printed(preset, tmp_path, capsys):
    words = ["export", str(preset), "--format", "tflite", "--batch", "dynamic"]
    assert main([*words, "--output", str(tmp_path / "phone")]) == 0
    path = tmp_path / "phone" / "model.tflite"
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "Parity: landmarks of 32 faces differ" in printed and "limit is 0.05" in printed
    assert "model.tflite" in printed
    about = read_metadata(path)
    assert (about["preset"], about["license"], about["batch"]) == ("tiny", "mine", None)


def test_heatmaps_in_a_saved_model(preset, tmp_path):
    words = ["export", str(preset), "-f", "saved_model", "--no-decode", "--batch", "3"]
    assert main([*words, "-o", str(tmp_path)]) == 0
    about = read_metadata(tmp_path)
    assert (tmp_path / "1" / "saved_model.pb").is_file()
    assert (about["outputs"], about["batch"]) == (["heatmaps"], 3)


def test_a_network_that_int8_spoils_fails_the_command(preset, tmp_path, capsys):
    """The landmarks of random weights jump at the slightest rounding."""
    assert main(["export", str(preset), "--quantize", "int8", "-o", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "was not written: landmarks of 32 faces differ" in printed.err
    assert printed.err.count("\n") == 1 and "Wrote" not in printed.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--batch", "some"], "some"),
        (["--batch", "0"], "batch is 0"),
        (["-f", "onnx", "--quantize", "int8"], "TFLite only"),
        (["-f", "coreml"], "coreml"),
        (["--calibration", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_used_is_named(words, complaint, preset, tmp_path, capsys):
    assert main(["export", str(preset), "-o", str(tmp_path / "out"), *words]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_images_without_faces_are_named(preset, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(np.full((60, 60, 3), 90, np.uint8)).save(folder / "gray.png")
    words = ["export", str(preset), "-o", str(tmp_path / "out"), "--calibration", str(folder)]
    assert main(words) == 2
    assert "No face was found in the" in capsys.readouterr().err
