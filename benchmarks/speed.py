"""Times a preset: the network alone, photo to landmarks with detection, and training.

    python benchmarks/speed.py --preset sat1_cab_mobile

Prints medians of repeated runs and, to compare machines, their ratios to a convolution of known
size in the same run (3x3, 64 to 64
channels, 64x64 pixels, batch 1: 0.30 GFLOP).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_facealign.data import FaceBatches
from keras_facealign.inference import FaceAligner
from keras_facealign.presets import from_preset


def median_ms(function: Callable[[], Any], repeats: int) -> float:
    """Returns the median wall time of a call in milliseconds, after two warm-up calls."""
    times = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        function()
        if i >= 2:
            times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def reference_ms(repeats: int) -> float:
    """Times the reference convolution."""
    inputs = keras.Input((64, 64, 64))
    outputs = keras.layers.Conv2D(64, 3, padding="same")(inputs)
    model = keras.Model(inputs, outputs)
    data = np.random.default_rng(0).normal(size=(1, 64, 64, 64)).astype("float32")
    return median_ms(lambda: model.predict_on_batch(data), repeats)


def photo() -> np.ndarray:
    """Returns a public-domain portrait, uint8 (512, 512, 3)."""
    from skimage.data import astronaut

    return astronaut()


def training_batch(image: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Makes a batch of `count` equal faces."""
    rng = np.random.default_rng(0)
    example = {
        "image": image,
        "landmarks": rng.uniform(150, 300, (68, 2)).astype("float32"),
        "visibility": np.full(68, 2),
        "box": np.array([150, 50, 300, 200]),
        "file_name": "astronaut",
    }
    return FaceBatches([example] * count, batch_size=count)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    image = photo()
    model = from_preset(args.preset)
    aligner = FaceAligner(model)
    reference = reference_ms(args.repeats)

    table = Table(title=f"{args.preset}, Keras {keras.__version__} on {keras.backend.backend()}")
    for column in ("what", "batch", "ms a call", "ms a face", "x reference"):
        table.add_column(column, justify="left" if column == "what" else "right")

    def row(what: str, batch: int, ms: float) -> None:
        cells = (f"{ms:.1f}", f"{ms / batch:.1f}", f"{ms / batch / reference:.1f}")
        table.add_row(what, str(batch), *cells)

    crops = np.random.default_rng(0).integers(0, 256, (8, model.input_size, model.input_size, 3))
    crops = crops.astype("uint8")
    box = [np.array([[170.0, 80.0, 270.0, 200.0]], "float32")]
    few = max(args.repeats // 4, 3)
    for n in (1, 8):
        network = partial(model.predict_landmarks, crops[:n])
        row("network and decoding", n, median_ms(network, args.repeats))
    for n in (1, 8):
        given = partial(aligner.align_batch, [image] * n, box * n)
        row("align, boxes given", n, median_ms(given, args.repeats))
    for n in (1, 8):
        detected = partial(aligner.align_batch, [image] * n)
        row("align, faces detected (512 x 512)", n, median_ms(detected, few))
    model.compile("adam")
    for n in (1, 8):
        step = partial(model.train_on_batch, training_batch(image, n))
        ms = median_ms(step, few)
        row(f"training step ({1e3 * n / ms:.1f} images/s, two views each)", n, ms)
    console = Console()
    console.print(table)
    console.print(f"reference convolution: {reference:.2f} ms")


if __name__ == "__main__":
    main()
