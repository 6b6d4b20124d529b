"""What commands print: the one place through which every line, table and bar goes.

Names of files may have any character, terminals may lack it, and whoever reads the output may stop
reading. None of this ends a command.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from keras_facealign.storage.file_names import printable

if TYPE_CHECKING:
    from rich.console import Console


def say(*lines: str, err: bool = False) -> None:
    """Prints lines as they are, also while a progress bar is shown.

    Args:
        lines: The lines; what they contain is neither markup nor control characters.
        err: Print to standard error.
    """
    for line in lines:
        _console(err).print(printable(line), soft_wrap=True)


def print_tables(*tables: Any, min_width: int = 0) -> None:
    """Prints tables; a pipe or a file, which has no width of its own, gets at least `min_width`."""
    console = _make_console()
    if not console.is_terminal:
        console.width = max(console.width, min_width)
    for table in tables:
        console.print(table)


def print_json(value: Any) -> None:
    """Prints a value as indented JSON in ASCII, which every terminal and program can read."""
    _console(False).print(json.dumps(value, indent=2), soft_wrap=True)


@contextmanager
def progress_bar(
    title: str, total: int | None = None, stderr: bool = False
) -> Iterator[Callable[[], None]]:
    """Shows a progress bar while the block runs.

    Args:
        title: Text before the bar.
        total: Number of steps, if known.
        stderr: Show the bar on standard error.

    Yields:
        A function to call after each step.
    """
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=_console(stderr), disable=total == 0) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
        bar.update(task, total=bar.tasks[0].completed)


@cache
def _console(err: bool) -> Console:
    """The console of standard output or error; lines and progress bars have to share it."""
    return _make_console(stderr=err)


def _make_console(**options: Any) -> Console:
    from rich.console import Console

    class PlainConsole(Console):
        """Shows text as it is: no markup, no `:emoji:` codes, no colored numbers."""

        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(printable(text, keep="\n"), **options)

    return PlainConsole(markup=False, emoji=False, highlight=False, **options)


class _RobustStream:
    """A text stream that goes on without its reader.

    When the stream cannot be written, for example as `head` has closed the pipe, this and all later
    output is dropped; `error` tells why.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._attempt(self._stream.write, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, call: Callable[..., Any], *args: Any) -> None:
        if self.error is None:
            try:
                call(*args)
            except OSError as error:
                self.error = error
                self._discard()

    def _discard(self) -> None:
        """Lets the rest go nowhere, also that of native code and what is still in a buffer."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def robust_streams() -> Iterator[None]:
    """Makes standard output and error accept every character and survive their reader.

    Raises:
        SystemExit: At the end, with code 2, if the output could not be written for another reason
            than that its reader stopped; one line on standard error names it.
    """
    _open_closed_streams()
    before = sys.stdout, sys.stderr
    errors = [getattr(stream, "errors", None) for stream in before]
    _set_errors(before, ["backslashreplace"] * 2)
    sys.stdout, sys.stderr = streams = [_RobustStream(stream) for stream in before]
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before
        _set_errors(before, errors)
        error = streams[0].error
        if error is not None and error.errno not in (errno.EPIPE, errno.EINVAL):
            reason = error.strerror or error
            say(f"keras-facealign: standard output cannot be written ({reason})", err=True)
            raise SystemExit(2)


def _set_errors(streams: Any, errors: Any) -> None:
    for stream, handling in zip(streams, errors, strict=True):
        if hasattr(stream, "reconfigure"):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=handling)


def _open_closed_streams() -> None:
    """Opens descriptors that the caller closed; else the next file would get their numbers."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
