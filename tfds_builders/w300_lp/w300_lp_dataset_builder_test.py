"""Tests of the 300W-LP builder on drawn faces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.w300_lp import make_dummy_data  # noqa: E402
from tfds_builders.w300_lp.w300_lp_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class W300LpTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 3, "flip": 1}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["projected_3d", "pt2d"]  # noqa: RUF012


LABELS = {"projected_3d": "pts_3d", "contour_2d": "pts_2d", "pt2d": None}


@pytest.mark.parametrize("labels", LABELS)
def test_examples_equal_the_files(tmp_path, labels):
    builder = build(f"w300_lp/{labels}", DUMMY_DATA, tmp_path)
    rows = {**read(builder, "train"), **read(builder, "flip")}
    root = DUMMY_DATA / "300W_LP"
    assert len(rows) == 4
    for name, row in rows.items():
        path = DUMMY_DATA / name
        file = scipy.io.loadmat(path.with_suffix(".mat"))
        points = file["pt2d"].T
        if LABELS[labels]:
            label_path = root / "landmarks" / path.parent.name / f"{path.stem}_pts.mat"
            points = scipy.io.loadmat(label_path)[LABELS[labels]]
        np.testing.assert_allclose(row["landmarks"], points, rtol=1e-6)
        pose = file["Pose_Para"][0]
        np.testing.assert_allclose(row["pose"], pose[:3] * 180 / np.pi, rtol=1e-5)
        np.testing.assert_array_equal(row["pose_parameters"], pose)
        np.testing.assert_allclose(row["shape_parameters"], file["Shape_Para"][:, 0], rtol=1e-6)
        np.testing.assert_allclose(row["expression_parameters"], file["Exp_Para"][:, 0], rtol=1e-6)
        assert row["subset"].decode() == path.parent.name


def test_flipped_split_is_the_mirror_image(tmp_path):
    builder = build("w300_lp", DUMMY_DATA, tmp_path)
    (flipped,) = read(builder, "flip").values()
    plain = read(builder, "train")["300W_LP/IBUG/IBUG_image_008_1_0.jpg"]
    width = plain["image"].shape[1]
    np.testing.assert_allclose(
        flipped["landmarks"][8], [width - 1, 0] + plain["landmarks"][8] * [-1, 1], rtol=1e-5
    )
    np.testing.assert_allclose(
        flipped["landmarks"][36], [width - 1, 0] + plain["landmarks"][45] * [-1, 1], rtol=1e-5
    )
    assert np.abs(flipped["image"][:, ::-1].astype(int) - plain["image"].astype(int)).mean() < 4


def test_without_the_folder_landmarks_pt2d_alone_is_built(tmp_path):
    shutil.copytree(DUMMY_DATA / "300W_LP" / "AFW", tmp_path / "manual" / "AFW")
    with pytest.raises(FaceAlignError, match="no folder 'landmarks' for the labels projected_3d"):
        build("w300_lp", tmp_path / "manual", tmp_path / "data")
    builder = build("w300_lp/pt2d", tmp_path / "manual", tmp_path / "data")
    assert builder.info.splits["train"].num_examples == 2


def test_broken_faces_are_named_and_left_out(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    root = manual_dir / "300W_LP"
    (root / "AFW" / "AFW_134212_1_0.mat").unlink()
    scipy.io.savemat(
        root / "landmarks/IBUG/IBUG_image_008_1_0_pts.mat", {"pts_3d": np.ones((21, 2))}
    )
    builder = build("w300_lp", manual_dir, tmp_path / "data")
    assert builder.info.splits["train"].num_examples == 1
    assert "AFW_134212_1_0.mat: cannot be opened (No such file or directory)" in caplog.text
    assert "IBUG_image_008_1_0_pts.mat: pts_3d is 21x2, but 68x2 is needed" in caplog.text
    assert "Skipped 2 of 3 samples" in caplog.text
    with pytest.raises(FaceAlignError, match="AFW_134212_1_0.mat: cannot be opened"):
        build("w300_lp", manual_dir, tmp_path / "strict", strict=True)


def test_real_face(tmp_path):
    """The one picture of KERAS_FACEALIGN_DATA, put into its official folder."""
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", "")) / "300w_lp_sample"
    if not root.is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder 300w_lp_sample")
    shutil.copytree(root, tmp_path / "manual" / "300W_LP" / "IBUG")
    builder = build("w300_lp/pt2d", tmp_path / "manual", tmp_path / "data", strict=True)
    (row,) = read(builder, "train").values()
    assert row["image"].shape == (450, 450, 3)
    np.testing.assert_allclose(row["pose"], [-7.5836, -44.0085, 3.2076], atol=1e-3)
    assert ((row["landmarks"] > 100) & (row["landmarks"] < 400)).all()


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
