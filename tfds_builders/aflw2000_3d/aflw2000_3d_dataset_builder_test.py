"""Tests of the AFLW2000-3D builder on drawn faces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.aflw2000_3d import load_samples  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.aflw2000_3d import make_dummy_data  # noqa: E402
from tfds_builders.aflw2000_3d.aflw2000_3d_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class Aflw20003dTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"test": 3}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["original", "reannotated"]  # noqa: RUF012


@pytest.mark.parametrize("labels", ["original", "reannotated"])
def test_examples_equal_the_files(tmp_path, labels):
    rows = read(build(f"aflw2000_3d/{labels}", DUMMY_DATA, tmp_path), "test")
    new = np.load(DUMMY_DATA / "AFLW2000-3D-Reannotated.pts68.npy")
    for index, number in enumerate(("00002", "00004", "00050")):
        row = rows[f"AFLW2000/image{number}.jpg"]
        file = scipy.io.loadmat(DUMMY_DATA / "AFLW2000" / f"image{number}.mat")
        points = file["pt3d_68"][:2] if labels == "original" else new[index]
        np.testing.assert_array_equal(row["landmarks"], points.T)
        np.testing.assert_array_equal(row["depth"], file["pt3d_68"][2])
        np.testing.assert_allclose(row["pose"], np.degrees(file["Pose_Para"][0, :3]), rtol=1e-6)
        np.testing.assert_allclose(row["expression_parameters"], file["Exp_Para"][:, 0], rtol=1e-6)
        np.testing.assert_array_equal(row["box"][2:], points.max(axis=1))
        assert row["subset"] == b"AFLW2000"


def test_partial_copy_finds_its_faces_in_the_reannotation(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    for suffix in (".jpg", ".mat"):
        (manual_dir / "AFLW2000" / f"image00002{suffix}").unlink()
    rows = read(build("aflw2000_3d/reannotated", manual_dir, tmp_path / "data"), "test")
    new = np.load(DUMMY_DATA / "AFLW2000-3D-Reannotated.pts68.npy")
    np.testing.assert_array_equal(rows["AFLW2000/image00004.jpg"]["landmarks"], new[1].T)
    np.testing.assert_array_equal(rows["AFLW2000/image00050.jpg"]["landmarks"], new[2].T)

    (manual_dir / "AFLW2000-3D.pts68.npy").unlink()
    with pytest.raises(FaceAlignError, match=r"holds no AFLW2000-3D\.pts68\.npy"):
        build("aflw2000_3d/reannotated", manual_dir, tmp_path / "again")


def test_pickled_labels_are_not_unpickled(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    path = manual_dir / "AFLW2000-3D-Reannotated.pts68.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(FaceAlignError, match=r"Reannotated\.pts68\.npy: holds object, not plain"):
        build("aflw2000_3d/reannotated", manual_dir, tmp_path / "data")


def test_labels_cut_off_are_named(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    path = manual_dir / "AFLW2000-3D-Reannotated.pts68.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FaceAlignError, match=r"Reannotated\.pts68\.npy: cannot be read"):
        list(load_samples(manual_dir, labels="reannotated"))


def test_real_faces(tmp_path):
    """Original and re-annotated labels of the eight real pictures, with the listed poses."""
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", "")) / "aflw2000"
    if not root.is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder aflw2000")
    original = read(build("aflw2000_3d", root, tmp_path, strict=True), "test")
    again = read(build("aflw2000_3d/reannotated", root, tmp_path, strict=True), "test")
    assert len(original) == len(again) == 8
    listed = np.load(root / "labels" / "AFLW2000-3D.pts68.npy")
    new = np.load(root / "labels" / "AFLW2000-3D-Reannotated.pts68.npy")
    yaw = np.load(root / "labels" / "AFLW2000-3D.pose.npy")
    for name, row in original.items():
        (index,) = np.flatnonzero((listed[:, :2] == row["landmarks"].T).all(axis=(1, 2)))
        np.testing.assert_array_equal(again[name]["landmarks"], new[index].T)
        np.testing.assert_allclose(row["pose"][1], yaw[index], atol=1e-4)
        assert row["image"].shape == (450, 450, 3)


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
