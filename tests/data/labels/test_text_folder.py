"""Folders of `.pts` and `.txt` files beside pictures."""

from __future__ import annotations

import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write

PTS = "version: 1\nn_points: 3\n{\n11 21\n31.5 22\n15 41\n}\n"
POINTS = [[10, 20], [30.5, 21], [14, 40]]


def test_pts_files_count_from_1(tmp_path):
    picture(tmp_path, "a.png")
    picture(tmp_path, "day/b.jpg")
    write(tmp_path, "a.pts", PTS)
    write(tmp_path, "day/b.pts", PTS)
    labels = load(tmp_path)
    assert (labels.kind, len(labels), labels.num_landmarks) == ("pts_folder", 2, 3)
    assert [face.file_name for face in labels] == ["a.png", "day/b.jpg"]
    assert next(iter(labels)).landmarks.tolist() == POINTS
    assert "1 was subtracted" in labels.describe()
    other = load(tmp_path, one_based=False)
    assert other.faces[0].landmarks[0].tolist() == [11, 21]
    assert "as in the files" in other.describe()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "10 20\n30.5 21\n14 40\n"),
        ("a_ldmks.txt", "10,20\n30.5,21\n\n14, 40"),
        ("a.txt", "3\n10 20\n30.5 21\n14 40\n"),
        ("a_landmarks.txt", "10 20 30.5 21 14 40"),
    ],
)
def test_text_files(tmp_path, name, text):
    picture(tmp_path, "a.png")
    write(tmp_path, name, text)
    labels = load(tmp_path)
    assert labels.kind == "txt_folder" and labels.faces[0].landmarks.tolist() == POINTS
    assert "taken to count from 0" in labels.describe()
    assert load(tmp_path, one_based=True).faces[0].landmarks[0].tolist() == [9, 19]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path, encoding):
    picture(tmp_path, "a.png")
    write(tmp_path, "a.txt", "# Zähler\n10 20 2\n30.5 21 1\nnan nan 0\n", encoding)
    (face,) = load(tmp_path)
    assert face.visibility.tolist() == [2, 1, 0]


def test_what_does_not_fit_is_named(tmp_path):
    for stem in "abcdefg":
        picture(tmp_path, f"{stem}.png")
        write(tmp_path, f"{stem}.txt", "10 20\n30 21\n14 40\n")
    write(tmp_path, "a.txt", "10 20\n30 21\n")
    write(tmp_path, "b.txt", "10 20\n30 x\n14 40\n")
    write(tmp_path, "c.txt", "4\n10 20\n30 1\n14 40\n")
    (tmp_path / "d.png").unlink()
    (tmp_path / "e.txt").unlink()
    write(tmp_path, "README.txt", "My faces.")
    picture(tmp_path, "f.jpg")
    labels = load(tmp_path)
    assert [face.file_name for face in labels.faces] == ["f.png", "g.png"]
    told = lines(labels)
    assert len(labels.skipped) == 4
    assert f"{tmp_path / 'a.txt'}: has 2 points where 2 of 3 faces have 3" in told
    assert (
        "b.txt: line 2 has 'x'" in told
        and "c.txt: has 3 points where the first line says 4" in told
    )
    assert "d.txt: there is no picture of this name" in told
    assert {"a.png", "e.png"} <= set(labels.unlabeled)
    assert any(
        "f.jpg is left out: another picture has the same name" in note for note in labels.notes
    )


@pytest.mark.parametrize("ending", [".pts", "_ldmks.txt"])
def test_pictures_in_a_folder_of_their_own(tmp_path, ending):
    for name in ("a", "day/b", "c"):
        picture(tmp_path / "photos", f"{name}.png")
    for name in ("a", "day/b", "d"):
        write(tmp_path / "labels", f"{name}{ending}", "10 20\n30.5 21\n14 40\n")
    labels = load(tmp_path / "labels", images=tmp_path / "photos")
    assert [face.file_name for face in labels] == ["a.png", "day/b.png"]
    assert labels.unlabeled == ("c.png",) and len(labels.skipped) == 1
    assert "there is no picture of this name" in lines(labels)


def test_a_folder_without_labels(tmp_path):
    picture(tmp_path, "a.png")
    for kind in (None, "pts_folder", "txt_folder"):
        with pytest.raises(FaceAlignError, match="holds n"):
            load(tmp_path, kind)
    with pytest.raises(FaceAlignError, match="is no folder"):
        load(tmp_path / "a.png", "pts_folder")
