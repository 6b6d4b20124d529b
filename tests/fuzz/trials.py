"""Does as `child_process` does, in one process for many files instead of a new one for each.

Starting a process takes half a second, and a fork of one that has loaded Keras 20 ms. The process
is replaced if a file kills it.
"""

from __future__ import annotations

import json
import os
import resource
from typing import Any

from keras_facealign.storage import child_process

# So that what libraries leave behind of damaged files does not pile up.
_MOST_FILES = 500


class Trials:
    """Tries files in a fork of this process."""

    def __init__(self) -> None:
        self._child, self._done = 0, 0
        self._to: Any = None
        self._from: Any = None

    def outcome(self, function: str, content: bytes, name: str, *arguments: str) -> str:
        """What is wrong with a content, as `child_process` says it; "" if nothing is."""
        if self._done == _MOST_FILES:
            self.close()
        fresh = not self._child
        if fresh:
            self._start()
        code, answer = self._try([function, name, *arguments], content)
        if code and not fresh:  # it may have been for the files before
            self._start()
            code, answer = self._try([function, name, *arguments], content)
        return child_process.answer_of(code, answer, name)

    def close(self) -> None:
        """Ends the process."""
        if self._child:
            self._to.close()
            self._wait()

    def _try(self, call: list[str], content: bytes) -> tuple[int, bytes]:
        """The exit code, 0 for a process that goes on, and the answer."""
        try:
            self._to.write(json.dumps([call, len(content)]).encode() + b"\n" + content)
            self._to.flush()
        except BrokenPipeError:
            return self._wait(), b""
        answer = self._from.readline()
        if not answer.endswith(b"\n"):
            return self._wait(), b""
        self._done += 1
        return 0, answer.rstrip()

    def _wait(self) -> int:
        _, status = os.waitpid(self._child, 0)
        self._from.close()
        self._child = 0
        return os.waitstatus_to_exitcode(status) or 1

    def _start(self) -> None:
        orders, to_child = os.pipe()
        from_child, answers = os.pipe()
        self._child, self._done = os.fork(), 0
        if not self._child:
            os.close(to_child)
            os.close(from_child)
            _serve(orders, answers)
        os.close(orders)
        os.close(answers)
        self._to, self._from = os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb")


def _serve(orders: int, answers: int) -> None:
    set_limit = resource.setrlimit

    def set_soft_limit(kind: int, limits: tuple[int, int]) -> None:
        # Limits are for one file: they have to be raised again.
        most = limits[0]
        if kind == resource.RLIMIT_CPU:
            used = resource.getrusage(resource.RUSAGE_SELF)
            most += int(used.ru_utime + used.ru_stime)
        hard = resource.getrlimit(kind)[1]
        set_limit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))

    resource.setrlimit = set_soft_limit
    with open(orders, "rb") as given, open(answers, "wb") as said:
        while line := given.readline():
            (function, name, *arguments), size = json.loads(line)
            problem = child_process.problem_of(function, given.read(size), name, *arguments)
            said.write(json.dumps(problem).encode() + b"\n")
            said.flush()
    os._exit(0)
