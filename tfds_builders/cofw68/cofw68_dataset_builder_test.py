"""Tests of the COFW68 builder on drawn faces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.cofw68 import load_samples  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.cofw.make_dummy_data import draw  # noqa: E402
from tfds_builders.cofw68 import make_dummy_data  # noqa: E402
from tfds_builders.cofw68.cofw68_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class Cofw68Test(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"test": 3}  # noqa: RUF012


def test_examples_equal_the_labels(tmp_path):
    rows = read(build("cofw68", DUMMY_DATA, tmp_path), "test")
    labels = DUMMY_DATA / "COFW68_Data"
    boxes = scipy.io.loadmat(labels / "cofw68_test_bboxes.mat")["bboxes"].astype(float)
    rng = np.random.default_rng(68)
    for i in range(3):
        row = rows[f"COFW_test_color.mat#{i + 1:04d}"]
        picture, drawn = draw(rng, gray=i == 1)
        file = scipy.io.loadmat(labels / "test_annotations" / f"{i + 1}_points.mat")
        np.testing.assert_allclose(row["landmarks"], drawn, atol=1e-5)
        np.testing.assert_array_equal(row["visibility"], 2 - file["Occ"][0].astype(int))
        x, y, w, h = boxes[i]
        np.testing.assert_array_equal(row["published_box"], [x - 1, y - 1, x - 1 + w, y - 1 + h])
        np.testing.assert_array_equal(row["image"][:, :, 0], picture.reshape(96, 96, -1)[:, :, 0])


def test_labels_without_pictures_are_explained(tmp_path):
    shutil.copytree(DUMMY_DATA / "COFW68_Data", tmp_path / "manual" / "COFW68_Data")
    with pytest.raises(
        FaceAlignError, match=r"cannot be built without COFW_test_color\.mat \(the 507 images\)"
    ):
        build("cofw68", tmp_path / "manual", tmp_path / "data")


def test_a_damaged_label_costs_one_face(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    path = manual_dir / "COFW68_Data" / "test_annotations" / "2_points.mat"
    path.write_bytes(path.read_bytes()[:300])
    builder = build("cofw68", manual_dir, tmp_path / "data")
    assert builder.info.splits["test"].num_examples == 2
    assert "2_points.mat: is damaged (" in caplog.text
    with pytest.raises(FaceAlignError, match="2_points.mat: is damaged"):
        build("cofw68", manual_dir, tmp_path / "strict", strict=True)


def test_real_labels_without_pictures(tmp_path):
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", "")) / "cofw68_annotations"
    if not root.is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder cofw68_annotations")
    with pytest.raises(FaceAlignError, match=r"cannot be built without COFW_test_color\.mat"):
        build("cofw68", root, tmp_path)
    with pytest.raises(FaceAlignError, match="507 labels of COFW68 are here, but"):
        list(load_samples(root))


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
