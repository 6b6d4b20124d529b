"""Files of faces and pictures: content, and that none is ever half written."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from keras_facealign.data.pts import read_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats import write_face, write_image
from keras_facealign.inference import Face
from keras_facealign.inference.head_pose import mean_face, rotation_matrix


@pytest.fixture
def face() -> Face:
    rng = np.random.default_rng(3)
    return Face(
        landmarks=rng.uniform(0, 500, (68, 2)).astype(np.float32),
        confidence=rng.uniform(0, 1, 68).astype(np.float32),
        box=np.array([1.5, 2, 300, 400], np.float32),
        score=0.875,
    )


def test_json_holds_everything(face, tmp_path):
    path = write_face(tmp_path / "f.json", face, image="a/b.jpg", image_size=(640, 480))
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["image"] == "a/b.jpg"
    assert record["image_size"] == [640, 480]
    assert record["scheme"] == "ibug68"
    assert record["score"] == 0.875
    assert record["box"] == [1.5, 2, 300, 400]
    np.testing.assert_allclose(record["landmarks"], face.landmarks, atol=6e-4)
    np.testing.assert_allclose(record["confidence"], face.confidence, atol=6e-5)
    assert "image" not in json.loads(write_face(tmp_path / "g.json", face).read_text())


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


def test_a_calibrated_face_has_sigma_and_visibility(face, tmp_path):
    extra = {"sigma": np.linspace(0.5, 3, 68), "visibility": np.linspace(0, 1, 68)}
    sure = dataclasses.replace(face, **extra)
    record = json.loads(write_face(tmp_path / "f.json", sure).read_text())
    with write_face(tmp_path / "f.csv", sure).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, values in extra.items():
        np.testing.assert_allclose(record[name], values, atol=6e-4)
        np.testing.assert_allclose([float(row[name]) for row in rows], values, atol=6e-4)
    assert "sigma" not in json.loads(write_face(tmp_path / "g.json", face).read_text())


def test_pts_counts_from_one(face, tmp_path):
    path = write_face(tmp_path / "f.pts", face)
    body = path.read_text(encoding="ascii").split("{")[1].split("}")[0]
    points = np.array([line.split() for line in body.strip().splitlines()], float)
    np.testing.assert_allclose(points - 1, face.landmarks, atol=1e-3)


def test_pts_reads_back(face, tmp_path):
    landmarks, visibility = read_pts(write_face(tmp_path / "f.pts", face), num_landmarks=68)
    np.testing.assert_allclose(landmarks, face.landmarks, atol=1e-4)
    assert (visibility == 2).all()


def test_json_of_ibugs_points_has_the_pose(tmp_path):
    seen = mean_face() @ rotation_matrix(20, -10, 5).T
    face = Face((seen[:, :2] * 9 + 300).astype(np.float32), np.ones(68, np.float32), np.ones(4))
    record = json.loads(write_face(tmp_path / "f.json", face).read_text())
    found = [record["pose"][name] for name in ("yaw", "pitch", "roll")]
    np.testing.assert_allclose(found, (20, -10, 5), atol=0.5)
    for scheme, other in (
        ("menpo68", face),  # no scheme of ours: its points could be any
        ("ibug68", Face(np.full((68, 2), 7.0, np.float32), face.confidence, face.box)),
        ("ibug68", Face(face.landmarks, np.zeros(68, np.float32), face.box)),
    ):
        path = write_face(tmp_path / "g.json", other, scheme=scheme)
        assert "pose" not in json.loads(path.read_text())


def test_pictures_come_back(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    exact = write_image(tmp_path / "p.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(exact)), image)
    smooth = np.full((20, 30, 3), (200, 30, 90), np.uint8)
    close = np.asarray(Image.open(write_image(tmp_path / "p.jpg", smooth)))
    assert np.abs(close.astype(int) - smooth).max() <= 4
    long = write_image(tmp_path / "long.jpg", np.zeros((2, 66_000, 3), np.uint8))
    assert long.name == "long.png"
    assert Image.open(long).size == (66_000, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_results_have_the_rights_of_ordinary_files(face, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    path = write_face(tmp_path / "f.json", face)
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_cannot_be_written_leaves_the_old_file_and_no_other(face, tmp_path, monkeypatch):
    path = tmp_path / "f.json"
    path.write_text("old")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(FaceAlignError, match=r"f\.json: cannot be written \(No space left"):
        write_face(path, face)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f.json"]


def test_clear_errors(face, tmp_path):
    with pytest.raises(FaceAlignError, match=r"ending '\.xml'; use \.json, \.csv or \.pts"):
        write_face(tmp_path / "f.xml", face)
    with pytest.raises(FaceAlignError, match="ending ''"):
        write_image(tmp_path / "picture", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(FaceAlignError, match="nowhere"):
        write_face(tmp_path / "nowhere" / "f.json", face)
    lost = Face(np.full((68, 2), np.nan, np.float32), face.confidence, face.box)
    for ending in ("json", "csv", "pts"):
        with pytest.raises(FaceAlignError, match="not finite"):
            write_face(tmp_path / f"f.{ending}", lost)
    assert os.listdir(tmp_path) == []
