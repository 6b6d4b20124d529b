"""The extension decides the format, and no file is ever incomplete."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys

import numpy as np
import pytest

from keras_facealign.data.pts import read_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats import frame_writer, write_face
from keras_facealign.inference import Face
from tests.formats.sample_faces import FRAMES, INFO, make_face, write_frames


@pytest.fixture
def face() -> Face:
    return make_face()


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
    with pytest.raises(FaceAlignError, match=r"unknown format '\.xml'; use \.json, \.csv or \.pts"):
        write_face(tmp_path / "f.xml", face)
    with pytest.raises(FaceAlignError, match="nowhere"):
        write_face(tmp_path / "nowhere" / "f.json", face)
    lost = Face(np.full((68, 2), np.nan, np.float32), face.confidence, face.box)
    for ending in ("json", "csv", "pts"):
        with pytest.raises(FaceAlignError, match="not finite"):
            write_face(tmp_path / f"f.{ending}", lost)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_no_frames_and_a_failure(ending, tmp_path):
    path = write_frames(tmp_path / f"f.{ending}", frames=[])
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") >= 1
    if ending == "json":
        assert json.loads(text)["frames"] == []
    with pytest.raises(RuntimeError), frame_writer(path, INFO) as writer:
        writer.write(0, 0.0, (640, 480), FRAMES[0])
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == [path.name]


def test_unusable_frame_files(tmp_path):
    with (
        pytest.raises(FaceAlignError, match=r"unknown format '\.xml'; use \.json"),
        frame_writer(tmp_path / "f.xml", INFO),
    ):
        pass
    with (
        pytest.raises(FaceAlignError, match="cannot be written"),
        frame_writer(tmp_path / "nowhere" / "f.json", INFO),
    ):
        pass
