"""Keeps TensorFlow's messages off the terminal.

TensorFlow writes about the processor to standard error while it loads, whatever its log level, so
the environment variable alone is not enough.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_ERRORS_ONLY = "3"


def set_log_level() -> None:
    """Restricts TensorFlow's log to errors, unless TF_CPP_MIN_LOG_LEVEL is set already."""
    os.environ.setdefault(_LEVEL, _ERRORS_ONLY)


def import_keras() -> None:
    """Imports Keras and its backend without messages; call it before modules that need Keras."""
    with quiet_loading():
        import keras  # noqa: F401


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Hides what native libraries write to standard error while the block loads them.

    Python's own messages are still shown; the hidden text follows if an import fails.
    """
    if os.environ.get(_LEVEL) != _ERRORS_ONLY or "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    is_native = _descriptor(sys.stderr) == 2
    terminal = os.dup(2)
    with (
        tempfile.TemporaryFile() as hidden,
        open(terminal, "w", encoding=sys.stderr.encoding, errors="backslashreplace") as python_own,
    ):
        os.dup2(hidden.fileno(), 2)
        try:
            with contextlib.redirect_stderr(python_own if is_native else sys.stderr):
                yield
        except ImportError:
            hidden.seek(0)
            os.write(terminal, hidden.read())
            raise
        finally:
            os.dup2(terminal, 2)


def _descriptor(stream: Any) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):  # A stream in memory has none.
        return None
