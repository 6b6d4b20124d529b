"""The `presets` command lists what `list_presets` returns."""

from __future__ import annotations

import json

import pytest

from keras_facealign.cli import main
from keras_facealign.presets import list_presets

TRAINED = {
    "description": "a small one",
    "parameters": 1234567,
    "gflops": 0.987,
    "validation_nme": 3.456,
    "license": "Apache-2.0",
}
BARE = {"description": "as published", "parameters": 89}


@pytest.fixture
def two_presets(tmp_path, monkeypatch):
    """A trained preset and a bare one, in place of those that are bundled."""
    for name, metadata in (("small", TRAINED), ("bare", BARE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "small" / "model.weights.h5").write_bytes(bytes(2_460_000))
    monkeypatch.setattr("keras_facealign.storage.presets._roots", lambda: [tmp_path])


def test_json_equals_list_presets(capsys):
    assert main(["presets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list_presets()


def test_json_says_which_presets_are_trained(capsys, two_presets):
    assert main(["presets", "--json"]) == 0
    expected = {"small": {**TRAINED, "weights": True}, "bare": {**BARE, "weights": False}}
    assert json.loads(capsys.readouterr().out) == expected


def test_table_has_the_numbers_and_a_dash_for_what_is_unknown(capsys, two_presets):
    assert main(["presets"]) == 0
    rows = {}
    for line in capsys.readouterr().out.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃ ").split("│")]
        rows[cells[0]] = cells[1:]
    expected = ["a small one", "1,234,567", "2.5 MB", "0.99", "3.46", "Apache-2.0", "yes"]
    assert rows["small"] == expected
    assert rows["bare"] == ["as published", "89", "-", "-", "-", "-", "no"]


def test_damaged_metadata_is_one_line_and_exit_code_2(capsys, two_presets, tmp_path):
    (tmp_path / "bare" / "metadata.json").write_text("{")
    assert main(["presets"]) == 2
    printed = capsys.readouterr()
    assert "metadata.json" in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("command", [["presets", "extra"], ["presets", "--yaml"]])
def test_wrong_usage_has_exit_code_2(command, capsys):
    assert main(command) == 2
    assert capsys.readouterr().out == ""


def test_table1_has_a_row_for_each_network_and_both_sizes(capsys):
    assert main(["presets", "--table1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert len(lines) == 16 + 7
    rows = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("│ ").split("│")]
        rows.setdefault(cells[0], cells[1:])
    assert rows["SAT(III)2(d=3)-CAB"][:9] == [
        "sat2_cab", "10,094,728", "24,288", "40.53", "38", "17.63", "6.88", "5.74", "41"
    ]  # fmt: skip
    assert rows["DenseU-Net + STN"][3:6] == ["116.50", "116", "26.68"]
    assert rows["SAT2(d=3)-CAB-3D"][-5:-1] == ["-", "-", "-", "3.072"]
