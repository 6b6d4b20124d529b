"""Model cards say what presets' files say, name what failed, and come out the same again."""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_facealign.calibration import Calibration, weights_fingerprint
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.cards.card import card_text, write_card
from keras_facealign.evaluation.cards.trials import CORRUPTIONS, YAWS
from keras_facealign.landmarks import IBUG68
from keras_facealign.presets import find_preset, list_presets, save_to_preset
from tests.evaluation.cards.markdown import cells, shown
from tests.models.tiny import SIZE, fix_weights, tiny_model

METADATA = {
    "description": "A <tiny> network | for *tests*",
    "landmarks": "68, projections of 3D points (ibug68)",
    "license": "CC0",
    "trained_on": "nothing",
    "recipe": "python train.py --a | tee `log`",
    "training_minutes": 150,
    "widened_from": "smaller_one",
    "validation_nme": 3.2,
    "validation": {
        "data": "5 faces",
        "normalizer": "box_size",
        "nme": 3.21,
        "command": "measure it",
    },
    "limits": ["Fails on _cats_."],
}


@pytest.fixture(scope="module")
def tiny_preset(tmp_path_factory):
    model = fix_weights(tiny_model())
    many = np.ones(68, np.float32)
    model.calibration = Calibration(
        scheme=IBUG68, input_size=SIZE,
        fitted_on="9 *faces*", fingerprint=weights_fingerprint(model),
        spreads=np.float32([1, 2]), sigmas=np.float32([0.5, 4]), factors=many,
        bias=many, peak_weights=many, spread_weights=-many, yaw_weights=many,
    )  # fmt: skip
    return save_to_preset(model, tmp_path_factory.mktemp("presets") / "tiny_3d", METADATA)


def test_a_card_says_what_the_files_say(tiny_preset):
    text = card_text(tiny_preset, "tiny_3d")
    rows = {row[0]: row[1:] for row in cells(text) if row[0]}
    config = json.loads((tiny_preset / "metadata.json").read_text())
    assert rows["Family"] == ["FaceAlignModel"]
    assert rows["Architecture"] == [
        "1 × hourglass, depth 1, resnet blocks, width 0.125, light stem"
    ]
    assert rows["Input"] == ["32 × 32 pixels, RGB: a face's crop"]
    assert rows["Heatmaps"] == ["16 × 16"]
    assert rows["Landmarks"] == [METADATA["landmarks"]]
    assert rows["Parameters"][0].replace(" ", "") == str(config["parameters"])
    assert rows["Forward pass"][0].startswith(f"{config['gflops']:.4g} GFLOP")
    assert rows["Data"] == ["nothing"] and rows["License of data and weights"] == ["CC0"]
    assert rows["Recipe"] == [METADATA["recipe"]]
    assert rows["Time"] == ["2.5 hours"] and rows["Widened from"] == ["smaller_one"]
    assert rows["NME"] == ["3.21"]
    assert rows["Fitted on"] == ["9 *faces*"]
    assert rows["Standard deviation, pixels of the crop"] == ["0.5 to 4"]
    size = (tiny_preset / "model.weights.h5").stat().st_size
    assert rows["model.weights.h5"][0] == f"{size / 1000:.1f} kB"
    seen = shown(text)
    for line in (METADATA["description"], "On 5 faces.", "measure it", "Fails on _cats_."):
        assert line in seen
    assert "Failure cases" not in text and "card.png" not in text and "no trained" not in text


def test_what_is_not_known_is_left_out(tiny_preset, tmp_path):
    (tmp_path / "bare").mkdir()
    config = (tiny_preset / "config.json").read_text()
    (tmp_path / "bare" / "config.json").write_text(config)
    text = card_text(tmp_path / "bare", "bare")
    assert "no trained weights" in text and "load_weights=False" in text
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Network", "Files"]
    rows = {row[0]: row[1:] for row in cells(text)}
    assert rows["Landmarks"] == ["68"] and "Parameters" not in rows
    (tmp_path / "bare" / "metadata.json").write_text('{"trained_on": null, "gflops": 2}')
    text = card_text(tmp_path / "bare", "bare")
    assert "Forward pass | 2 GFLOP" in text and "None" not in text
    # A preset without weights has no figure either.
    assert write_card(tmp_path / "bare") == [tmp_path / "bare" / "README.md"]


@pytest.mark.parametrize("name", list_presets())
def test_every_bundled_preset_has_a_card_of_sound_markdown(name):
    folder = find_preset(name)
    text = card_text(folder, name)
    (python,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    loaded = [node.value for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Constant)]
    assert loaded[0] == name or name in loaded
    assert max(map(len, python.splitlines())) <= 100
    assert all(line == line.rstrip() for line in text.splitlines())
    assert ("no trained weights" in text) != (folder / "model.weights.h5").is_file()
    assert text.endswith("\n") and "\n\n\n" not in text


@pytest.mark.parametrize("name", list_presets())
def test_bundled_cards_say_what_their_files_say(name):
    folder = find_preset(name)
    if not (folder / "model.weights.h5").is_file():
        assert not (folder / "README.md").exists()
        return
    written = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    stale = [line for line in card_text(folder, name).splitlines() if line not in written]
    assert not stale, f"run: keras-facealign card {name}"


def test_the_figure_names_what_failed_and_comes_out_the_same_again(tiny_preset, monkeypatch):
    monkeypatch.setattr("keras_facealign.evaluation.cards.card._portrait", lambda: None)
    written = write_card(tiny_preset)
    assert [path.name for path in written] == ["card.png", "README.md"]
    picture = Image.open(tiny_preset / "card.png")
    assert picture.mode == "P" and picture.width > 7 * 130
    text = (tiny_preset / "README.md").read_text(encoding="utf-8")
    assert "![Landmarks found in drawn and turned faces](card.png)" in text
    assert "All 68 landmarks count" in text
    turned, disturbed = (row[1:] for row in cells(text) if row[0] == "Drawn face")
    # Its weights are noise, so it fails everywhere, and the limits name every picture.
    (limit,) = re.findall(r"- Mean errors above 8 % .*", text)
    for what, error in zip([f"yaw {yaw}" for yaw in YAWS], turned, strict=True):
        assert f"{what} ({error} %)" in limit
    for what, error in zip(CORRUPTIONS, disturbed, strict=True):
        assert f"{what} ({error} %)" in limit
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_card(tiny_preset)] == before
    assert len(before[0]) < 200_000


def test_saving_a_preset_again_keeps_its_card(tiny_preset, tmp_path):
    model = fix_weights(tiny_model(), seed=1)
    folder = save_to_preset(model, tmp_path / "again")
    for name in ("README.md", "card.png"):
        (folder / name).write_bytes(name.encode())
    save_to_preset(model, folder)
    assert (folder / "card.png").read_bytes() == b"card.png"


def test_what_cannot_be_drawn_is_named(tiny_preset, tmp_path):
    with pytest.raises(FaceAlignError, match="Unknown preset"):
        write_card("no_such_preset")
    black = tmp_path / "black.png"
    Image.new("RGB", (64, 64)).save(black)
    with pytest.raises(FaceAlignError, match=r"black\.png: no face was found"):
        write_card(tiny_preset, tmp_path / "card.md", photo=black)
    assert not (tmp_path / "card.md").exists()
