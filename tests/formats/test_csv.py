"""CSV: one line for each landmark of a face, or for each face of a frame."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from keras_facealign.formats import write_face
from keras_facealign.inference import Face
from tests.formats.sample_faces import FRAMES, make_face, make_tracked, write_frames


@pytest.fixture
def face() -> Face:
    return make_face()


def test_csv_holds_a_line_for_each_landmark(face, tmp_path):
    path = write_face(tmp_path / "f.csv", face)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["landmark"]) for row in rows] == list(range(68))
    points = [[float(row["x"]), float(row["y"])] for row in rows]
    np.testing.assert_allclose(points, face.landmarks, atol=6e-4)
    np.testing.assert_allclose(
        [float(row["confidence"]) for row in rows], face.confidence, atol=6e-5
    )


def test_csv_says_whether_a_face_is_reliable(face, tmp_path):
    for reliable in (True, False):
        this = dataclasses.replace(face, reliable=reliable)
        lines = write_face(tmp_path / "f.csv", this).read_text().splitlines()
        assert lines[0].endswith(",reliable")
        assert {line.rsplit(",")[-1] for line in lines[1:]} == {str(int(reliable))}
    frames = [[dataclasses.replace(make_tracked(0, 1), reliable=False)], [make_tracked(0, 1)]]
    with write_frames(tmp_path / "g.csv", frames).open(newline="") as file:
        assert [row["reliable"] for row in csv.DictReader(file)] == ["0", "1"]


def test_csv_has_a_line_for_each_face(tmp_path):
    path = write_frames(tmp_path / "f.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["id"]) for row in rows] == [("0", "4"), ("0", "9"), ("2", "9")]
    faces = [item for frame in FRAMES for item in frame]
    for row, expected in zip(rows, faces, strict=True):
        points = [[float(row[f"x{i}"]), float(row[f"y{i}"])] for i in range(68)]
        np.testing.assert_allclose(points, expected.landmarks, atol=6e-4)
        values = [float(row[f"c{i}"]) for i in range(68)]
        np.testing.assert_allclose(values, expected.confidence, atol=6e-5)
        assert float(row["box_x1"]) == 300
    assert float(rows[0]["pitch"]) == -6.5 and rows[1]["pitch"] == ""


def test_csv_has_columns_for_what_calibrated_presets_add(tmp_path):
    sigma, visibility = np.linspace(0.5, 4, 68), np.linspace(0, 1, 68)
    sure = dataclasses.replace(make_tracked(0, 1), sigma=sigma, visibility=visibility)
    path = write_frames(tmp_path / "f.csv", [[], [sure], [sure]])
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert list(first)[-5:] == ["x67", "y67", "c67", "s67", "v67"]
    for i in range(68):
        assert float(second[f"s{i}"]) == pytest.approx(sigma[i], abs=6e-4)
        assert float(second[f"v{i}"]) == pytest.approx(visibility[i], abs=6e-5)
        assert float(second[f"y{i}"]) == pytest.approx(float(sure.landmarks[i, 1]), abs=6e-4)
    header = write_frames(tmp_path / "g.csv", [[]]).read_text().splitlines()
    assert len(header) == 1 and header[0].endswith("x67,y67,c67")
