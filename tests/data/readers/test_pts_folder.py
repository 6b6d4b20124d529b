"""Pictures of one's own with `.pts` files beside them."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data import catalog
from keras_facealign.data.pts import write_pts
from keras_facealign.data.readers import pts_folder
from keras_facealign.errors import FaceAlignError
from tests.data.readers.drawn_faces import make_face


def own_face(folder, stem, count=5, seed=0):
    points = make_face(folder, stem, seed)[:count]
    write_pts(folder / f"{stem}.pts", points)
    return points


def test_faces_of_a_folder_and_its_subfolders_are_read(tmp_path):
    expected = {
        "a.png": own_face(tmp_path, "a"),
        "day/b.png": own_face(tmp_path / "day", "b", seed=1),
    }
    found = {face.file_name: face for face in catalog.load("pts_folder", tmp_path, "train")}
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        np.testing.assert_allclose(found[name].landmarks, points, atol=1e-4)
        assert found[name].visibility.tolist() == [2] * 5


def test_splits_are_subfolders(tmp_path):
    for split in ("train", "test"):
        own_face(tmp_path / split, split)
    for split in ("train", "test"):
        (face,) = pts_folder.load_samples(tmp_path, split)
        assert face.file_name == f"{split}/{split}.png"
    with pytest.raises(FaceAlignError, match=r"validation: holds no pictures with \.pts files"):
        pts_folder.load_samples(tmp_path, "validation")


def test_what_does_not_fit_is_named_and_left_out(tmp_path):
    for stem in "bcd":
        own_face(tmp_path, stem)
    own_face(tmp_path, "a", count=9)
    own_face(tmp_path, "e")
    (tmp_path / "e.pts").write_text("n_points: x")
    own_face(tmp_path, "f")
    (tmp_path / "f.png").unlink()
    own_face(tmp_path, "g")
    (tmp_path / "g.pts").unlink()
    skipped: list[str] = []
    faces = pts_folder.load_samples(tmp_path, on_skip=lambda error: skipped.append(str(error)))
    assert [face.file_name for face in faces] == ["b.png", "c.png", "d.png"]
    assert len(skipped) == 4
    for name, line in zip("aefg", skipped, strict=True):
        assert f"{tmp_path / name}." in line
    assert "9" in skipped[0] and "5" in skipped[0]
