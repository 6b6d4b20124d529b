"""Tests of the MERL-RAV builder on drawn faces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.merl_rav import POSES  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._drawing import draw_face  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.merl_rav import make_dummy_data  # noqa: E402
from tfds_builders.merl_rav.merl_rav_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class MerlRavTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 5, "test": 5}  # noqa: RUF012


def test_examples_equal_what_was_drawn(tmp_path):
    builder = build("merl_rav", DUMMY_DATA, tmp_path)
    rows = {**read(builder, "train"), **read(builder, "test")}
    assert len(rows) == 10
    rng = np.random.default_rng(19314)
    for index, pose in enumerate(POSES):
        for part, split in enumerate(("trainset", "testset")):
            _, landmarks = draw_face(rng)
            visibility = rng.choice([1, 2, 2, 2], 68)
            hidden = {"left": range(9, 17), "righ": range(8)}.get(pose[:4], ())
            visibility[list(hidden)] = 0
            row = rows[f"{pose}/{split}/image{19 + 21 * (2 * index + part):05d}.jpg"]
            np.testing.assert_array_equal(row["visibility"], visibility)
            known = visibility > 0
            np.testing.assert_allclose(row["landmarks"][known], landmarks[known], atol=0.006)
            np.testing.assert_array_equal(row["landmarks"][~known], 0)
            np.testing.assert_allclose(row["box"][:2], landmarks[known].min(axis=0), atol=0.006)
            assert row["subset"].decode() == f"{pose}/{split}"


def test_labels_in_a_folder_of_their_own(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA / "merl_rav_organized", manual_dir)
    for folder in manual_dir.glob("*/*"):
        for name, suffix in (("images", ".jpg"), ("labels", ".pts")):
            (folder / name).mkdir()
            for path in folder.glob(f"*{suffix}"):
                path.rename(folder / name / path.name)
    builder = build("merl_rav", manual_dir, tmp_path / "data")
    assert builder.info.splits["test"].num_examples == 5
    assert "left/testset/images/image00082.jpg" in read(builder, "test")


def test_labels_without_pictures_are_explained(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA / "merl_rav_organized", manual_dir)
    for path in manual_dir.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(FaceAlignError, match=r"frontal/trainset \(images of AFLW for 1 labels\)"):
        build("merl_rav", manual_dir, tmp_path / "data")


def test_real_faces(tmp_path):
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", "")) / "merl_rav"
    if not root.is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder merl_rav")
    builder = build("merl_rav", root, tmp_path, strict=True)
    files = len(list(root.glob("*/trainset/labels/*.pts")))
    assert builder.info.splits["train"].num_examples == files > 1000
    visibility = np.stack([row["visibility"] for row in read(builder, "train").values()])
    assert (visibility == 2).mean() > 0.5 and (visibility == 1).any() and (visibility == 0).any()


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
