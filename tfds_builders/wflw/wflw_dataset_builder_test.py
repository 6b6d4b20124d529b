"""Tests of the WFLW builder on drawn faces."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.wflw import PUBLISHED, load_samples  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build  # noqa: E402
from tfds_builders.wflw import make_dummy_data  # noqa: E402
from tfds_builders.wflw.wflw_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class WflwTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {  # noqa: RUF012
        "train": 3,
        "test": 3,
        "test_largepose": 1,
        "test_expression": 1,
        "test_illumination": 1,
        "test_makeup": 1,
        "test_occlusion": 1,
        "test_blur": 1,
    }
    # Of a face in a subset, the test split has the same example.
    OVERLAPPING_SPLITS = [s for s in SPLITS if s.startswith("test_")]  # noqa: RUF012


LISTS = DUMMY_DATA / "WFLW_annotations" / "list_98pt_rect_attr_train_test"


def faces(split):
    """The lines of a list, taken apart by hand."""
    for line in (LISTS / f"list_98pt_rect_attr_{split}.txt").read_text().splitlines():
        *numbers, name = line.split(" ")
        numbers = [float(number) for number in numbers]
        yield numbers[0:196:2], numbers[1:196:2], numbers[196:200], numbers[200:], name


@pytest.mark.parametrize("split", ["train", "test"])
def test_examples_equal_the_lists(tmp_path, split):
    builder = build("wflw", DUMMY_DATA, tmp_path)
    rows = {float(r["landmarks"][0, 0]): r for r in tfds.as_numpy(builder.as_dataset(split=split))}
    assert len(rows) == 3
    for x, y, rect, flags, name in faces(split):
        row = rows[float(np.float32(x[0]))]
        np.testing.assert_array_equal(row["landmarks"][:, 0], np.float32(x))
        np.testing.assert_array_equal(row["landmarks"][:, 1], np.float32(y))
        np.testing.assert_array_equal(row["published_box"], rect)
        np.testing.assert_array_equal(row["attributes"], flags)
        assert row["file_name"].decode() == f"WFLW_images/{name}"


def test_subsets_are_those_whose_flag_is_set(tmp_path):
    builder = build("wflw", DUMMY_DATA, tmp_path)
    splits = [split for split in PUBLISHED if split.startswith("test_")]
    for position, split in enumerate(splits):
        rows = list(tfds.as_numpy(builder.as_dataset(split=split)))
        expected = [np.float32(x) for x, _, _, flags, _ in faces("test") if flags[position]]
        assert len(rows) == len(expected) == 1
        np.testing.assert_array_equal(rows[0]["landmarks"][:, 0], expected[0])
        assert rows[0]["attributes"][position] == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda words: words[:-2], "line 2: has 205 entries, but 207 are needed"),
        (lambda words: ["x", *words[1:]], "line 2: has an entry that is not a number"),
        (lambda words: ["inf", *words[1:]], "line 2: has the flags 1 0 0 0 1 0 or a coordinate"),
        (lambda words: [*words[:-1], "../../secret.jpg"], "leads out of the data set"),
        (lambda words: [*words[:-1], "gone.jpg"], "gone.jpg: cannot be opened"),
    ],
)
def test_a_damaged_line_costs_one_face(tmp_path, caplog, change, message):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    path = manual_dir / LISTS.relative_to(DUMMY_DATA) / "list_98pt_rect_attr_train.txt"
    lines = path.read_text().splitlines()
    lines[1] = " ".join(change(lines[1].split()))
    path.write_text("\n".join(lines))
    faces = list(load_samples(manual_dir, "train"))
    assert len(faces) == 2
    assert message in caplog.text and "Skipped 1 of 3 samples" in caplog.text
    with pytest.raises(FaceAlignError, match=re.escape(message)):
        list(load_samples(manual_dir, "train", strict=True))


def test_a_subset_of_other_faces_is_refused(tmp_path):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    lists = manual_dir / "WFLW_annotations" / "list_98pt_test"
    path = lists / "list_98pt_test_blur.txt"
    path.write_text("9 " + path.read_text().partition(" ")[2])
    with pytest.raises(FaceAlignError, match="blur.txt: line 1: its face is not in the list"):
        list(load_samples(manual_dir, "test_blur", strict=True))


def test_lists_that_are_missing_cost_their_splits(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    shutil.rmtree(manual_dir / "WFLW_annotations" / "list_98pt_test")
    builder = build("wflw", manual_dir, tmp_path / "data")
    assert sorted(builder.info.splits) == ["test", "train"]
    assert "list_98pt_test_largepose.txt (326 faces)" in caplog.text


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
