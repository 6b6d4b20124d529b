"""Tests of the COFW builder on drawn faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._drawing import SIZE  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.cofw import make_dummy_data  # noqa: E402
from tfds_builders.cofw.cofw_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class CofwTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 3, "test": 2}  # noqa: RUF012


def test_examples_equal_the_hdf5_arrays(tmp_path):
    builder = build("cofw", DUMMY_DATA, tmp_path)
    for split, ending in (("train", "Tr"), ("test", "T")):
        rows = read(builder, split)
        with h5py.File(DUMMY_DATA / f"COFW_{split}_color.mat") as file:
            count = file[f"Is{ending}"].shape[1]
            assert len(rows) == count
            for i in range(count):
                row = rows[f"COFW_{split}_color.mat#{i + 1:04d}"]
                for k in range(29):  # MATLAB's phis(i, :) is 29 x, 29 y, 29 flags
                    x, y, hidden = (file[f"phis{ending}"][k + 29 * part, i] for part in range(3))
                    np.testing.assert_allclose(row["landmarks"][k], [x - 1, y - 1], atol=1e-5)
                    assert row["visibility"][k] == (1 if hidden else 2)
                x, y, w, h = file[f"bboxes{ending}"][:, i] - [1, 1, 0, 0]
                np.testing.assert_array_equal(row["published_box"], [x, y, x + w, y + h])
                np.testing.assert_array_equal(row["box"][:2], row["landmarks"].min(axis=0))
                np.testing.assert_array_equal(row["box"][2:], row["landmarks"].max(axis=0))
                picture = file[file[f"Is{ending}"][0, i]]
                assert picture.shape[-2:] == (SIZE, SIZE)
                for channel in range(3):
                    plane = picture[channel] if picture.ndim == 3 else picture[:]
                    np.testing.assert_array_equal(row["image"][:, :, channel], plane.T)
                assert row["subset"] == split.encode()


def test_pictures_stand_upright(tmp_path):
    """HDF5 has MATLAB's arrays transposed; the drawing's own pixels tell whether that is undone."""
    rows = read(build("cofw", DUMMY_DATA, tmp_path), "train")
    picture, landmarks = make_dummy_data.draw(np.random.default_rng(29), gray=False)
    row = rows["COFW_train_color.mat#0001"]
    np.testing.assert_array_equal(row["image"], picture)
    np.testing.assert_allclose(row["landmarks"], make_dummy_data.landmarks_29(landmarks), atol=1e-5)


def test_one_file_alone_builds_its_split(tmp_path, caplog):
    manual_dir = tmp_path / "manual" / "COFW_color"
    manual_dir.mkdir(parents=True)
    shutil.copy(DUMMY_DATA / "COFW_test_color.mat", manual_dir)
    builder = build("cofw", manual_dir.parent, tmp_path / "data")
    assert list(builder.info.splits) == ["test"]
    assert "left out COFW_train_color.mat (1345 faces)" in caplog.text
    assert "test has 2 of 507 official samples" in caplog.text


def test_a_reference_that_points_nowhere_costs_one_face(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    manual_dir.mkdir()
    shutil.copy(DUMMY_DATA / "COFW_test_color.mat", manual_dir)
    with h5py.File(manual_dir / "COFW_test_color.mat", "r+") as file:
        references = file["IsT"][()]
        references[0, 1] = h5py.Reference()
        file["IsT"][...] = references
    builder = build("cofw", manual_dir, tmp_path / "data")
    assert builder.info.splits["test"].num_examples == 1
    assert "COFW_test_color.mat: IsT 2 does not point to an array" in caplog.text
    with pytest.raises(FaceAlignError, match="IsT 2 does not point to an array"):
        build("cofw", manual_dir, tmp_path / "strict", strict=True)


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
