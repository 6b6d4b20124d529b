"""Keeps what TensorFlow says of itself while it loads off the terminal.

TensorFlow reports its CPU features on standard error before it has read the log level that would
silence it, so that the level alone does not help.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType

__all__ = ["quieten_tensorflow"]

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ERRORS_ONLY = "3"


def quieten_tensorflow() -> None:
    """Makes TensorFlow load in silence and log errors only, whenever it is first imported.

    Does nothing where TF_CPP_MIN_LOG_LEVEL already asks for more, or TensorFlow is loaded.
    """
    if os.environ.setdefault(LEVEL, ERRORS_ONLY) != ERRORS_ONLY or "tensorflow" in sys.modules:
        return
    if not any(isinstance(finder, _QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder())


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Steps in at the first import of TensorFlow, and out of the way again."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # TensorFlow and its lazy modules ask the loader for more than these two methods.
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        with _silent_standard_error():
            self._loader.exec_module(module)


@contextlib.contextmanager
def _silent_standard_error() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and tells it after all on an error."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
