"""Boxes from a CSV file, and their use in training batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keras_facealign.data import FaceBatches, read_boxes
from keras_facealign.errors import FaceAlignError


def _write(folder: Path, text: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_several_faces_and_passes_over_other_columns(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "score,image, x0, y0, x1, y1\n"
        "0.9,afw/1.jpg,1,2,3.5,4\n"
        "0.8,afw/1.jpg,5,6,7,8\n"
        "1,b.png,0,0,1,1\n",
    )
    assert read_boxes(path) == {
        "afw/1.jpg": [[1.0, 2.0, 3.5, 4.0], [5.0, 6.0, 7.0, 8.0]],
        "b.png": [[0.0, 0.0, 1.0, 1.0]],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x0,y0,x1\na,1,2,3\n", "no column y1"),
        ("image,x0,y0,x1,y1\na,1,2,3,four\n", "row 2 has the box 1, 2, 3, four"),
        ("image,x0,y0,x1,y1\na,1,2\n", "row 2"),
        ("\n", "no column image"),
        ("", "the file is empty"),
    ],
)
def test_names_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FaceAlignError, match=message) as caught:
        read_boxes(_write(tmp_path, text))
    assert "boxes.csv" in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaceAlignError, match=r"none\.csv"):
        read_boxes(tmp_path / "none.csv")


def _example(name: str) -> dict:
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (100, 100, 3)).astype("uint8"),
        "landmarks": rng.uniform(40, 60, (68, 2)).astype("float32"),
        "visibility": np.full(68, 2),
        "box": np.array([40, 40, 60, 60], "float32"),
        "file_name": name,
    }


def test_training_crops_follow_the_given_box_that_overlaps_most() -> None:
    wanted = [38.0, 42.0, 66.0, 62.0]
    boxes = {"a.jpg": [[0.0, 0.0, 20.0, 20.0], wanted, [10.0, 10.0, 90.0, 90.0]]}
    given = FaceBatches([_example("a.jpg")], 1, boxes=boxes)[0]
    same = FaceBatches([{**_example("a.jpg"), "box": np.array(wanted)}], 1)[0]
    own = FaceBatches([_example("a.jpg")], 1)[0]
    assert np.array_equal(given["image"], same["image"])
    assert np.array_equal(given["landmarks"], same["landmarks"])
    assert not np.allclose(given["landmarks"], own["landmarks"], atol=1.0)


def test_an_example_without_a_given_box_is_named() -> None:
    with pytest.raises(FaceAlignError, match=r"b\.jpg: no box"):
        FaceBatches([_example("b.jpg")], 1, boxes={"a.jpg": [[0, 0, 1, 1]]})


def test_a_given_box_without_area_is_named_with_its_file() -> None:
    with pytest.raises(FaceAlignError, match=r"a\.jpg: box .* has no area"):
        FaceBatches([_example("a.jpg")], 1, boxes={"a.jpg": [[5.0, 5.0, 5.0, 9.0]]})
