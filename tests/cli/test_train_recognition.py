"""`keras-facealign train-recognition`: options and messages; `tests/recognition` trains."""

from __future__ import annotations

from keras_facealign.cli import main
from keras_facealign.recognition import training
from tests.recognition.drawn import draw_person


def test_options_and_result(tmp_path, monkeypatch, capsys):
    asked = {}

    def train(folder, output, config, **options):
        asked.update(options, folder=folder, config=config)
        result = {"loss": 1.5, "accuracy": 0.25, "persons": 3, "pictures": 12, "seconds": 7.0}
        return {**result, "left_out": ["alone"]}

    monkeypatch.setattr(training, "train_recognition", train)
    words = ["train-recognition", str(tmp_path), "-o", str(tmp_path / "run"), "--epochs", "3"]
    assert main([*words, "--loss", "cosface", "--width", "0.5", "--seed", "4"]) == 0
    assert asked["margin"] == 0.35 and asked["width"] == 0.5 and asked["loss"] == "cosface"
    assert (asked["config"].epochs, asked["config"].seed) == (3, 4)
    captured = capsys.readouterr()
    assert "12 pictures of 3 persons (took 7 s): loss 1.500" in captured.out
    assert "1 persons left out, with less than two pictures: alone" in captured.err
    assert main(words) == 0 and asked["margin"] == 0.5


def test_unusable_folders(tmp_path, capsys):
    draw_person(tmp_path / "crops" / "a" / "0.png", 1, seed=0)
    words = ["train-recognition", str(tmp_path / "crops"), "-o", str(tmp_path / "run")]
    assert main(words) == 2
    assert "0 persons with at least 2 pictures each" in capsys.readouterr().err
