"""The application: help, version, and commands that start quickly."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import keras_facealign
from keras_facealign.cli import main
from tests.cli.processes import run_python


def test_help_lists_the_commands(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in (
        "align",
        "video",
        "train",
        "evaluate",
        "presets",
        "convert-mxnet",
        "datasets",
        "pack-head",
        "synthesize-poses",
    ):
        assert command in printed


@pytest.mark.parametrize(
    "command",
    [
        "align",
        "video",
        "train",
        "evaluate",
        "presets",
        "convert-mxnet",
        "datasets",
        "pack-head",
        "synthesize-poses",
    ],
)
def test_each_command_explains_itself(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"keras-facealign {command}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"keras-facealign {keras_facealign.__version__}\n"


def test_wrong_usage_has_exit_code_2(capsys):
    assert main(["no-such-command"]) == 2
    assert "no-such-command" in capsys.readouterr().err


def test_unknown_preset_is_one_line_and_exit_code_2(tmp_path):
    # In a process of its own, where the backend loads for the first time and would have its say.
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    words = ["align", str(photo), "--output", str(tmp_path / "out"), "--preset", "no_such_preset"]
    run = run_python(f"import sys; from keras_facealign.cli import main; sys.exit(main({words!r}))")
    assert run.returncode == 2, run.stderr
    assert "no_such_preset" in run.stderr
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stdout + run.stderr


def test_help_loads_no_backend():
    run = run_python(
        "import json, sys\n"
        "from keras_facealign.cli import main\n"
        "assert main(['--help']) == 0\n"
        "print(); print(json.dumps(sorted(sys.modules)))\n"
    )
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert not loaded & {"keras", "tensorflow", "jax", "torch", "mtcnn", "matplotlib"}
