"""Runs a part of a test in a forked process."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def in_child(work: Callable[[], object]) -> int:
    """Returns the exit code of a forked process: 0, 1 after an error, -14 if it hangs for 20 s."""
    with warnings.catch_warnings():
        # JAX and Python 3.12 warn of what this is about.
        warnings.filterwarnings("ignore", message=".*fork")
        child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(20)
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
