"""Times the evaluation of many faces: NME, and the curve, AUC and failure rate of them.

    python benchmarks/evaluation.py --faces 100000

Prints medians of repeated runs on this machine beside the time of the bare arithmetic (a
subtraction, two squares, a sum and a root of every landmark), which no evaluation can beat.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_facealign.evaluation import (
    NORMALIZERS,
    EvaluationReport,
    auc,
    ced,
    failure_rate,
    nme,
)


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call, after one that does not count."""
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        function()
        if i:
            times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Runs the benchmark with the command line's arguments."""
    parser = argparse.ArgumentParser(description="Times the evaluation of many faces.")
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--landmarks", type=int, default=68)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    shape = (arguments.faces, arguments.landmarks, 2)
    truth = rng.uniform(0, 200, shape).astype("float32")
    prediction = truth + rng.normal(0, 3, shape).astype("float32")
    errors = nme(prediction, truth, "box_size")

    def arithmetic() -> Any:
        offset = prediction.astype("float64") - truth
        return np.sqrt((offset * offset).sum(axis=-1)).mean(axis=1)

    def curve() -> None:
        ced(errors)
        for threshold in (7, 8, 10):
            auc(errors, threshold)
            failure_rate(errors, threshold)

    tasks: dict[str, Callable[[], Any]] = {
        "bare arithmetic": arithmetic,
        "NME, inter-ocular": lambda: nme(prediction, truth),
        "CED, three AUCs and failure rates": curve,
        f"report: {len(NORMALIZERS)} normalizers, regions, landmarks": lambda: EvaluationReport(
            prediction, truth
        ).summary(),
    }
    table = Table(title=f"{arguments.faces} faces of {arguments.landmarks} landmarks")
    table.add_column("task")
    table.add_column("seconds", justify="right")
    table.add_column("faces a second", justify="right")
    for name, task in tasks.items():
        seconds = median_seconds(task, arguments.repeats)
        table.add_row(name, f"{seconds:.3f}", f"{arguments.faces / seconds:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
