"""Tests of the LFW builder on drawn faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.lfw import load_samples  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build  # noqa: E402
from tfds_builders.lfw_pairs import make_dummy_data  # noqa: E402
from tfds_builders.lfw_pairs.lfw_pairs_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class LfwPairsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"test": 8, "dev_train": 2, "dev_test": 2}  # noqa: RUF012
    # Views 1 and 2 are drawn from the same people.
    OVERLAPPING_SPLITS = ["dev_train", "dev_test"]  # noqa: RUF012


def test_pairs_equal_the_list(tmp_path):
    builder = build("lfw_pairs", DUMMY_DATA, tmp_path)
    rows = tfds.as_numpy(builder.as_dataset(split="test"))
    found = {
        (int(r["fold"]), bool(r["same"]), r["file_name1"].decode(), r["file_name2"].decode())
        for r in rows
    }
    ada, bo, cy = (f"lfw/{name}/{name}_000" for name in ("Ada_Drawn", "Bo_Drawn", "Cy_van_Drawn"))
    assert found == {
        (0, True, f"{ada}1.jpg", f"{ada}2.jpg"),
        (0, True, f"{bo}1.jpg", f"{bo}2.jpg"),
        (0, False, f"{ada}1.jpg", f"{bo}1.jpg"),
        (0, False, f"{ada}2.jpg", f"{cy}1.jpg"),
        (1, True, f"{cy}1.jpg", f"{cy}2.jpg"),
        (1, True, f"{bo}2.jpg", f"{bo}1.jpg"),
        (1, False, f"{bo}2.jpg", f"{cy}2.jpg"),
        (1, False, f"{ada}1.jpg", f"{cy}2.jpg"),
    }
    for row in rows:
        for side in ("1", "2"):
            picture = np.asarray(Image.open(DUMMY_DATA / row[f"file_name{side}"].decode()))
            difference = np.abs(row[f"image{side}"].astype(int) - picture.astype(int))
            assert difference.mean() < 2


def test_view_1_has_one_fold(tmp_path):
    builder = build("lfw_pairs", DUMMY_DATA, tmp_path)
    rows = list(tfds.as_numpy(builder.as_dataset(split="dev_train")))
    assert sorted((int(row["fold"]), bool(row["same"])) for row in rows) == [(0, False), (0, True)]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "pairs.txt: the file is empty"),
        ("ten\t300\n", "pairs.txt: begins with 'ten 300'; the number"),
        ("1\t1\nAda_Drawn\t1\n", "line 2 has 'Ada_Drawn 1', but a name and two numbers are needed"),
        ("1\nAda_Drawn\t1\t2\nAda_Drawn\t1\t2\n", "line 3 has 'Ada_Drawn 1 2', but two names"),
        ("1\n../../etc\t1\t2\n", "leads out of the data set"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, text, message):
    shutil.copytree(DUMMY_DATA / "lfw", tmp_path / "lfw")
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(FaceAlignError) as caught:
        list(load_samples(tmp_path, strict=True))
    assert message in str(caught.value)


def test_a_damaged_picture_costs_its_pairs(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    (manual_dir / "lfw/Bo_Drawn/Bo_Drawn_0002.jpg").write_bytes(b"no picture")
    builder = build("lfw_pairs", manual_dir, tmp_path / "data")
    assert builder.info.splits["test"].num_examples == 5
    assert "Bo_Drawn_0002.jpg: not an image of a known format" in caplog.text
    assert "Skipped 3 of 8 samples" in caplog.text


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
