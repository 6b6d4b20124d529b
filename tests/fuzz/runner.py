"""Runs targets in processes of their own, which are replaced when an input kills them."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.child import WAITING
from tests.paths import ROOT


@dataclass
class Summary:
    """What became of the inputs of a target.

    Attributes:
        target: Its name.
        inputs: Number of inputs read.
        next: Number of the input that comes next.
        ends: How often each end occurred: `result`, `error` (a `FaceAlignError`) or a failure.
        failures: Number, end and details of each failure.
        slowest: Seconds of the slowest input.
        largest: Most memory of an input, in bytes.
        seconds: Duration of the run.
    """

    target: str
    inputs: int = 0
    next: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    largest: float = 0.0
    seconds: float = 0.0

    def add(self, answer: dict[str, Any]) -> None:
        for end, count in answer["ends"].items():
            self.ends[end] = self.ends.get(end, 0) + count
            self.inputs += count
        self.next = answer["next"]
        self.slowest = max(self.slowest, answer["slowest"])
        self.largest = max(self.largest, answer["largest"])


class _Child:
    """A process that reads the inputs of one target."""

    def __init__(self, target: str, verbose: bool = False, **order: Any) -> None:
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if _has_shm() else None)
        self.progress = Path(self.folder.name) / "progress"
        self.progress.write_bytes(struct.pack("<q", -1))
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        )
        order |= {"target": target, "folder": self.folder.name, "progress": str(self.progress)}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order | {"verbose": verbose}).encode() + b"\n")
        self.process.stdin.close()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yields the child's answers; kills it when it waits for something that does not come."""
        assert self.process.stdout
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        for line in self.process.stdout:
            yield json.loads(line)

    def _watch(self) -> None:
        seen, since = b"", time.monotonic()
        while self.process.poll() is None:
            # A process that works is stopped by its own timer, and others may hold the processor.
            with suppress(OSError):
                if (used := self._processor_time()) != seen:
                    seen, since = used, time.monotonic()
                elif time.monotonic() - since > WAITING:
                    self.process.kill()
            time.sleep(1.0)

    def _processor_time(self) -> bytes:
        """What it and the processes that it has waited for have used, in any unit."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_bytes()
        return b" ".join(stat.rpartition(b")")[2].split()[11:15])

    def place(self) -> int:
        """The number of the input that it was reading last."""
        return struct.unpack("<q", self.progress.read_bytes())[0]

    def end(self) -> int:
        """Waits for its end; returns its exit code."""
        code = self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.folder.cleanup()
        return code


def _has_shm() -> bool:
    return os.access("/dev/shm", os.W_OK)


def _death(code: int) -> str:
    if code == -signal.SIGPROF:
        return "time"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def fuzz(
    summary: Summary,
    inputs: int,
    seed: int = 0,
    on_progress: Callable[[], object] = lambda: None,
    on_failure: Callable[[dict[str, Any]], object] = lambda failure: None,
    seconds: float = float("inf"),
) -> None:
    """Reads mutated files with one target.

    Args:
        summary: What became of the inputs so far; those that follow are added to it.
        inputs: How many shall have been read at the end.
        seed: Decides the inputs, together with the target and their numbers.
        on_progress: Called when `summary` has changed, about once a second.
        on_failure: Called with each failure: its number, end and details.
        seconds: Stop after this time.
    """
    began, before = time.monotonic(), summary.seconds

    def elapsed() -> float:
        summary.seconds = before + time.monotonic() - began
        return time.monotonic() - began

    def fail(failure: dict[str, Any]) -> None:
        summary.failures.append(failure)
        on_failure(failure)

    while summary.next < inputs and elapsed() < seconds:
        child = _Child(summary.target, seed=seed, start=summary.next, stop=inputs)
        ready = False
        for answer in child.answers():
            ready = ready or "ready" in answer
            if "next" in answer:
                summary.add(answer)
                if elapsed() > seconds:
                    child.process.kill()
                on_progress()
            elif "number" in answer:
                fail(answer)
        place, code = child.place(), child.end()
        if not ready:
            raise RuntimeError(f"the target {summary.target} does not start (exit code {code})")
        if summary.next == inputs or elapsed() > seconds:
            break
        end = _death(code)
        unknown = {"ends": {end: 1, "unknown": place - summary.next}, "next": place + 1}
        summary.add(unknown | {"slowest": 0, "largest": 0})
        fail({"number": place, "end": end, "details": "the process died"})
        on_progress()


def mutated_input(target: str, seed: int, number: int) -> bytes:
    """Makes one of the inputs of `fuzz`."""
    from tests.fuzz.mutations import mutate
    from tests.fuzz.targets import TARGETS

    rng = random.Random(f"{target} {seed} {number}")
    return mutate(rng, list(TARGETS[target].seeds()), TARGETS[target].structure)


def replay(target: str, files: Sequence[Path], verbose: bool = False) -> list[dict[str, Any]]:
    """Reads given files with one target; the end and the details of each."""
    found: list[dict[str, Any]] = []
    left = [str(path) for path in files]
    while left:
        child = _Child(target, verbose, inputs=left)
        answers = [answer for answer in child.answers() if "number" in answer]
        code = child.end()
        if len(answers) < len(left):
            answers.append({"end": _death(code), "details": "the process died"})
        found += answers
        left = left[len(answers) :]
    return found


def sample(
    counts: dict[str, int], seed: int, files: dict[str, list[str]] | None = None
) -> list[dict[str, Any]]:
    """Reads inputs of several targets in one process; what became of each.

    Args:
        counts: How many inputs of each target to read, the first ones.
        seed: Determines the inputs.
        files: By target, files to read after them.

    Returns:
        What a reader's process answers: "target", "number" or "file", "end" ...
    """
    files = files or {}
    child = _Child("", sample=counts, seed=seed, files=files)
    answers = list(child.answers())
    code = child.end()
    found = [answer for answer in answers if "end" in answer]
    if len(found) < sum(counts.values()) + sum(map(len, files.values())):
        last = [answer["started"] for answer in answers if "started" in answer][-1:]
        found.append({"target": last, "number": -1, "end": _death(code), "details": "it died"})
    return found
