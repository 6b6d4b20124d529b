"""`keras-facealign verify` on drawn persons in CFP's layout."""

from __future__ import annotations

import importlib
import json

import keras
import pytest

from keras_facealign.cli import main
from keras_facealign.recognition import VERIFICATION_MODES, PictureEmbeddings
from tests.recognition import drawn

# The function of the same name hides the module.
cli_verify = importlib.import_module("keras_facealign.cli.verify")


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(cli_verify.common, "load_aligner", lambda *args: drawn.aligner())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return drawn.draw_cfp(tmp_path_factory.mktemp("cfp"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "colors.keras"
    layers = [keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential(layers).save(path)
    return path


def verify(data, model, output, *options: str) -> int:
    paths = ["--data", str(data), "--model", str(model), "-o", str(output)]
    return main(["verify", *paths, *options])


@pytest.mark.slow
def test_all_modes_beside_the_paper(data, model, tmp_path, capsys):
    assert verify(data, model, tmp_path / "out", "--mode", "all") == 0
    out = capsys.readouterr().out
    for word in (*VERIFICATION_MODES, "95.43", "97.13", "98.51", "100.00"):
        assert word in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.json", "report.html", "pairs.csv", "roc.png", "worst_pose3d.png"} <= names
    results = json.loads((tmp_path / "out" / "report.json").read_text())["results"]
    assert list(results) == list(VERIFICATION_MODES)


def test_an_interrupted_run_continues(data, model, tmp_path, capsys, monkeypatch):
    original = PictureEmbeddings.add

    def add(self, name, image):
        if len(self) == 20:
            raise KeyboardInterrupt
        original(self, name, image)

    monkeypatch.setattr(PictureEmbeddings, "add", add)
    assert verify(data, model, tmp_path) == 130
    assert "20 pictures embedded; they are kept" in capsys.readouterr().err
    monkeypatch.setattr(PictureEmbeddings, "add", original)
    assert verify(data, model, tmp_path) == 0
    assert "20 pictures embedded by an earlier run" in capsys.readouterr().out
    assert (tmp_path / "worst_arcface.png").is_file()


def test_missing_pictures_and_wrong_folders(model, tmp_path, capsys):
    data = drawn.draw_cfp(tmp_path / "cfp")
    (data / "Data/Images/001/profile/02.png").unlink()
    assert verify(data, model, tmp_path / "out", "--protocol", "cfp_fp") == 0
    captured = capsys.readouterr()
    assert "1 pairs left out" in captured.out
    assert "skipped: " in captured.err and "profile/02.png: cannot be opened" in captured.err
    assert verify(data, model, tmp_path / "out", "--strict") == 2
    assert verify(tmp_path, model, tmp_path / "out") == 2
    assert "CFP, frontal with profile is not there" in capsys.readouterr().err
    assert verify(data, model, tmp_path / "out", "--mode", "five") == 2
    assert "Unknown mode 'five'" in capsys.readouterr().err
