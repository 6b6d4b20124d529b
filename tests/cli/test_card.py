"""The `card` command writes a card where it is told to, and fails with one line."""

from __future__ import annotations

import json

import pytest

from keras_facealign.cli import main
from keras_facealign.presets import find_preset


@pytest.fixture
def bare_preset(tmp_path, monkeypatch):
    """A preset without weights, in place of those that are bundled."""
    folder = tmp_path / "presets" / "bare"
    folder.mkdir(parents=True)
    source = find_preset("sat1_cab_mobile") / "config.json"
    (folder / "config.json").write_bytes(source.read_bytes())
    (folder / "metadata.json").write_text(json.dumps({"description": "as published"}))
    monkeypatch.setattr("keras_facealign.storage.presets._roots", lambda: [tmp_path / "presets"])
    return folder


def test_the_card_lies_in_the_presets_folder(bare_preset, capsys):
    assert main(["card", "bare"]) == 0
    card = bare_preset / "README.md"
    assert capsys.readouterr().out == f"Wrote {card}\n"
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# bare\n\nas published\n")
    assert 'from_preset("bare", load_weights=False)' in text
    assert text.endswith("Written by `keras-facealign card bare`.\n")


def test_a_bundled_presets_path_is_its_name(bare_preset, capsys):
    assert main(["card", str(bare_preset), "--no-figure"]) == 0
    text = (bare_preset / "README.md").read_text(encoding="utf-8")
    assert 'from_preset("bare", load_weights=False)' in text
    assert "`keras-facealign card bare --no-figure`" in text


def test_another_file_may_be_named(bare_preset, tmp_path, capsys):
    card = tmp_path / "new" / "folder" / "card.md"
    assert main(["card", "bare", "--output", str(card)]) == 0
    assert card.is_file() and not (bare_preset / "README.md").exists()


def test_errors_are_one_line_and_exit_code_2(bare_preset, capsys):
    assert main(["card", "nothing"]) == 2
    assert "Unknown preset 'nothing'" in capsys.readouterr().err
    (bare_preset / "metadata.json").write_text("[1]")
    assert main(["card", "bare"]) == 2
    error = capsys.readouterr().err
    assert "metadata.json: must hold a JSON object" in error and error.count("\n") == 1
