"""What commands print: any name on any terminal, and a reader that stops."""

from __future__ import annotations

import errno
import io
import json
import sys

import pytest
from rich.table import Table

from keras_facealign.cli.output import (
    print_json,
    print_tables,
    printable,
    progress_bar,
    robust_streams,
    say,
)
from tests.cli.processes import run_python


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("two\nlines\r.jpg", r"two\nlines\r.jpg"),
        ("\x1b[31mred\x07.jpg", r"\x1b[31mred\x07.jpg"),
        ("b\udcff.jpg", r"b\udcff.jpg"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("a\u200fb\u2028c\x85.jpg", r"a\u200fb\u2028c\x85.jpg"),
        ("[red]x[/blue] :cat: é 后 👨\u200d👩\u200d👧.jpg", None),
        (r"back\slash", None),
    ],
)
def test_lines_show_names_as_they_are_and_stay_lines(name, shown, capsys):
    assert printable(name) == (shown or name)
    say(f"{name}: no face", err=False)
    say("one", name, err=True)
    captured = capsys.readouterr()
    assert captured.out == f"{shown or name}: no face\n"
    assert captured.err == f"one\n{shown or name}\n"


def test_long_lines_are_not_wrapped(capsys):
    say("word " * 100 + "end")
    assert capsys.readouterr().out == "word " * 100 + "end\n"


def test_tables_show_names_as_they_are(capsys):
    table = Table("[red]Name[/blue]", title="[/x] of :cat:\x1b[0m")
    table.add_row("a\udcff[b]\ntwo lines")
    print_tables(table, min_width=100)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == r"[/x] of :cat:\x1b[0m"
    assert "[red]Name[/blue]" in lines[2]
    assert r"a\udcff[b]" in lines[4] and "two lines" in lines[5]


def test_json_is_ascii(capsys):
    value = {"name": "b\udcff 后 🙂 [red]\n\x1b"}
    print_json(value)
    text = capsys.readouterr().out
    assert text.isascii() and json.loads(text) == value


class Sink(io.TextIOWrapper):
    """A stream of an encoding, whose bytes a test can read."""

    def __init__(self, encoding: str, fail: int | None = None) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict")
        self.fail = fail

    def write(self, text: str) -> int:
        if self.fail is not None:
            raise OSError(self.fail, "it fails")
        return super().write(text)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_terminals_that_lack_characters(encoding, monkeypatch):
    sink = Sink(encoding)
    monkeypatch.setattr(sys, "stdout", sink)
    with robust_streams():
        say("后 é \udcff")
        print("plain 后")
        with progress_bar("Working", 2) as advance:
            advance()
    sink.flush()
    text = sink.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    shown = "后 é" if encoding == "utf-8" else r"\u540e é".replace("é", "é")
    if encoding == "ascii":
        shown = r"\u540e \xe9"
    assert text.splitlines()[0] == rf"{shown} \udcff"
    assert "1/1" in text
    assert (sys.stdout, sink.errors) == (sink, "strict")


def test_a_reader_that_stops_ends_nothing(monkeypatch, capsys):
    sink = Sink("utf-8", errno.EPIPE)
    monkeypatch.setattr(sys, "stdout", sink)
    steps = []
    with robust_streams():
        for step in range(3):
            say(f"step {step}")
            print(step, flush=True)
            steps.append(step)
    assert steps == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_output_that_cannot_be_stored_is_an_error_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Sink("utf-8", errno.ENOSPC))
    steps = []
    with pytest.raises(SystemExit) as stop, robust_streams():
        say("lost")
        steps.append(1)
    assert (stop.value.code, steps) == (2, [1])
    assert capsys.readouterr().err == (
        "keras-facealign: standard output cannot be written (it fails)\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")
@pytest.mark.parametrize(
    ("redirection", "code", "shown"),
    [
        ("| head -n 1", 0, ""),
        ("| true", 0, ""),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("> /dev/full", 2, "No space left on device"),
    ],
)
def test_commands_of_a_shell(redirection, code, shown):
    program = f"{sys.executable} -m keras_facealign datasets --json"
    run = run_python(
        "import subprocess, sys\n"
        f"words = ['bash', '-c', 'set -o pipefail; {program} {redirection}']\n"
        "run = subprocess.run(words, capture_output=True, text=True)\n"
        "print(run.returncode); print(run.stderr)"
    )
    status, *error = run.stdout.splitlines()
    assert int(status) == code, run.stdout
    assert "Traceback" not in run.stdout
    assert shown in "".join(error) and len("".join(error).splitlines()) <= 1
