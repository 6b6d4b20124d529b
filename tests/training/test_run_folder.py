"""Folders of training runs: whose run they hold, whether it is finished, and what is removed."""

from __future__ import annotations

import json

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.preset_folders import CONFIG
from keras_facealign.training.run_folder import RunFolder

SETTINGS = {"architecture": {"stacks": 1}, "config": {"epochs": 2, "compile": {"loss": max}}}


def make_preset(folder, last=None):
    (folder / "preset").mkdir(parents=True)
    config = {"class_name": "FaceAlignModel", "config": {"architecture": {}}}
    (folder / "preset" / CONFIG).write_text(json.dumps(config))
    (folder / "preset" / "model.weights.h5").write_bytes(b"weights")
    metadata = {} if last is None else {"last_epoch": last}
    (folder / "preset" / "metadata.json").write_text(json.dumps(metadata))


def test_the_life_of_a_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert not folder.finished(SETTINGS)
    folder.claim({**SETTINGS, "faces": 4})
    other = {**SETTINGS, "config": {"epochs": 3}}
    assert not folder.finished(other)  # without a backup, nothing is lost
    folder.backup.mkdir()
    assert not folder.finished(SETTINGS)
    with pytest.raises(
        FaceAlignError, match="unfinished run with other settings .config in .*--res"
    ):
        folder.finished(other)
    with pytest.raises(FaceAlignError, match="other settings .faces in"):
        folder.claim({**SETTINGS, "faces": 5})
    make_preset(folder.path, {"loss": 0.5})
    folder.claim({**SETTINGS, "faces": 4}, finished=True)
    for backup in (True, False):
        assert folder.finished(SETTINGS) and folder.result() == {"loss": 0.5}
        with pytest.raises(FaceAlignError, match=" a finished run with other settings"):
            folder.finished(other)
        if backup:
            folder.backup.rmdir()
    (folder.preset / "model.weights.h5").unlink()
    with pytest.raises(FaceAlignError, match="no longer its preset"):
        folder.result()


@pytest.mark.parametrize("backup", [True, False])
def test_settings_without_a_note_are_finished_where_only_the_preset_is_left(tmp_path, backup):
    make_preset(tmp_path)
    folder = RunFolder(tmp_path)
    folder.claim(SETTINGS)
    settings = json.loads((tmp_path / "training.json").read_text())
    del settings["finished"]
    (tmp_path / "training.json").write_text(json.dumps(settings))
    if backup:
        folder.backup.mkdir()
    assert folder.finished(SETTINGS) is not backup


def test_clearing_removes_a_run_but_for_its_preset(tmp_path):
    make_preset(tmp_path)
    folder = RunFolder(tmp_path)
    folder.claim(SETTINGS)
    for part in (folder.backup, folder.tensorboard / "train"):
        part.mkdir(parents=True)
        (part / "file").write_text("x")
    folder.log.write_text("epoch,loss\n0,1.5\n")
    assert folder.last_row() == {"loss": 1.5}
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("mine")
    folder.clear()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "mine.txt", "preset"]
    folder.clear()  # an empty folder has nothing to lose
    folder.backup.symlink_to(tmp_path / "elsewhere")
    folder.claim(SETTINGS)
    folder.clear()
    assert (tmp_path / "elsewhere" / "file").read_text() == "mine"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"settings": 1}'])
def test_what_may_be_no_run_is_not_cleared(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.log.write_text("mine")
    folder.backup.mkdir()
    if content is not None:
        (tmp_path / "training.json").write_text(content)
    with pytest.raises(
        FaceAlignError, match="no training.json.*not cleared|training.json (cannot|is n)"
    ):
        folder.clear()
    assert folder.log.read_text() == "mine" and folder.backup.is_dir()


def test_the_log_is_cut_to_whole_epochs(tmp_path):
    folder = RunFolder(tmp_path)
    folder.keep_rows(1)
    assert folder.last_row() == {}
    folder.log.write_text("epoch,loss,val_loss\n0,3.5,NA\n1,2.5,NA\n2,1.5,NA\n")
    folder.keep_rows(2)
    assert folder.log.read_text() == "epoch,loss,val_loss\n0,3.5,NA\n1,2.5,NA\n"
    assert folder.last_row() == {"loss": 2.5}
    folder.keep_rows(0)  # the log is written from its start
    assert folder.last_row() == {"loss": 2.5}


def test_epochs_and_the_best_of_them(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.epochs == 0 and folder.best_epoch is None
    folder.log.write_text("epoch,loss\n0,0.5\n1,0.4\n")
    make_preset(tmp_path)
    assert folder.epochs == 2 and folder.best_epoch is None
    (folder.preset / "metadata.json").write_text('{"best_epoch": 0}')
    assert folder.best_epoch == 0
