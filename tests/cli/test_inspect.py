"""The command `inspect`."""

from __future__ import annotations

import json

import pytest

from keras_facealign.cli import main
from tests.evaluation.inspection.labeled import PARTNER, shapes, write_set


@pytest.fixture
def labels(tmp_path):
    faces = shapes(20)
    faces[5] = faces[5][PARTNER]
    return write_set(tmp_path, faces)


def test_page_summary_and_exit_codes(labels, tmp_path, capsys):
    page = tmp_path / "page.html"
    arguments = ["inspect", str(labels.path), "--output", str(page)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    last = "20 faces with 9 landmarks: 1 faces with left and right exchanged"
    assert out.splitlines() == [f"Wrote {page}", last]
    assert "CSV, a face per row (guessed)" in err and "taken to count from 0" in err
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert main([*arguments, "--strict"]) == 1
    capsys.readouterr()
    assert main([*arguments, "--json", "--kind", "csv", "--zero-based"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["counts"] == {"swapped": 1} and "(guessed)" not in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--output", "page.txt"], "ends in .html"),
        (["--kind", "nonsense"], "no kind of labels 'nonsense'"),
        (["--kind", "coco"], "is not a JSON object"),
        (["--units", "percent", "--one-based"], "leave out one_based"),
        (["--images", "missing"], "no such folder"),
    ],
)
def test_unusable_input(labels, tmp_path, capsys, options, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(labels.path), *options]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "inspect.html").exists()


@pytest.mark.slow
def test_a_preset_of_other_landmarks(labels, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(labels.path), "--preset", "sat1_cab_mobile"]) == 2
    assert "has 68 landmarks (ibug68) and the labels 9" in capsys.readouterr().err
