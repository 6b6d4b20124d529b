"""Replacing presets: one is whole at every moment, and nothing foreign is lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import find_preset, from_preset, list_presets, save_to_preset
from keras_facealign.storage.preset_folders import check_replaceable
from tests.models.tiny import as_numpy, fix_weights, tiny_model

FILES = {"config.json", "metadata.json", "model.weights.h5"}


@pytest.fixture(scope="module")
def model():
    return fix_weights(tiny_model())


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return save_to_preset(model, tmp_path_factory.mktemp("saved") / "tiny", {"description": "old"})


@pytest.fixture
def preset(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


def tree(folder):
    """Every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def description(folder):
    return json.loads((folder / "metadata.json").read_text())["description"]


def test_old_or_new_is_whole_at_every_moment(model, preset, monkeypatch):
    old, seen = tree(preset), []

    def look():
        found = find_preset(preset)
        assert {path.name for path in found.iterdir()} >= FILES
        seen.append(description(found))
        if seen[-1] == "old":
            assert tree(found) == old

    real = {name: getattr(Path, name) for name in ("rename", "mkdir", "write_text")}
    for name, method in real.items():

        def watched(path, *args, _method=method, **kwargs):
            look()
            result = _method(path, *args, **kwargs)
            look()
            return result

        monkeypatch.setattr(Path, name, watched)
    save_to_preset(model, preset, {"description": "new"})
    monkeypatch.undo()
    assert seen == sorted(seen, reverse=True) and set(seen) == {"old", "new"} and len(seen) >= 10
    assert [path.name for path in preset.parent.iterdir()] == ["tiny"]


def test_a_failure_leaves_the_old_one_and_no_rest(model, preset):
    old = tree(preset.parent)
    with pytest.raises(TypeError, match="JSON"):
        save_to_preset(model, preset, {"description": object()})
    assert tree(preset.parent) == old
    with pytest.raises(TypeError, match="JSON"):
        save_to_preset(model, preset.parent / "other", {"description": object()})
    assert [path.name for path in preset.parent.iterdir()] == ["tiny"]


def test_what_a_kill_leaves_is_used_and_cleared_away(model, preset):
    root = preset.parent
    half = root / ".tiny.unfinished"
    half.mkdir()
    (half / "model.weights.h5").write_bytes(b"half")
    # Killed between its two renamings.
    preset.rename(root / ".tiny.replaced")
    loaded = from_preset(preset)
    assert (as_numpy(loaded.weights[0]) == as_numpy(model.weights[0])).all()
    save_to_preset(model, preset, {"description": "new"})
    assert description(preset) == "new" and [path.name for path in root.iterdir()] == ["tiny"]
    # Killed after the second one.
    shutil.copytree(preset, root / ".tiny.replaced")
    (root / ".tiny.replaced" / "metadata.json").write_text('{"description": "oldest"}')
    assert find_preset(preset) == preset
    save_to_preset(model, preset, {"description": "newer"})
    assert description(preset) == "newer" and [path.name for path in root.iterdir()] == ["tiny"]
    assert not [name for name in list_presets() if name.startswith(".")]


def _a_file(folder):
    folder.write_text("mine")


def _no_config(folder):
    folder.mkdir()
    (folder / "model.weights.h5").write_bytes(b"someone's")


def _config_of_something_else(folder):
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')


def _more_files(folder):
    (folder / "thesis.tex").write_text("mine")


def _a_folder_inside(folder):
    (folder / "README.md").mkdir()
    (folder / "README.md" / "notes").write_text("mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_a_file, "tiny is not a folder; give another path"),
        (_no_config, "tiny holds model.weights.h5 and is not a preset"),
        (_config_of_something_else, "tiny holds config.json and is not a preset"),
        (_more_files, "tiny holds thesis.tex, which is not part of a preset"),
        (_a_folder_inside, "tiny holds README.md, which is not part of a preset"),
    ],
)
def test_foreign_files_are_refused_and_stay(model, preset, change, message):
    if change not in (_more_files, _a_folder_inside):
        shutil.rmtree(preset)
    change(preset)
    before = tree(preset.parent)
    for write in (lambda: save_to_preset(model, preset), lambda: check_replaceable(preset)):
        with pytest.raises(FaceAlignError, match=message) as error:
            write()
        assert "\n" not in str(error.value)
    assert tree(preset.parent) == before


def test_a_bundled_name_does_not_make_a_folder_a_preset(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sat2_cab").mkdir()
    Path("sat2_cab/mine.txt").write_text("mine")
    with pytest.raises(FaceAlignError, match="sat2_cab holds mine.txt and is not a preset"):
        save_to_preset(model, "sat2_cab")
    monkeypatch.chdir("sat2_cab")
    with pytest.raises(FaceAlignError, match="is the working directory"):
        save_to_preset(model, ".")


def test_the_card_stays_and_exports_of_other_weights_go(model, preset):
    (preset / "README.md").write_text("A card.")
    (preset / "card.png").write_bytes(b"Its picture.")
    for name in ("model.tflite", "model_int8.tflite", ".partial-x.weights.h5"):
        (preset / name).write_bytes(b"of the old weights")
    with pytest.warns(
        UserWarning, match="model.tflite, model_int8.tflite were exports of the old weights"
    ):
        save_to_preset(model, preset, {"description": "new"})
    assert {path.name for path in preset.iterdir()} == FILES | {"README.md", "card.png"}
    assert (preset / "README.md").read_text() == "A card." and description(preset) == "new"


def test_an_empty_folder_and_a_link_to_one(model, tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    try:
        link.symlink_to(tmp_path / "real", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links")
    assert save_to_preset(model, link) == link
    assert link.is_symlink() and {path.name for path in (tmp_path / "real").iterdir()} == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_place_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FaceAlignError, match="preset cannot be written .*give another folder"):
        save_to_preset(model, tmp_path / "file" / "preset")
