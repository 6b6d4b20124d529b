"""The console command's frame: help, version, and errors as one line with an exit code."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import keras_facealign
from keras_facealign.cli import main
from keras_facealign.cli.app import _OneLineErrors
from keras_facealign.errors import FaceAlignError
from tests.paths import ROOT


def failing_app(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=_OneLineErrors, pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None: ...

    return app


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


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )


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


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
@pytest.mark.slow
def test_tensorflow_loads_in_silence_unless_asked_to_speak():
    code = (
        "from keras_facealign.cli.quiet import quieten_tensorflow\n"
        "quieten_tensorflow()\n"
        "import tensorflow as tf\n"
        "assert tf.__spec__.loader.get_source('tensorflow')\n"
        "assert int(tf.zeros(3).shape[0]) == 3\n"
        "import sys, os; os.write(2, b'still here'); print(tf.__version__)\n"
    )
    quiet = run_python(code, TF_CPP_MIN_LOG_LEVEL="3")
    assert quiet.returncode == 0, quiet.stderr
    assert quiet.stderr == "still here"
    talkative = run_python(code, TF_CPP_MIN_LOG_LEVEL="0")
    assert talkative.returncode == 0, talkative.stderr
    assert talkative.stderr.endswith("still here")
    assert len(talkative.stderr) > len("still here")


def test_a_tensorflow_that_fails_to_load_says_why(tmp_path):
    broken = tmp_path / "tensorflow.py"
    broken.write_text("import os\nos.write(2, b'cannot open libcuda')\nraise ImportError('no')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from keras_facealign.cli.quiet import quieten_tensorflow\n"
        "quieten_tensorflow()\n"
        "import tensorflow\n"
    )
    run = run_python(code, TF_CPP_MIN_LOG_LEVEL="3")
    assert run.returncode == 1
    assert "cannot open libcuda" in run.stderr
    assert "ImportError: no" in run.stderr


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


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FaceAlignError("photo.jpg: empty file;\n  give a photo"), 2, "empty file; give a photo"),
        (ModuleNotFoundError("x", name="tensorflow.io"), 2, '"keras_facealign[tensorflow]"'),
        (ModuleNotFoundError("x", name="tensorflow_datasets"), 2, '"keras_facealign[tfds]"'),
        (PermissionError(errno.EACCES, "Permission denied", "out/a.png"), 2, "out/a.png: Permi"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_mendable_errors_become_one_line(error, code, line):
    result = CliRunner().invoke(failing_app(error), ["fail"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("keras-facealign: ")
    assert result.stderr.count("\n") == 1
    assert line in result.stderr


@pytest.mark.parametrize(
    "error", [RuntimeError("a fault"), ModuleNotFoundError("x", name="keras_facealign.nowhere")]
)
def test_faults_of_the_program_keep_their_traceback(error):
    result = CliRunner().invoke(failing_app(error), ["fail"])
    assert result.exit_code == 1
    assert result.exception is error


def test_traceback_on_request(monkeypatch):
    monkeypatch.setenv("KERAS_FACEALIGN_TRACEBACK", "1")
    error = FaceAlignError("photo.jpg: empty file")
    assert CliRunner().invoke(failing_app(error), ["fail"]).exception is error
