"""Tests of the FaceSynthetics builder on drawn faces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.data.readers.face_synthetics import load_samples  # noqa: E402
from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.face_synthetics import make_dummy_data  # noqa: E402
from tfds_builders.face_synthetics.face_synthetics_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class FaceSyntheticsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 3}  # noqa: RUF012


def test_examples_equal_the_files(tmp_path):
    rows = read(build("face_synthetics", DUMMY_DATA, tmp_path), "train")
    assert sorted(rows) == ["000000.png", "000001.png", "000002.png"]
    for name, row in rows.items():
        text = (DUMMY_DATA / name.replace(".png", "_ldmks.txt")).read_text().split("\n")
        points = [[float(word) for word in line.split(" ")] for line in text[:70]]
        np.testing.assert_array_equal(row["landmarks"], np.float32(points))
        np.testing.assert_array_equal(row["visibility"], np.full(70, 2))
        np.testing.assert_array_equal(row["image"], np.asarray(Image.open(DUMMY_DATA / name)))


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 2\n" * 68, "holds 68 lines; 70 with two numbers each are needed"),
        ("1 2 3\n" * 70, "holds 70 lines; 70 with two numbers each are needed"),
        ("1 a\n" * 70, "has an entry that is not a number"),
        ("nan 1\n" * 70, "landmark 0 is [nan, 1.0], which is not a position in an image"),
        ("5 5\n" * 70, "the landmarks' box [5.0, 5.0, 5.0, 5.0] has no area"),
        ("500 5\n600 9\n" * 35, "lies outside the 96x96 image"),
    ],
)
def test_a_damaged_label_costs_one_face(tmp_path, caplog, text, message):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    (manual_dir / "000001_ldmks.txt").write_text(text)
    assert [face.file_name for face in load_samples(manual_dir)] == ["000000.png", "000002.png"]
    assert "000001_ldmks.txt" in caplog.text and message in caplog.text
    with pytest.raises(FaceAlignError) as caught:
        list(load_samples(manual_dir, strict=True))
    assert message in str(caught.value)


def test_a_missing_partner_is_named(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    (manual_dir / "000000.png").unlink()
    (manual_dir / "000002_ldmks.txt").unlink()
    builder = build("face_synthetics", manual_dir, tmp_path / "data")
    assert builder.info.splits["train"].num_examples == 1
    assert "000000.png: cannot be opened" in caplog.text
    assert "000002_ldmks.txt: cannot be opened" in caplog.text


def test_real_faces(tmp_path):
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", "")) / "facesynthetics"
    if not root.is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder facesynthetics")
    rows = read(build("face_synthetics", root, tmp_path, strict=True), "train")
    assert len(rows) == 70
    for row in rows.values():
        eyes = row["landmarks"][36:42], row["landmarks"][42:48]
        # The far eye of a face in profile is all but a line, so the wider one is the measure.
        width = max(np.linalg.norm(eye[0] - eye[3]) for eye in eyes)
        for pupil, eye in zip(row["landmarks"][68:], eyes, strict=True):
            assert np.linalg.norm(pupil - eye.mean(axis=0)) < 0.5 * width


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
