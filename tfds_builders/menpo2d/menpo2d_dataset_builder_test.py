"""Tests of the Menpo2D builder on drawn faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._drawing import SIZE, draw_face  # noqa: E402
from tfds_builders._testing import assert_same_files, build, read  # noqa: E402
from tfds_builders.menpo2d import make_dummy_data  # noqa: E402
from tfds_builders.menpo2d.menpo2d_dataset_builder import Builder  # noqa: E402

DUMMY_DATA = Path(__file__).parent / "dummy_data"


class Menpo2dTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 2, "test": 1}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["semi_frontal", "profile"]  # noqa: RUF012


@pytest.mark.parametrize("pose, count", [("semi_frontal", 68), ("profile", 39)])
def test_examples_equal_what_was_drawn(tmp_path, pose, count):
    builder = build(f"menpo2d/{pose}", DUMMY_DATA, tmp_path)
    rng = np.random.default_rng(2017)
    drawn = [draw_face(rng)[1] for _ in range(6)]
    first = 0 if count == 68 else 1
    rows = {**read(builder, "train"), **read(builder, "test")}
    kind = "semifrontal" if count == 68 else "profile"
    names = [
        ("aflw__face_39844", "aflw__face_41018")[first],
        ("fddb_img_118", "fddb_img_265")[first],
    ]
    names = [f"menpo_train_release/{name}.jpg" for name in names]
    names.append(f"Menpo2D/Test/image/{kind}/00001.jpg")
    assert sorted(rows) == sorted(names)
    for name, landmarks in zip(names, drawn[first::2], strict=True):
        np.testing.assert_allclose(rows[name]["landmarks"], landmarks[:count], atol=1e-5)
        np.testing.assert_array_equal(rows[name]["visibility"], np.full(count, 2))
        low, high = landmarks[:count].min(axis=0), landmarks[:count].max(axis=0)
        np.testing.assert_allclose(rows[name]["box"], [*low, *high], atol=1e-5)
        assert rows[name]["subset"].decode() == name.rpartition("/")[0]
        assert rows[name]["image"].shape == (SIZE, SIZE, 3)


def test_broken_faces_are_named_and_left_out(tmp_path, caplog):
    manual_dir = tmp_path / "manual"
    shutil.copytree(DUMMY_DATA, manual_dir)
    train = manual_dir / "menpo_train_release"
    (train / "fddb_img_118.jpg").unlink()
    (train / "aflw__face_41018.pts").write_text("n_points: 39\n{\n1 1\n}\n")
    (train / "lost.jpg").write_bytes((train / "fddb_img_265.jpg").read_bytes())
    builder = build("menpo2d/semi_frontal", manual_dir, tmp_path / "data")
    assert builder.info.splits["train"].num_examples == 1
    assert "fddb_img_118.pts: there is no image of this name" in caplog.text
    assert "lost.jpg: there is no .pts file of this name" in caplog.text
    assert "Skipped 2 of 3 samples" in caplog.text
    with pytest.raises(FaceAlignError, match="41018.pts: holds 1 landmarks where the header says"):
        build("menpo2d/profile", manual_dir, tmp_path / "data", strict=True)


def test_dummy_data_is_what_its_script_draws(tmp_path):
    assert_same_files(make_dummy_data.main, tmp_path, DUMMY_DATA)
