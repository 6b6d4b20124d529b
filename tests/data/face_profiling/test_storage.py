"""Views of a face, written and read again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign.data.face_profiling import (
    ViewSettings,
    is_written,
    load_samples,
    open_output,
    read_labels,
    survey,
    turned_views,
    write_views,
)
from keras_facealign.errors import FaceAlignError
from tests.data.face_profiling.head import example

SETTINGS = ViewSettings(yaws=(20.0, 60.0), jitter=0.0, size=64)


@pytest.fixture(scope="module")
def views(fitter, model):
    return turned_views(example(model), fitter, SETTINGS, np.random.default_rng(0))


def output(path, **changes):
    return open_output(path, {"split": "train", "yaws": [20.0, 60.0], **changes})


def test_written_views_are_read_again(tmp_path, views):
    root = output(tmp_path / "out")
    assert not is_written(root, "afw/face.one")
    write_views(root, "afw/face.one", views, "afw/face.one.jpg")
    assert is_written(root, "afw/face.one")
    assert not [p for p in root.rglob("*") if p.name.endswith(".tmp")]
    faces = list(load_samples(root, strict=True))
    assert [face.file_name for face in faces] == [f"afw/face.one_{i}.jpg" for i in range(3)]
    for face, view in zip(faces, views, strict=True):
        np.testing.assert_array_equal(face.landmarks, view.landmarks)
        np.testing.assert_array_equal(face.visibility, view.visibility)
        np.testing.assert_array_equal(face.extras["pose"], view.pose)
        np.testing.assert_array_equal(face.extras["depth"], view.depth)
        assert face.extras["turn"] == pytest.approx(view.turn, abs=1e-4)
        assert np.abs(face.image.astype(int) - view.image).mean() < 3  # JPEG
        assert face.subset == "afw"
    assert read_labels(root, "afw/face.one").source == "afw/face.one.jpg"
    assert survey(root).found == {"train": 1}
    with pytest.raises(FaceAlignError, match="views of the split 'train', not 'test'"):
        load_samples(root, "test")


def test_a_face_with_a_part_missing_is_not_written(tmp_path, views):
    root = output(tmp_path / "out")
    write_views(root, "afw/a", views, "afw/a.jpg")
    (root / "afw/a_1.jpg").unlink()
    assert not is_written(root, "afw/a")
    write_views(root, "afw/b", views, "afw/b.jpg")
    skipped = []
    names = [face.file_name for face in load_samples(root, on_skip=skipped.append)]
    assert names == ["afw/a_0.jpg", "afw/a_2.jpg", *(f"afw/b_{i}.jpg" for i in range(3))]
    assert len(skipped) == 1 and "a_1.jpg" in str(skipped[0])
    (root / "afw/b.npz").write_bytes(b"damage")
    assert not is_written(root, "afw/b")
    skipped.clear()
    assert len(list(load_samples(root, on_skip=skipped.append))) == 2
    assert "b.npz: is not a whole .npz file" in str(skipped[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"landmarks": np.zeros((2, 67, 2), np.float32)}, "landmarks is float32 2x67x2"),
        ({"pose": np.zeros((1, 3), np.float32)}, r"has labels of \[1, 2\] views"),
        ({"visibility": np.full((2, 68), 7)}, "visibility other than 0, 1, 2"),
        ({"depth": np.full((2, 68), np.inf)}, "depth is not finite"),
    ],
)
def test_damaged_labels_are_refused(tmp_path, changes, message):
    labels = {
        "landmarks": np.zeros((2, 68, 2), np.float32),
        "depth": np.zeros((2, 68), np.float32),
        "visibility": np.full((2, 68), 2),
        "pose": np.zeros((2, 3), np.float32),
        "turn": np.zeros(2, np.float32),
        "source": np.array("a.jpg"),
    }
    np.savez(tmp_path / "a.npz", **{**labels, **changes})
    with pytest.raises(FaceAlignError, match=message):
        read_labels(tmp_path, "a")


def test_a_folder_is_taken_up_with_the_same_settings_only(tmp_path):
    root = output(tmp_path / "out")
    assert output(tmp_path / "out") == root
    with pytest.raises(FaceAlignError, match=r"made with yaws \[20.0, 60.0\], not \[30.0\]"):
        output(tmp_path / "out", yaws=[30.0])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(FaceAlignError, match="holds other files"):
        output(tmp_path / "other")
    with pytest.raises(FaceAlignError, match="holds no views"):
        load_samples(root)
    (root / "settings.json").write_text(json.dumps([1]))
    with pytest.raises(FaceAlignError, match="holds no settings"):
        load_samples(root)
    (root / "settings.json").write_text("{")
    with pytest.raises(FaceAlignError, match="settings.json: cannot be read"):
        load_samples(root)
