"""The `datasets` command says what the catalog says, and what a folder holds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from keras_facealign.cli import main
from keras_facealign.data.catalog import CATALOG
from tests.paths import ROOT

BUILDERS = ROOT / "tfds_builders"


@pytest.fixture
def downloads(tmp_path):
    """A folder with two data sets, one of them not whole, in sub-folders."""
    shutil.copytree(BUILDERS / "cofw" / "dummy_data", tmp_path / "caltech[new]")
    shutil.copytree(BUILDERS / "ibug_300w" / "dummy_data", tmp_path / "300w")
    shutil.rmtree(tmp_path / "300w" / "ibug")
    return tmp_path


def test_json_without_a_folder_is_the_catalog(capsys):
    assert main(["datasets", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [data_set.name for data_set in CATALOG]
    for row, data_set in zip(rows, CATALOG, strict=True):
        assert row["published"] == data_set.published
        assert row["landmarks"] == data_set.landmarks
        assert row["homepage"].startswith("http")
        assert "found" not in row


def test_json_counts_what_is_there(capsys, downloads):
    assert main(["datasets", "--manual-dir", str(downloads), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["ibug_300w"]["folder"] == str(downloads / "300w")
    assert rows["ibug_300w"]["found"] == {
        "train": 6,
        "helen_test": 1,
        "lfpw_test": 2,
        "common": 3,
        "test": 2,
    }
    assert rows["ibug_300w"]["missing"] == ["ibug (135 faces)"]
    assert rows["cofw"]["found"] == {"train": 3, "test": 2}
    assert rows["wflw"]["folder"] is None and rows["wflw"]["found"] == {}


def cells(text: str) -> dict[str, list[str]]:
    """The table's rows by their first column; further lines of a row are joined to it."""
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "│" not in line:
            continue
        words = [cell.strip() for cell in line.strip("│ ").split("│")]
        if line.startswith("│ ") and line[2] != " ":
            name = words[0]
            rows[name] = words[1:]
        else:
            words = [cell.strip() for cell in line.strip("│").split("│")]
            rows[name] = [
                f"{old} {new}".strip() for old, new in zip(rows[name], words[1:], strict=True)
            ]
    return rows


def test_table(capsys, downloads):
    assert main(["datasets", "--manual-dir", str(downloads)]) == 0
    rows = cells(capsys.readouterr().out)
    assert rows["cofw"][:4] == ["29", "train test", "1,345 507", "3 2"]
    # A long path is broken over lines.
    assert str(downloads / "caltech[new]") in rows["cofw"][4].replace(" ", "")
    assert "partial: train has 3 of 1345" in rows["cofw"][4]
    assert "missing: ibug (135 faces)" in rows["ibug_300w"][4]
    assert rows["ibug_300w"][3] == "6 1 2 3 - - 2"
    assert rows["w300_lp"][4].startswith("not here: AFW (5207 faces)")
    assert "3 more" in rows["w300_lp"][4]
    assert rows["lfw_pairs"][0] == "pairs"


def test_table_without_a_folder_says_where_to_get_them(capsys):
    assert main(["datasets"]) == 0
    rows = cells(capsys.readouterr().out)
    assert rows["wflw"][3] == "https://wywu.github.io/projects/LAB/WFLW.html"
    assert rows["merl_rav"][:3] == ["68", "train test", "15,449 3,865"]


def test_a_damaged_file_is_reported_and_does_not_hide_the_rest(capsys, downloads):
    (downloads / "caltech[new]" / "COFW_test_color.mat").write_bytes(b"no HDF5")
    assert main(["datasets", "--manual-dir", str(downloads), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert "cannot be opened as a MATLAB 7.3 file" in rows["cofw"]["missing"][0]
    assert rows["ibug_300w"]["found"]["train"] == 6


def test_a_folder_that_does_not_exist_has_exit_code_2(capsys, tmp_path):
    assert main(["datasets", "--manual-dir", str(tmp_path / "gone")]) == 2
    printed = capsys.readouterr()
    assert "gone: there is no such folder" in printed.err
    assert printed.err.count("\n") == 1


def test_real_partial_copies(capsys):
    root = os.environ.get("KERAS_FACEALIGN_DATA")
    if not root or not Path(root, "300w").is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder 300w")
    assert main(["datasets", "--manual-dir", root, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["ibug_300w"]["found"] == {"train": 2010, "lfpw_test": 224}
    assert rows["aflw2000_3d"]["found"] == {"test": 8}
    assert rows["face_synthetics"]["found"] == {"train": 70}
    assert rows["cofw68"]["missing"] == ["COFW_test_color.mat (the 507 pictures)"]
