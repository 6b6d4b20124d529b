"""Tests of the CFP builder on drawn faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.cfp import load_samples  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build  # noqa: E402
from tfds_builders.cfp import make_dummy_data  # noqa: E402
from tfds_builders.cfp.cfp_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class CfpTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"ff": 20, "fp": 20}  # noqa: RUF012
    # Both draw on the same pictures.
    OVERLAPPING_SPLITS = ["ff"]  # noqa: RUF012


@pytest.mark.parametrize(
    "split, views", [("ff", ("frontal", "frontal")), ("fp", ("frontal", "profile"))]
)
def test_pairs_equal_the_lists(tmp_path, split, views):
    builder = build("cfp", DUMMY_DATA, tmp_path)
    rows = list(tfds.as_numpy(builder.as_dataset(split=split)))
    assert sorted((int(r["fold"]), bool(r["same"])) for r in rows) == [
        (fold, same) for fold in range(10) for same in (False, True)
    ]
    # The lists alternate: pictures 1, 2 and 1, 3 in odd folders, 3, 4 and 2, 4 in even ones.
    pictures = {1: "001/{}/01", 2: "001/{}/02", 3: "002/{}/01", 4: "002/{}/02"}
    expected = {(0, True): (1, 2), (0, False): (1, 3), (1, True): (3, 4), (1, False): (2, 4)}
    for row in rows:
        for side in (1, 2):
            index = expected[row["fold"] % 2, bool(row["same"])][side - 1]
            name = pictures[index].format(views[side - 1])
            assert row[f"file_name{side}"].decode() == f"Data/Images/{name}.jpg"
            lines = (DUMMY_DATA / "Data" / "Fiducials" / f"{name}.txt").read_text().split()
            points = [[float(word) for word in line.split(",")] for line in lines]
            np.testing.assert_array_equal(row[f"landmarks{side}"], np.float32(points))
            assert row[f"image{side}"].shape == (96, 96, 3)


def test_without_fiducials_pairs_have_no_landmarks(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    shutil.rmtree(manual_dir / "Data" / "Fiducials")
    builder = build("cfp", manual_dir, tmp_path / "data")
    row = next(iter(tfds.as_numpy(builder.as_dataset(split="fp"))))
    assert row["landmarks1"].shape == row["landmarks2"].shape == (0, 2)
    assert "left out Data/Fiducials (landmarks)" in caplog.text


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("Protocol/Split/FF/03/same.txt", "1;2\n", "line 1 has '1;2', but two indices are needed"),
        ("Protocol/Split/FF/03/same.txt", "1,9\n", "'9' is not in the list of images"),
        ("Protocol/Pair_list_F.txt", "1\n", "line 1 has '1', which is not an index and a path"),
        ("Protocol/Pair_list_F.txt", "1 ../../../x.jpg\n", "leads out of the data set"),
        ("Data/Fiducials/001/frontal/01.txt", "1,2,3\n", "has a line that is not two numbers"),
        ("Data/Fiducials/001/frontal/01.txt", "", "the file is empty"),
        ("Data/Images/001/frontal/01.jpg", "no picture", "not an image of a known format"),
    ],
)
def test_damage_is_named(tmp_path, name, text, message):
    shutil.copytree(DUMMY_DATA, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(FaceAlignError) as caught:
        list(load_samples(tmp_path, "ff", strict=True))
    assert message in str(caught.value)


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
