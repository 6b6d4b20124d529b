"""Crops of AFLW with 3D landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from keras_facealign.data.catalog import load
from keras_facealign.errors import FaceAlignError
from tests.data.readers.drawn_faces import real_copy

NAMES = ("0007-a", "0001-b", "0003-c")


@pytest.fixture
def crops(tmp_path):
    """Three gray crops with random landmarks, and these."""
    rng = np.random.default_rng(5)
    points = rng.uniform(20, 130, (3, 68, 3)).astype(np.float32)
    root = tmp_path / "approximate_crops"
    (root / "images").mkdir(parents=True)
    for name in NAMES:
        Image.new("RGB", (150, 150), (90, 90, 90)).save(root / "images" / f"{name}.jpg")
    write_labels(root, points)
    return root, points


def write_labels(root, points, names=NAMES, index=(6, 0, 2)):
    np.savez(
        root / "labels.npz",
        names=np.array(names),
        aflw2000_index=np.array(index, np.int64),
        pts3d=points,
    )


@pytest.mark.parametrize("above", [False, True])
def test_crops_have_the_labels_in_their_order(crops, above):
    root, points = crops
    faces = list(load("aflw_3d_crops", root.parent if above else root, "test", strict=True))
    assert [face.file_name for face in faces] == [f"images/{name}.jpg" for name in NAMES]
    assert [int(face.extras["aflw2000_index"]) for face in faces] == [6, 0, 2]
    for face, truth in zip(faces, points, strict=True):
        assert face.image.shape == (150, 150, 3)
        np.testing.assert_array_equal(face.landmarks, truth[:, :2])
        np.testing.assert_array_equal(face.extras["depth"], truth[:, 2])
        np.testing.assert_array_equal(face.box[:2], truth[:, :2].min(axis=0))
        assert (face.visibility == 2).all()


def test_crops_that_cannot_be_read(crops, tmp_path):
    root, points = crops
    with pytest.raises(FaceAlignError, match="no split 'train'"):
        load("aflw_3d_crops", root, "train")
    with pytest.raises(FaceAlignError, match=r"holds no labels\.npz"):
        load("aflw_3d_crops", tmp_path / "none", "test")
    (root / "images" / f"{NAMES[1]}.jpg").unlink()
    skipped: list[FaceAlignError] = []
    assert len(list(load("aflw_3d_crops", root, "test", on_skip=skipped.append))) == 2
    assert f"{NAMES[1]}.jpg: cannot be opened" in str(skipped[0])
    points[0, 3, 2] = np.nan
    write_labels(root, points)
    with pytest.raises(FaceAlignError, match="face 0: a depth is not finite"):
        list(load("aflw_3d_crops", root, "test", strict=True))
    write_labels(root, points, names=("../../secret", *NAMES[1:]))
    points[0, 3, 2] = 1.0
    write_labels(root, points, names=("../../../secret", *NAMES[1:]))
    with pytest.raises(FaceAlignError, match="leads out of the data set"):
        list(load("aflw_3d_crops", root, "test", strict=True))
    write_labels(root, points, index=(1, 2))
    with pytest.raises(FaceAlignError, match=r"of \[2, 3\] faces"):
        load("aflw_3d_crops", root, "test")


def test_real_faces():
    assert len(list(load("aflw_3d_crops", real_copy("aflw2000"), "test", strict=True))) == 126
