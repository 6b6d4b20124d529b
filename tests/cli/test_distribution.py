"""Options of `keras-facealign train` for several devices; `tests/training` has runs."""

from __future__ import annotations

import keras
import pytest

from keras_facealign.cli import main

OTHER = {"tensorflow": "ddp", "jax": "mirrored", "torch": "data-parallel"}[keras.backend.backend()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "2"], "belong to --distribute"),
        (["--num-processes", "2"], "belong to --distribute"),
        (["--process-id", "1"], "--process-id is 1"),
        (["--distribute", OTHER], f"--distribute {OTHER} needs KERAS_BACKEND="),
    ],
)
def test_options_that_do_not_fit(options, message, tmp_path, capsys):
    words = ["train", "--data", str(tmp_path), "--output", str(tmp_path / "run"), *options]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_precision_that_processes_would_measure_apart(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    shared = ["--distribute", "data-parallel", "--coordinator", "127.0.0.1:4000"]
    words = ["train", "--data", str(tmp_path), "--output", str(tmp_path / "run"), *shared]
    assert main([*words, "--precision", "auto", "--num-processes", "2"]) == 2
    assert "--precision auto measures each process" in capsys.readouterr().err
