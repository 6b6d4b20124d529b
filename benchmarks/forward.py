"""Times full-width networks side by side: on every runtime, and their training on every backend.

    python benchmarks/forward.py --models sat2_cab --batch 1
    python benchmarks/forward.py --models sat2_cab --batch 8 --paths tf_function openvino
    python benchmarks/forward.py --training --models sat1_cab_mobile --batch 8
    python benchmarks/forward.py --landmark-change 300w/lfpw/testset

Every path runs in its own process; they are measured in turns of a few calls, so that changes of
the machine's speed affect all of them. The same rounds measure matrix products, and the fastest
library's rate is the machine's peak: "of peak" is a network's rate, by its nominal multiply-adds,
as a share of the peak in float32. It also prints the ratio to the original implementation's time
(MXNet 1.9.1 with oneDNN, on two cores of another machine, unless --original gives one).

`--landmark-change` instead prints how far the landmarks of a trained preset on other runtimes are
from those of the Keras model; its argument is a folder of images with .pts files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from forward_paths import INFERENCE, MATMUL_GFLOP, MATMULS, TRAINING
from rich.console import Console
from rich.table import Table

# Milliseconds an image, by network and batch.
ORIGINAL_MS = {
    ("sat2_cab", 1): 353.0,
    ("sat2_cab", 8): 323.0,
    ("hourglass2_cab_d3", 1): 256.0,
    ("hourglass2_cab_d3", 8): 225.0,
}


class Way:
    """A process that runs one path of `forward_paths.py`."""

    def __init__(self, name: str, preset: str, batch: int, verbose: bool = False) -> None:
        self.name, self.preset, self.batch = name, preset, batch
        script = str(Path(__file__).with_name("forward_paths.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, name, preset, str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
        )
        self.times: list[float] = []
        self.missing = ""

    def prepare(self) -> None:
        """Waits until it is prepared; `missing` is then the reason why it cannot run, if any."""
        answer = self._read()
        self.missing = answer.get("error", "") if isinstance(answer, dict) else ""

    def measure(self, calls: int) -> None:
        """Measures some calls."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        self.times += self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "it ended early; --verbose shows why"}

    def close(self) -> None:
        self.process.communicate()

    @property
    def median(self) -> float:
        return float(np.median(self.times))


def run_in_turn(ways: list[Way], rounds: int, calls: int) -> list[Way]:
    """Measures all paths in turns; returns those that can run."""
    able = [way for way in ways if not way.missing]
    for _ in range(rounds):
        for way in able:
            way.measure(calls)
    for way in ways:
        way.close()
    return able


def gigaflop(preset: str) -> float:
    """Returns the nominal cost of one image."""
    from keras_facealign.networks import count_macs
    from keras_facealign.presets import from_preset

    return 2e-9 * count_macs(from_preset(preset, load_weights=False))


def peaks(ways: list[Way]) -> dict[str, float]:
    """Returns the GFLOP/s of the matrix products, by library."""
    return {way.name: 1e3 * MATMUL_GFLOP / way.median for way in ways if way.name in MATMULS}


def print_inference(args: argparse.Namespace, preset: str, batch: int) -> None:
    """Prints the table of one network at one batch size."""
    ways = [Way(name, preset, batch, args.verbose) for name in (*MATMULS, *args.paths)]
    for way in ways:
        way.prepare()
    console = Console()
    able = run_in_turn(ways, args.rounds, args.calls)
    rates = peaks(able)
    peak = max(rate for name, rate in rates.items() if "bfloat16" not in name)
    work = gigaflop(preset)
    original = args.original or ORIGINAL_MS.get((preset, batch))
    title = f"{preset}, batch {batch}, {work:.1f} GFLOP an image"
    table = Table(title=title)
    for column in ("path", "ms an image", "GFLOP/s", "of peak", "of the original"):
        table.add_column(column, justify="left" if column == "path" else "right")
    for way in able:
        if way.name not in MATMULS:
            ms = way.median / batch
            rate = 1e3 * work / ms
            ratio = f"{ms / original:.2f}" if original else ""
            table.add_row(way.name, f"{ms:.1f}", f"{rate:.0f}", f"{rate / peak:.0%}", ratio)
    console.print(table)
    listed = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    console.print(f"matrix products, GFLOP/s: {listed}")
    print_missing(console, ways)


def print_missing(console: Console, ways: list[Way]) -> None:
    for way in ways:
        if way.missing:
            console.print(f"[yellow]{way.name} did not run: {way.missing}[/yellow]")


def print_training(args: argparse.Namespace, preset: str, batch: int) -> None:
    """Prints the images per second of training steps; each image has two views."""
    table = Table(title=f"{preset}, training step of {batch} images, two views each")
    for column in ("backend", "ms a step", "images/s"):
        table.add_column(column, justify="left" if column == "backend" else "right")
    console = Console()
    for name in args.paths:
        # One at a time, since a small machine cannot hold three training networks.
        ways = [Way(name, preset, batch, args.verbose)]
        ways[0].prepare()
        for way in run_in_turn(ways, 1, args.calls):
            table.add_row(name, f"{way.median:.0f}", f"{1e3 * batch / way.median:.1f}")
        print_missing(console, ways)
    console.print(table)


def print_landmark_change(folder: Path, preset: str) -> None:
    """Prints distances to the Keras model's landmarks, in pixels of the network's input."""
    from keras_facealign.data.images import read_image
    from keras_facealign.data.pts import read_pts
    from keras_facealign.errors import FaceAlignError
    from keras_facealign.geometry import crop_face, crop_matrix, landmarks_box
    from keras_facealign.presets import from_preset
    from keras_facealign.runtimes import RUNTIMES, choose_runtime

    model = from_preset(preset)
    size = model.input_size
    crops = []
    for path in sorted(folder.glob("*.pts")):
        image = next(p for p in path.parent.glob(f"{path.stem}.*") if p.suffix != ".pts")
        matrix = crop_matrix(landmarks_box(*read_pts(path)), size)
        crops.append(crop_face(read_image(image), matrix, size))
    crops = np.stack(crops)
    expected, _ = model.predict_landmarks(crops)
    table = Table(title=f"{preset}, {len(crops)} faces: pixels from the Keras model's landmarks")
    for column in ("runtime", "mean", "median", "99 %"):
        table.add_column(column, justify="left" if column == "runtime" else "right")
    for name in RUNTIMES:
        if name not in ("auto", "keras"):
            try:
                _, runner = choose_runtime(model, name)
            except FaceAlignError as error:
                Console().print(f"[yellow]{name} did not run: {error}[/yellow]")
                continue
            found, _ = runner.predict_landmarks(crops)
            moved = np.linalg.norm(found - expected, axis=-1)
            figures = (moved.mean(), np.median(moved), np.percentile(moved, 99))
            table.add_row(name, *(f"{value:.5f}" for value in figures))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["sat2_cab", "hourglass2_cab_d3"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--paths", nargs="+", help=f"of {', '.join((*INFERENCE, *TRAINING))}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3, help="calls a round")
    parser.add_argument("--original", type=float, help="milliseconds an image of the original")
    parser.add_argument("--training", action="store_true", help="time training steps")
    parser.add_argument("--landmark-change", type=Path, metavar="FOLDER")
    parser.add_argument("--verbose", action="store_true", help="show what the libraries print")
    args = parser.parse_args()
    args.paths = args.paths or list(TRAINING if args.training else INFERENCE)
    if args.landmark_change:
        print_landmark_change(args.landmark_change, "sat1_cab_mobile")
        return
    for preset in args.models:
        for batch in args.batch:
            (print_training if args.training else print_inference)(args, preset, batch)


if __name__ == "__main__":
    main()
