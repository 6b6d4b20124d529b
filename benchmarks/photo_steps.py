"""Measures where the time of a photo goes: the steps of the aligner, in processor time.

    python benchmarks/photo_steps.py 300w afw lfpw/testset --preset sat1_cab_mobile --side 512

Each photo is aligned several times, and its fastest time counts. The steps are those of photos with
one face and one look of the detector; the numbers of looks and passes are over all photos. One core
alone, `taskset -c 0`, gives the work itself, without threads that wait for each other.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from photo_peers import labeled, resized

from keras_facealign import FaceAligner
from keras_facealign.detection.blazeface.views import Pyramid
from keras_facealign.inference import aligner as aligner_module
from keras_facealign.runtimes.litert import TFLiteGraph

spent: defaultdict[str, float] = defaultdict(float)
calls: Counter[str] = Counter()


def measured(function: Callable[..., Any], step: Callable[..., str]) -> Callable[..., Any]:
    """A function that notes its time under the name of its step."""

    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = function(*args, **kwargs)
        name = step(*args)
        spent[name] += 1e3 * (time.process_time() - start)
        calls[name] += 1
        return result

    return run


def network_name(graph: TFLiteGraph, images: np.ndarray) -> str:
    return f"network {Path(graph.name).name}"


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description="Measures the steps of a photo.")
    parser.add_argument("root", type=Path, help="folder of the 300W data set")
    parser.add_argument("folders", nargs="+", help="folders below it")
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--limit", type=int, default=40, help="photos")
    parser.add_argument("--side", type=int, default=512, help="pixels of the longer side")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    aligner = FaceAligner.from_preset(arguments.preset)
    assert aligner.detector is not None
    aligner.detector = measured(aligner.detector, lambda image: "detector, all of it")
    Pyramid.view = measured(Pyramid.view, lambda *_: "detector's view of the photo")
    TFLiteGraph.__call__ = measured(TFLiteGraph.__call__, network_name)
    aligner_module.crop_face = measured(aligner_module.crop_face, lambda *_: "crop")
    rows = []
    examples = labeled(arguments.root, arguments.folders, arguments.limit)
    for item in resized(examples, arguments.side):
        runs = []
        for _ in range(arguments.repeats + 1):
            spent.clear()
            calls.clear()
            start = time.process_time()
            faces = aligner.align(item.image)
            runs.append((1e3 * (time.process_time() - start), dict(spent), dict(calls), len(faces)))
        rows.append(min(runs[1:], key=lambda run: run[0]))
    print(f"{len(rows)} photos: median {np.median([row[0] for row in rows]):.2f} ms")
    for name in sorted({name for row in rows for name in row[2]}):
        print(f"{name}: {np.mean([row[2].get(name, 0) for row in rows]):.2f} calls a photo")
    simple = [row for row in rows if row[3] == 1 and max(row[2].values()) == 1]
    print(f"\n{len(simple)} photos with one face and one look, ms (median):")
    for name in simple[0][1] if simple else ():
        print(f"{np.median([row[1].get(name, 0.0) for row in simple]):7.2f}  {name}")
    if simple:
        print(f"{np.median([row[0] for row in simple]):7.2f}  in all")


if __name__ == "__main__":
    main()
