"""`keras-facealign normalize` from the command line to the files, with drawn persons."""

from __future__ import annotations

import csv
import importlib
import os
import signal

import numpy as np
import pytest
from PIL import Image

from keras_facealign import inference
from keras_facealign.cli import main
from keras_facealign.cli.normalize import COLUMNS
from keras_facealign.recognition import estimate_norm, norm_crop
from tests.recognition import drawn

# The function of the same name hides the module.
cli_normalize = importlib.import_module("keras_facealign.cli.normalize")


@pytest.fixture(autouse=True)
def network(monkeypatch) -> dict[str, float]:
    """Puts the drawn persons' network in the place of a preset; its confidence can be changed."""
    state = {"confidence": 0.9}
    monkeypatch.setattr(
        cli_normalize.common, "load_aligner", lambda *args: drawn.aligner(state["confidence"])
    )
    return state


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for person in (1, 2):
        for k in range(2):
            drawn.draw_person(folder / f"p{person}" / f"{k}.png", person, seed=k)
    return folder


def rows(folder):
    with (folder / "faces.csv").open(newline="", encoding="utf-8") as file:
        return {row["image"].rpartition("photos/")[2]: row for row in csv.DictReader(file)}


def run(photos, *options: str) -> int:
    output = photos.parent / "out"
    return main(["normalize", str(photos), "-o", str(output), "--recursive", *options])


def test_crops_and_their_table(photos, capsys):
    assert run(photos, "--size", "32", "--mode", "pose3d") == 0
    output = photos.parent / "out"
    found = rows(output)
    assert sorted(found) == ["p1/0.png", "p1/1.png", "p2/0.png", "p2/1.png"]
    row = found["p2/1.png"]
    image = np.asarray(Image.open(photos / "p2/1.png"))
    (face,) = drawn.aligner().align(image)
    crop = np.asarray(Image.open(output / row["crop"]))
    np.testing.assert_array_equal(crop, norm_crop(image, face.landmarks, 32, "pose3d"))
    matrix = np.array([float(row[name]) for name in COLUMNS[-6:]]).reshape(2, 3)
    expected = estimate_norm(face.landmarks, 32, "pose3d")
    np.testing.assert_allclose(matrix, expected, atol=1e-5)
    assert [float(row[k]) for k in ("x0", "y0", "x1", "y1")] == list(drawn.BOX)
    assert row["crop"] == "p2/1_face.png" and row["reliable"] == "1"
    assert (row["mode"], row["note"]) == ("pose3d", "")
    assert "4 crops of 4 photos" in capsys.readouterr().out


def test_a_second_run_continues(photos, capsys, monkeypatch):
    assert run(photos) == 0
    drawn.draw_person(photos / "p3" / "new.png", 3, seed=0)
    (photos.parent / "out" / "p1" / "0_face.png").unlink()
    read = []
    original = inference.FaceAligner.align

    def align(self, image, *args, **options):
        read.append(options["name"])
        return original(self, image, *args, **options)

    monkeypatch.setattr(inference.FaceAligner, "align", align)
    assert run(photos) == 0
    assert [name.rpartition("photos/")[2] for name in read] == ["p1/0.png", "p3/new.png"]
    assert "3 photos done by an earlier run" in capsys.readouterr().out
    assert len(rows(photos.parent / "out")) == 5
    # Other settings, other crops.
    assert run(photos, "--size", "64") == 0
    assert len(read) == 2 + 5
    with Image.open(photos.parent / "out" / "p1" / "0_face.png") as image:
        assert image.size == (64, 64)


def test_failures_are_listed_and_do_not_stop_the_command(photos, capsys, network):
    (photos / "broken.jpg").write_bytes(b"no picture")
    drawn.draw_person(photos / "empty.png", 1, seed=0, size=(40, 40))
    assert run(photos) == 0
    err = capsys.readouterr().err
    assert "2 of 6 inputs failed:" in err and "broken.jpg: not an image" in err
    assert "empty.png: no face found" in err
    found = rows(photos.parent / "out")
    assert found["broken.jpg"]["mode"] == "failed" and "no face" in found["empty.png"]["note"]
    assert run(photos, "--strict") == 2
    network["confidence"] = 0.1
    assert run(photos, "--mode", "box", "--size", "48") == 0
    err = capsys.readouterr().err
    assert "p1/0.png: the landmarks are marked as not reliable; check the crop" in err
    marked = rows(photos.parent / "out")["p1/0.png"]
    assert (marked["mode"], marked["reliable"], marked["note"]) == ("box", "0", "")
    for name in ("p1", "p2"):
        for k in range(2):
            (photos / name / f"{k}.png").unlink()
    assert run(photos) == 2


def test_coinciding_landmarks_are_cut_out_by_the_box_and_listed(photos, capsys, monkeypatch):
    def collapse(self, images, batch_size=32):
        return np.full((len(images), 68, 2), 30.0), np.full((len(images), 68), 0.9)

    monkeypatch.setattr(drawn.Finder, "predict_landmarks", collapse)
    assert run(photos) == 0
    row = rows(photos.parent / "out")["p1/0.png"]
    assert (row["mode"], row["reliable"]) == ("box", "1") and "coincide" in row["note"]
    err = capsys.readouterr().err
    assert "p1/0.png: The landmarks of a face coincide" in err and "cut out by the box" in err


def test_unusable_folders(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    assert run(tmp_path / "photos") == 2
    assert "contains no photos" in capsys.readouterr().err
    drawn.draw_person(tmp_path / "photos" / "a.png", 1, seed=0)
    (tmp_path / "out" / "faces.csv").write_text("a,b\n1,2\n")
    assert run(tmp_path / "photos") == 2
    assert "is not the table of an earlier run" in capsys.readouterr().err


def test_ctrl_c_keeps_what_is_done(photos, capsys, monkeypatch):
    original = inference.FaceAligner.align
    seen = []

    def align(self, *args, **options):
        seen.append(1)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **options)

    monkeypatch.setattr(inference.FaceAligner, "align", align)
    assert run(photos) == 130
    assert len(rows(photos.parent / "out")) == 2
    assert "interrupted; 2 crops" in capsys.readouterr().err
