"""The process that reads damaged files, which may die of one; `runner` starts it.

It gets its orders as a JSON line on standard input and answers with JSON lines: one for each
failure, one each second. Before each input it notes the number in a file, in case that it dies.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import Any
from unittest.mock import patch

from keras_facealign.storage import child_process
from tests.fuzz.trials import Trials

SECONDS = 10.0
"""The longest that a reader may take, of the processor: the computer may do other things."""
WAITING = 120.0
"""The longest that its process may not use the processor at all."""
MEGABYTES = 200
"""The most memory that a reader may take, in addition to `TIMES_FILE` times the file's size."""
TIMES_FILE = 4
# More address space than a reader may take of memory, so that only a runaway meets it.
_HEADROOM = 3 << 30


def _memory() -> tuple[int, int]:
    """Bytes that this process has in memory: at most so far, and now."""
    found = {}
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith((b"VmHWM", b"VmRSS")):
                found[line[:5]] = int(line.split()[1]) * 1024
    return found[b"VmHWM"], found[b"VmRSS"]


def _start_measuring() -> int:
    """Sets the peak back to the memory in use, and returns it."""
    peak, used = _memory()
    if peak - used > 8_000_000:
        Path("/proc/self/clear_refs").write_text("5")
        return used
    return peak


class _Reader:
    """Reads damaged files for one target and measures it."""

    def __init__(self, name: str, folder: Path) -> None:
        from tests.fuzz.targets import TARGETS

        self.name, self.target = name, TARGETS[name]
        self.folder = folder / name
        self.trials = Trials()
        self.seeds = list(self.target.seeds())
        self._empty_folder()
        # What is imported and cached on the first call is not the input's doing.
        for content in self.seeds:
            with contextlib.suppress(Exception):
                self.read(content)

    def _empty_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.path = self.folder / self.target.file_name
        self.path.parent.mkdir(parents=True)
        if self.target.prepare:
            self.target.prepare(self.folder)

    def read(self, content: bytes) -> None:
        self.path.write_bytes(content)
        with patch.object(child_process, "_outcome", self.trials.outcome):
            self.target.read(self.path)

    def mutated(self, seed: int, number: int) -> bytes:
        from tests.fuzz.mutations import mutate

        rng = random.Random(f"{self.name} {seed} {number}")
        return mutate(rng, self.seeds, self.target.structure)

    def try_input(self, content: bytes) -> dict[str, Any]:
        """Reads one file; what happened: end, seconds, bytes, and for failures details."""
        from keras_facealign.errors import FaceAlignError

        before = _start_measuring()
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
        end, details = "result", ""
        try:
            self.read(content)
        except FaceAlignError as error:
            end = "error"
            if "\n" in str(error) or len(str(error)) > 2000:
                end, details = "message", str(error)[:3000]
        except Exception as error:
            end, details = type(error).__name__, traceback.format_exc()[-3000:]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - start
        extra = max(0, _memory()[0] - before)
        if seconds > SECONDS and not details:
            end, details = "time", f"{seconds:.1f} s"
        elif extra > MEGABYTES * 1_000_000 + TIMES_FILE * len(content) and not details:
            end, details = "memory", f"{extra / 1e6:.0f} MB for a file of {len(content)} bytes"
        return {"end": end, "details": details, "seconds": seconds, "bytes": extra}


def _limit_address_space() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + _HEADROOM, hard))


def main() -> None:
    order = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if not order.get("verbose"):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    if order.get("sample"):
        # What does not end is stopped sooner than for users, whose files may be large.
        child_process._PROCESSOR_SECONDS = 2
        for name, count in order["sample"].items():
            answer(started=name)
            reader = _Reader(name, Path(order["folder"]))
            _limit_address_space()
            for number in range(count):
                found = reader.try_input(reader.mutated(order["seed"], number))
                answer(target=name, number=number, **found)
            for path in order["files"].get(name, ()):
                answer(target=name, file=path, **reader.try_input(Path(path).read_bytes()))
        return
    reader = _Reader(order["target"], Path(order["folder"]))
    _limit_address_space()
    if order.get("inputs"):
        for number, path in enumerate(order["inputs"]):
            answer(number=number, **reader.try_input(Path(path).read_bytes()))
        return
    answer(ready=True)
    with open(order["progress"], "r+b") as file:
        place = mmap.mmap(file.fileno(), 8)
    ends: dict[str, int] = {}
    slowest = largest = told = 0.0
    for number in range(order["start"], order["stop"]):
        struct.pack_into("<q", place, 0, number)
        content = reader.mutated(order["seed"], number)
        found = reader.try_input(content)
        ends[found["end"]] = ends.get(found["end"], 0) + 1
        slowest, largest = max(slowest, found["seconds"]), max(largest, found["bytes"])
        if found["details"]:
            answer(number=number, **found)
        if number + 1 == order["stop"] or time.monotonic() - told > 1:
            answer(next=number + 1, ends=ends, slowest=slowest, largest=largest)
            ends, told = {}, time.monotonic()


if __name__ == "__main__":
    main()
