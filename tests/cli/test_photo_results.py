"""The files of each photo are those of this run, and nobody else's are touched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign.cli.photo_inputs import Photo
from keras_facealign.cli.photo_results import PhotoResults
from keras_facealign.formats import write_image
from keras_facealign.inference import Face
from keras_facealign.landmarks import IBUG68

IMAGE = np.zeros((40, 50, 3), np.uint8)
FACE = Face(np.full((68, 2), 9.0, np.float32), np.ones(68, np.float32), np.array([1, 2, 30, 40.0]))


def run(output, faces, face_format="json", overlay=True, names=("p",)):
    output.mkdir(exist_ok=True)
    results = PhotoResults(output, face_format, overlay)
    with results.files:
        for name in names:
            photo = Photo(output / f"{name}.jpg", output / name)
            results.write(photo, IMAGE, [FACE] * faces, IBUG68)
    return results


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


@pytest.mark.parametrize("face_format", ["json", "csv", "pts"])
def test_fewer_faces_leave_no_more_files(face_format, tmp_path):
    names = ("p", "p_face1", "sub/p")
    run(tmp_path, 3, face_format, names=names)
    assert len(files(tmp_path)) == 12
    results = run(tmp_path, 1, face_format, names=names[:1])
    assert [f for f in files(tmp_path) if f.startswith("p_") and "face1_" not in f] == [
        f"p_face0.{face_format}",
        "p_overlay.jpg",
    ]
    # Those of photos whose names begin alike stay.
    assert len(files(tmp_path)) == 10 and results.left == []
    run(tmp_path, 0, face_format, names=names)
    assert files(tmp_path) == []


def test_a_gap_in_the_numbers_hides_nothing(tmp_path):
    run(tmp_path, 4)
    (tmp_path / "p_face2.json").unlink()
    run(tmp_path, 1)
    assert files(tmp_path) == ["p_face0.json", "p_overlay.jpg"]


def test_files_of_the_user_stay_and_are_mentioned(tmp_path, capsys):
    mine = {
        "p_face3.json": json.dumps({"name": "p", "landmarks": []}),
        "p_face4.json": "not JSON",
        "p_face5.csv": "my,table",
        "p_face6.pts": "my points",
        "p_overlay.jpg": "my picture",
        "p_face1_notes.json": "{}",
        "p_faces.json": "{}",
        "p_face.json": "{}",
    }
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "p_face7.json").mkdir()
    results = run(tmp_path, 0)
    assert {name: (tmp_path / name).read_text() for name in mine} == mine
    results.report()
    assert "p_face3.json, p_face4.json, p_face5.csv and 3 more" in capsys.readouterr().err


def test_results_in_other_formats_stay_and_are_mentioned(tmp_path, capsys):
    run(tmp_path, 2, "csv")
    results = run(tmp_path, 1, "json", overlay=False)
    expected = ["p_face0.csv", "p_face0.json", "p_face1.csv", "p_overlay.jpg"]
    assert files(tmp_path) == expected
    results.report()
    captured = capsys.readouterr()
    assert "1 face in 1 photo" in captured.out
    assert "not of this run: p_face0.csv, p_face1.csv, p_overlay.jpg" in captured.err


def test_an_overlay_that_grew_too_long_for_jpeg(tmp_path):
    write_image(tmp_path / "p_overlay.png", IMAGE)
    run(tmp_path, 1)
    assert files(tmp_path) == ["p_face0.json", "p_overlay.jpg"]


def test_an_undecodable_name_costs_nothing_in_any_format(tmp_path):
    for face_format in ("json", "csv", "pts", "coco"):
        results = run(tmp_path / face_format, 1, face_format, names=("a", "b\udcff", "c\n[x]"))
        assert (results.photos, results.faces) == (3, 3)
    names = {path.name for path in (tmp_path / "json").glob("*.json")}
    assert names == {"a_face0.json", "b\udcff_face0.json", "c\n[x]_face0.json"}
    content = (tmp_path / "coco" / "coco.json").read_bytes().decode("utf-8")
    listed = [image["file_name"] for image in json.loads(content)["images"]]
    assert [name.rpartition("/")[2] for name in listed] == ["a.jpg", "b\udcff.jpg", "c\n[x].jpg"]
