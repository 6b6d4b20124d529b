"""Reads many damaged files with every reader, and keeps those that do harm.

    python -m tests.fuzz --inputs 100000 --jobs 2 [TARGET ...]
    python -m tests.fuzz --replay fuzz_failures/pts/17-KeyError.bin pts

All targets advance in turns. The counts are kept in the output folder's counts.json, and the same
command goes on from there.

A reader may return or raise `FaceAlignError`; in 10 seconds, with 200 MB and four times the file's
size of memory. Any other end is a failure, whose file is kept and can be replayed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from keras_facealign.storage.atomic import atomic_write
from tests.fuzz.runner import Summary, fuzz, mutated_input, replay
from tests.fuzz.targets import TARGETS

# Parts of the inputs after which it is the next target's turn: starting takes seconds.
_TURNS = (0.02, 0.1, 0.3, 0.6, 1.0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", help=f"default: all, {', '.join(TARGETS)}")
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs per target")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="longest per turn")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz_failures"))
    parser.add_argument("--replay", type=Path, action="append", help="a file to read instead")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if arguments.replay and len(arguments.targets) != 1:
        parser.error("--replay needs one target")
    return arguments


def _keep(output: Path, target: str, seed: int, failure: dict[str, Any], kept: set[str]) -> None:
    """Writes the file of a failure and what is known about it; the first of each kind."""
    lines = failure["details"].strip().splitlines() or [""]
    kind = failure["end"] + "".join(line for line in lines[-3:] if "line" in line)
    if kind in kept:
        return
    kept.add(kind)
    folder = output / target
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{failure['number']}-{failure['end'].replace(' ', '_')}"
    (folder / f"{name}.bin").write_bytes(mutated_input(target, seed, failure["number"]))
    (folder / f"{name}.txt").write_text(failure["details"] + "\n", encoding="utf-8")


def _table(summaries: list[Summary]) -> Table:
    table = Table(
        "target", "inputs", "results", "errors", "failures", "slowest, s", "most, MB", "s"
    )
    for s in summaries:
        counts = [s.inputs, s.ends.get("result", 0), s.ends.get("error", 0), len(s.failures)]
        measured = [f"{s.slowest:.2f}", f"{s.largest / 1e6:.0f}", f"{s.seconds:.0f}"]
        table.add_row(s.target, *map(str, counts), *measured)
    return table


def main() -> int:
    arguments = _arguments()
    console = Console()
    if arguments.replay:
        found = replay(arguments.targets[0], arguments.replay, verbose=True)
        for path, end in zip(arguments.replay, found, strict=True):
            console.print(f"{path}: {end['end']} {end['details']}", markup=False)
        return int(any(end["end"] not in ("result", "error") for end in found))
    counts = arguments.output / "counts.json"
    known = json.loads(counts.read_text("utf-8")) if counts.exists() else {}
    summaries = {
        name: Summary(**known.get(f"{name} {arguments.seed}", {"target": name})) for name in TARGETS
    }
    chosen = [summaries[name] for name in arguments.targets or TARGETS]
    writing = Lock()

    def note() -> None:
        with writing:
            everything = {f"{s.target} {arguments.seed}": s for s in summaries.values()}
            plain = {key: dataclasses.asdict(s) for key, s in everything.items()}
            atomic_write(counts, lambda file: file.write(json.dumps(known | plain).encode()))

    arguments.output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        tasks = {s.target: progress.add_task(s.target, total=arguments.inputs) for s in chosen}

        def run(summary: Summary, inputs: int) -> None:
            kept: set[str] = set()

            def advance() -> None:
                progress.update(tasks[summary.target], completed=summary.next)
                note()

            def keep(failure: dict[str, Any]) -> None:
                _keep(arguments.output, summary.target, arguments.seed, failure, kept)

            advance()
            fuzz(summary, inputs, arguments.seed, advance, keep, arguments.seconds)

        with ThreadPoolExecutor(arguments.jobs) as pool:
            for part in _TURNS:
                goal = round(part * arguments.inputs)
                list(pool.map(run, chosen, [goal] * len(chosen)))
    console.print(_table(chosen))
    for summary in chosen:
        ends = {end for end in summary.ends if end not in ("result", "error", "unknown")}
        if ends:
            console.print(f"{summary.target}: {summary.ends}")
    return int(any(summary.failures for summary in chosen))


if __name__ == "__main__":
    sys.exit(main())
