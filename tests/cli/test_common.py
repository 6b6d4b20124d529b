"""Options, messages and errors that the commands share."""

from __future__ import annotations

import errno
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from keras_facealign.cli._common import (
    CommandGroup,
    add_command,
    check_output_file,
    collect_errors,
    progress_bar,
    report_failures,
)
from keras_facealign.errors import FaceAlignError


def failing_app(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=CommandGroup, pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None: ...

    return app


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
def test_user_errors_become_one_line(error, code, line):
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


def make_app() -> typer.Typer:
    app = typer.Typer(cls=CommandGroup, pretty_exceptions_enable=False)

    def greet(
        name: Annotated[str, typer.Argument(help="Unused.")],
        times: int = 1,
        flip_test: Annotated[bool, typer.Option("--flip-test", help="Its own help.")] = False,
    ) -> None:
        """Greet someone.

        In more than
        one line.

        Args:
            name: Name of the
                person.
            times: Number of greetings.
        """
        typer.echo(f"hello {name} " * times + str(flip_test))

    add_command(app, greet)
    app.command("other")(lambda: None)
    return app


def test_the_docstring_explains_the_options():
    text = " ".join(CliRunner().invoke(make_app(), ["greet", "--help"]).stdout.split())
    for words in (
        "In more than one line.",
        "Name of the person.",
        "Number of greetings",
        "Its own",
    ):
        assert words in text
    assert "Args" not in text and "Unused" not in text


@pytest.mark.parametrize("option", ["--mirror", "--flip-test"])
def test_renamed_options_work_and_warn(option):
    result = CliRunner().invoke(make_app(), ["greet", "you", option, "--times=2"])
    assert result.stdout == "hello you hello you True\n"
    expected = "--mirror is now --flip-test; the old name goes in version 0.3.\n"
    assert result.stderr == (expected if option == "--mirror" else "")
    help_text = CliRunner().invoke(make_app(), ["greet", "--help"]).stdout
    assert "--mirror" not in help_text


def test_failures_are_listed_and_decide_the_exit_code(capsys):
    failures = []
    for message in ("a.jpg: empty\n  file", "no landmarks"):
        with collect_errors(failures, "a.jpg"):
            raise FaceAlignError(message)
    assert failures == ["a.jpg: empty file", "a.jpg: no landmarks"]
    report_failures([], 3, "photos", strict=True)
    assert capsys.readouterr().err == ""
    report_failures(failures, 3, "photos")
    lines = "2 of 3 photos failed:\n  a.jpg: empty file\n  a.jpg: no landmarks\n"
    assert capsys.readouterr().err == lines
    for total, strict in ((2, False), (3, True)):
        with pytest.raises(typer.Exit) as stop:
            report_failures(failures, total, "photos", strict)
        assert stop.value.exit_code == 2


def test_output_files_are_checked(tmp_path):
    check_output_file(tmp_path / "a.JSON", ".json", ".jsonl")
    with pytest.raises(FaceAlignError, match=r"a\.txt: give a name that ends in \.json or \.jsonl"):
        check_output_file(tmp_path / "a.txt", ".json", ".jsonl")
    with pytest.raises(FaceAlignError, match="no: there is no such folder"):
        check_output_file(tmp_path / "no" / "a.json", ".json")


@pytest.mark.parametrize("total", [None, 5])
def test_the_progress_bar_ends_with_the_true_number(total, capsys):
    with progress_bar("Working", total) as advance:
        for _ in range(3):
            advance()
    assert "Working" in (out := capsys.readouterr().out) and "3/3" in out
