"""Ablation of the coherent loss and of deformable convolutions: a table like the paper's.

    python examples/ablation.py --ibug-300w 300W --output runs/ablation --minutes 20

Trains the network of `sat1_cab_mobile` four ways (plain, with the coherent loss, with deformable
convolutions in and before the head, with both), each from several seeds, on 300W alone and for the
same wall-clock time, and prints mean and spread of the inter-ocular NME on lfpw/testset. A slower
variant takes fewer steps in that time. All variants see the same pairs of views; "plain" leaves the
comparison of the two out of the loss.

Results of finished runs are kept in `--output`, so the same command continues after an
interruption.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from train_2d import ARCHITECTURE, COMPILE

from keras_facealign.data.batches import FaceBatches
from keras_facealign.data.readers import ibug_300w
from keras_facealign.models import SATFaceAlign
from keras_facealign.training import TrainingConfig, make_optimizer

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"deformable": "none", "coherent_weight": 0.0},
    "+ coherent loss": {"deformable": "none", "coherent_weight": 0.001},
    "+ deformable": {"deformable": "heads", "coherent_weight": 0.0},
    "both": {"deformable": "heads", "coherent_weight": 0.001},
}
BATCH = 16
TIMED_STEPS = 12


def _model(way: dict[str, Any], steps: int, seed: int) -> SATFaceAlign:
    keras.utils.set_random_seed(seed)
    model = SATFaceAlign(**ARCHITECTURE, deformable=way["deformable"])
    config = TrainingConfig(batch_size=BATCH, learning_rate=2e-3, warmup_steps=100)
    settings = {**COMPILE, "coherent_weight": way["coherent_weight"]}
    settings["augmentation"] = {**settings["augmentation"], "seed": seed}
    model.compile(make_optimizer(config, steps), **settings)
    return model


def seconds_per_step(way: dict[str, Any], batches: FaceBatches) -> float:
    """Measures the duration of a training step with a model that is then discarded."""
    first = [batches[i % len(batches)] for i in range(TIMED_STEPS)]
    model = _model(way, 1000, 0)
    ends = []
    for data in first:
        model.train_on_batch(data)
        ends.append(time.monotonic())
    return float(np.median(np.diff(ends)[2:]))


def train(way: dict[str, Any], faces: list[Any], held_out: list[Any], steps: int, seed: int) -> Any:
    """The NME on the held-out faces after `steps` steps."""
    model = _model(way, steps, seed)
    batches = FaceBatches(faces, BATCH, model.input_size, True, None, seed)
    epochs = -(-steps // len(batches))
    left = steps
    for epoch in range(epochs):
        count = min(left, len(batches))
        model.fit(batches, epochs=epoch + 1, initial_epoch=epoch, steps_per_epoch=count, verbose=0)
        left -= count
    result = model.evaluate(
        FaceBatches(held_out, BATCH, model.input_size), verbose=0, return_dict=True
    )
    return float(result["nme"])


def show(results: dict[str, dict[str, Any]], minutes: float, console: Console) -> None:
    """Prints a table of the results so far."""
    table = Table(title=f"Inter-ocular NME in % on lfpw/testset, {minutes:g} minutes of training")
    for name in ("", "mean", "spread", "seeds", "steps"):
        table.add_column(name, justify="left" if not name else "right")
    for name in WAYS:
        runs = [r for key, r in results.items() if key.startswith(f"{name}/")]
        if not runs:
            continue
        values = [run["nme"] for run in runs]
        spread = f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else "-"
        steps = sum(run["steps"] for run in runs) // len(runs)
        table.add_row(name, f"{np.mean(values):.3f}", spread, str(len(values)), str(steps))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ibug-300w", required=True, help="root of 300W")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of every run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="use the first N faces, to try it out")
    args = parser.parse_args()
    console = Console()
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    faces = list(islice(ibug_300w.load_samples(args.ibug_300w, "train"), args.limit))
    held_out = list(islice(ibug_300w.load_samples(args.ibug_300w, "lfpw_test"), args.limit))
    for seed in range(args.seeds):
        for name, way in WAYS.items():
            key = f"{name}/{seed}/{args.minutes:g}"
            if key in results:
                continue
            # Measured before every run, since the machine's speed may change.
            pace = seconds_per_step(way, FaceBatches(faces, BATCH, 128, True))
            steps = max(int(60 * args.minutes / pace), 1)
            nme = train(way, faces, held_out, steps, seed)
            results[key] = {"nme": nme, "steps": steps}
            path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
            console.print(f"{name}, seed {seed}: {nme:.3f} % after {steps} steps")
    show(
        {k: r for k, r in results.items() if k.endswith(f"/{args.minutes:g}")},
        args.minutes,
        console,
    )


if __name__ == "__main__":
    main()
