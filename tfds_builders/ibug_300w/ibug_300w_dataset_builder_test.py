"""Tests of the 300W builder on drawn faces."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers import ibug_300w  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build  # noqa: E402
from tfds_builders.ibug_300w import make_dummy_data  # noqa: E402
from tfds_builders.ibug_300w.ibug_300w_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class Ibug300wTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {  # noqa: RUF012
        "train": 6,
        "helen_test": 1,
        "lfpw_test": 2,
        "common": 3,
        "challenge": 1,
        "full": 4,
        "test": 2,
    }
    OVERLAPPING_SPLITS = ["common", "full"]  # noqa: RUF012


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_examples_equal_the_files(tmp_path, file_format):
    if file_format == "array_record":
        pytest.importorskip("array_record", reason="array_record has no wheel for this platform")
    builder = build("ibug_300w", DUMMY_DATA, tmp_path, file_format=file_format)
    assert set(builder.info.splits) == set(ibug_300w.SPLITS)
    for split in ("train", "challenge", "test"):
        if file_format == "array_record":
            rows = list(builder.as_data_source(split=split))
        else:
            rows = list(tfds.as_numpy(builder.as_dataset(split=split)))
        read = {row["file_name"].decode(): row for row in rows}
        expected = list(ibug_300w.load_samples(DUMMY_DATA, split, strict=True))
        assert len(read) == len(rows) == len(expected)
        for example in expected:
            row = read[example.file_name]
            np.testing.assert_array_equal(row["landmarks"], example.landmarks)
            np.testing.assert_array_equal(row["visibility"], np.full(68, 2))
            np.testing.assert_array_equal(row["box"], example.box)
            assert row["subset"].decode() == example.subset
            assert row["image"].dtype == np.uint8
            assert row["image"].shape == example.image.shape
            # Decoders differ in how they interpolate a JPEG's color at edges; a grayscale file is
            # stored as PNG, which is exact.
            difference = np.abs(row["image"].astype(int) - example.image.astype(int))
            limit = 0 if example.file_name.endswith(".png") or split == "challenge" else 2.0
            assert difference.mean() <= limit


def test_landmarks_lie_where_they_were_drawn(tmp_path):
    builder = build("ibug_300w", DUMMY_DATA, tmp_path)
    rng = np.random.default_rng(300)
    _, first = make_dummy_data.draw_face(rng)
    rows = {row["file_name"]: row for row in tfds.as_numpy(builder.as_dataset(split="train"))}
    np.testing.assert_allclose(rows[b"afw/face_001.jpg"]["landmarks"], first, atol=1e-5)


def test_rotated_jpeg_is_stored_upright(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA / "ibug", manual_dir / "ibug")
    path = manual_dir / "ibug" / "face_001.jpg"
    upright = np.zeros((96, 64, 3), np.uint8)
    upright[:32, :, 0] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1))).save(path, exif=exif, quality=95)
    builder = build("ibug_300w", manual_dir, tmp_path / "data")
    (row,) = tfds.as_numpy(builder.as_dataset(split="challenge"))
    assert row["image"].shape == (96, 64, 3)
    assert np.abs(row["image"].astype(int) - upright.astype(int)).mean() < 3


def test_partial_copy_with_a_broken_file(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    for folder in ("afw", "lfpw/trainset", "lfpw/testset"):
        shutil.copytree(DUMMY_DATA / folder, manual_dir / folder)
    (manual_dir / "lfpw/trainset/face_002.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        builder = build("ibug_300w", manual_dir, tmp_path / "data")
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 3,
        "lfpw_test": 2,
    }
    assert "left out helen/trainset (2000 faces), helen/testset (330 faces), ibug" in caplog.text
    assert "and so the splits helen_test, common, challenge, full, test" in caplog.text
    assert "train has 4 of 3148 official samples" in caplog.text
    assert "face_002.png: the file is empty" in caplog.text
    assert "Skipped 1 of 4 samples" in caplog.text

    with pytest.raises(FaceAlignError, match=r"face_002\.png: the file is empty"):
        build("ibug_300w", manual_dir, tmp_path / "strict", strict=True)


def test_strict_survives_pickling(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA / "afw", manual_dir / "afw")
    (manual_dir / "afw" / "face_001.pts").write_text("")
    builder = pickle.loads(
        pickle.dumps(tfds.builder("ibug_300w", data_dir=tmp_path / "data", strict=True))
    )
    with pytest.raises(FaceAlignError, match=r"face_001\.pts: the file is empty"):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
        )


def test_real_partial_copy(tmp_path):
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", "")) / "300w"
    if not root.is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder 300w")
    builder = build("ibug_300w", root, tmp_path, strict=True)
    assert builder.info.splits["train"].num_examples == 2010
    assert builder.info.splits["lfpw_test"].num_examples == 224
    inside = []
    for row in tfds.as_numpy(builder.as_dataset(split="lfpw_test")):
        height, width = row["image"].shape[:2]
        limits = np.array([width, height]) - 0.5
        inside.append(((row["landmarks"] > -0.5) & (row["landmarks"] < limits)).mean())
    assert np.mean(inside) > 0.99


def test_a_folder_without_300w_is_refused(tmp_path):
    (tmp_path / "manual" / "holiday").mkdir(parents=True)
    with pytest.raises(FaceAlignError, match="ibug_300w cannot be built without afw"):
        build("ibug_300w", tmp_path / "manual", tmp_path / "data")


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
