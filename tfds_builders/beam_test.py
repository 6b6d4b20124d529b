"""Large sets that are built on Apache Beam are those that are built without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

from keras_facealign.errors import FaceAlignError  # noqa: E402
from tfds_builders._testing import build, read  # noqa: E402

ROOT = Path(__file__).parent


def beam_options(processes: int = 1):
    pytest.importorskip("apache_beam", reason='pip install "keras_facealign[beam]"')
    from apache_beam.options.pipeline_options import PipelineOptions

    mode = "multi_processing" if processes > 1 else "in_memory"
    return PipelineOptions(
        [
            "--runner=DirectRunner",
            f"--direct_running_mode={mode}",
            f"--direct_num_workers={processes}",
        ]
    )


@pytest.mark.parametrize(
    ("name", "splits", "processes"), [("w300_lp", "train flip", 2), ("merl_rav", "train test", 1)]
)
def test_the_same_examples_as_without_beam(name, splits, processes, tmp_path):
    options = beam_options(processes)
    manual_dir = ROOT / name / "dummy_data"
    plain = build(name, manual_dir, tmp_path / "plain")
    found = build(name, manual_dir, tmp_path / "beam", options, beam=True)
    for split in splits.split():
        expected, rows = read(plain, split), read(found, split)
        assert rows.keys() == expected.keys() and len(rows)
        for key, row in rows.items():
            for field, value in row.items():
                np.testing.assert_array_equal(value, expected[key][field])


def test_broken_faces_are_named_and_counted(tmp_path, caplog):
    options = beam_options()
    manual_dir = tmp_path / "manual"
    shutil.copytree(ROOT / "w300_lp" / "dummy_data", manual_dir)
    (manual_dir / "300W_LP" / "AFW" / "AFW_134212_1_0.mat").unlink()
    builder = build("w300_lp", manual_dir, tmp_path / "data", options, beam=True)
    assert builder.info.splits["train"].num_examples == 2
    assert "AFW_134212_1_0.mat: cannot be opened" in caplog.text
    assert "Skipped 1 of 3 samples" in caplog.text
    with pytest.raises(Exception, match="AFW_134212_1_0.mat: cannot be opened"):
        build("w300_lp", manual_dir, tmp_path / "strict", options, beam=True, strict=True)


def test_small_sets_need_no_beam(tmp_path):
    with pytest.raises(FaceAlignError, match="cofw: is too small for Apache Beam"):
        tfds.builder("cofw", data_dir=tmp_path, beam=True)
