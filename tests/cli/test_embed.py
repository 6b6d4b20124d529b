"""`keras-facealign embed`: vectors of a folder of crops."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.cli import main
from tests.recognition.drawn import draw_person


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "colors.keras"
    layers = [keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential(layers).save(path)
    return path


def embed(folder, model, *options: str) -> int:
    output = str(folder.parent / "vectors.npz")
    return main(["embed", str(folder), "--model", str(model), "-o", output, *options])


def test_one_row_a_crop(tmp_path, model, capsys):
    folder = tmp_path / "crops"
    for person in (1, 3, 6):
        draw_person(folder / f"p{person}" / "a.png", person, seed=person, size=(32, 32))
    assert embed(folder, model, "--batch-size", "2") == 0
    assert "3 embeddings of 3 numbers" in capsys.readouterr().out
    with np.load(tmp_path / "vectors.npz") as file:
        assert file["names"].tolist() == ["p1/a.png", "p3/a.png", "p6/a.png"]
        signs = np.sign(file["embeddings"])
        np.testing.assert_array_equal(signs, [[1, -1, -1], [1, 1, -1], [-1, 1, 1]])
        np.testing.assert_allclose(np.linalg.norm(file["embeddings"], axis=1), 1, rtol=1e-6)


def test_crops_that_cannot_be_used_are_listed(tmp_path, model, capsys):
    folder = tmp_path / "crops"
    draw_person(folder / "a.png", 1, seed=0, size=(32, 32))
    draw_person(folder / "large.png", 1, seed=0, size=(64, 64))
    (folder / "broken.png").write_bytes(b"no picture")
    assert embed(folder, model) == 0
    err = capsys.readouterr().err
    assert "2 of 3 crops failed" in err and "large.png: is 64x64 pixels" in err
    with np.load(tmp_path / "vectors.npz") as file:
        assert file["names"].tolist() == ["a.png"]
    assert embed(folder, model, "--strict") == 2
    assert embed(folder, tmp_path / "none.onnx") == 2
    assert "none.onnx: cannot be opened" in capsys.readouterr().err
    (tmp_path / "nothing").mkdir()
    assert embed(tmp_path / "nothing", model) == 2
    assert "no image is there" in capsys.readouterr().err
