"""The paper's two transformers, each added to one trained network: what do they give?

    keras-facealign pack ibug_300w:train=300W -o train.faces.npz
    keras-facealign pack ibug_300w:lfpw_test=300W -o test.faces.npz
    python examples/dual_transformers.py --faces train.faces.npz --validation test.faces.npz \\
        --output runs/transformers

The preset `--start` is trained on for the same time (`--minutes`) in every way of `WAYS`: with
nothing added, with the coherent loss (the outside transformer) at three weights, with deformable
convolutions in and before the heads (the inside transformer; they start without changing the
heatmaps), and with both; each from several seeds. All ways see the same pairs of views, of which
the first leaves the comparison out of the loss. A slower way takes fewer steps: the time of a step
of every way is measured in turn, once for all runs.

The table has the inter-ocular NME in percent on the faces as they are, disturbed (occlusion, blur,
noise, JPEG) and turned by up to 60 degrees, and as "coherence" how far the landmarks of two views
of a face are apart, in percent of the same length.

The same command continues after an interruption, within a run after its last epoch.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from train_2d import COMPILE

from keras_facealign import geometry
from keras_facealign.data.packed import PackedFaces
from keras_facealign.evaluation import nme
from keras_facealign.evaluation.normalizers import normalizing_lengths
from keras_facealign.models import FaceAlignModel, make_deformable, rescale
from keras_facealign.presets import from_preset
from keras_facealign.storage.presets import write_json
from keras_facealign.training import TrainingConfig, fit, make_optimizer
from keras_facealign.training.precision import PRECISIONS, choose_precision

# Deformable convolutions or not, and the weight of the coherent loss.
WAYS: dict[str, tuple[bool, float]] = {
    "nothing added": (False, 0.0),
    "+ deformable": (True, 0.0),
    "+ coherent loss, 0.001": (False, 0.001),
    "+ coherent loss, 0.01": (False, 0.01),
    "+ coherent loss, 0.1": (False, 0.1),
    "both, 0.01": (True, 0.01),
}
BATCH = 16
TIMED_STEPS = 12
DRAWS = 4  # views of every face to validate on, where they are random

_STILL = {"rotation": 0.0, "scale": (1.0, 1.0), "translation": 0.0, "flip": 0.0}
_DISTURBANCES = {
    "color": 0.4,
    "occlusion": 0.7,
    "blur": 2.0,
    "low_resolution": 2.5,
    "noise": 16.0,
    "jpeg": 80.0,
}
AS_THEY_ARE = {"base": _STILL}
VIEWS: dict[str, dict[str, Any]] = {
    "disturbed": {"base": _STILL, **_DISTURBANCES},
    "turned": {"base": {**_STILL, "rotation": 60.0}},
}
PAIRS = {
    "base": {**_STILL, "rotation": 20.0},
    "pair": {"rotation": 20.0, "scale": (0.9, 1.1), "translation": 0.03, "flip": 0.5},
}


def prepare(way: tuple[bool, float], args: argparse.Namespace) -> FaceAlignModel:
    """Returns the trained network with what a way adds to it."""
    model = from_preset(args.start)
    if args.input_size:
        maps = model.architecture.map_size * args.input_size // model.input_size
        model = rescale(model, input_size=args.input_size, map_size=maps)
    return make_deformable(model) if way[0] else model


def make_config(weight: float, epochs: int, seed: int, rate: float) -> TrainingConfig:
    """Returns how a network is trained, given the weight of the coherent loss."""
    return TrainingConfig(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=rate,
        warmup_steps=100,
        seed=seed,
        compile={**COMPILE, "coherent_weight": weight},
        ema_momentum=0.998,
        landmark_offset=True,
    )


def seconds_per_step(batches: PackedFaces, args: argparse.Namespace) -> dict[str, float]:
    """Measures a training step of every way, in turn, so that all see the same machine."""
    models = {}
    for name, way in WAYS.items():
        model = prepare(way, args)
        config = make_config(way[1], 1, 0, args.learning_rate)
        model.compile(make_optimizer(config, 1000), **config.compile)
        model.train_on_batch(batches[0])
        models[name] = model
    times: dict[str, list[float]] = {name: [] for name in models}
    for i in range(TIMED_STEPS):
        for name, model in models.items():
            started = time.monotonic()
            model.train_on_batch(batches[i % len(batches)])
            times[name].append(time.monotonic() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def draw_views(
    model: FaceAlignModel, faces: PackedFaces, settings: dict[str, Any], seed: int
) -> list[dict[str, Any]]:
    """Draws a pair of views of every face, with the augmentation of `settings`.

    Returns:
        Of every batch "first" and "second", uint8 (B, size, size, 3); "landmarks" float (B, K, 2)
        and "visible" (B, K) of the first; "matrix" (B, 2, 3) and "flip" (B,), which take the first
        view to the second.
    """
    model.augmentation.configure({**settings, "seed": seed})
    found = []
    for i in range(len(faces)):
        pair = model.make_views(faces[i])
        tensors = {
            "first": pair.first.images,
            "second": pair.second.images,
            "landmarks": pair.first.landmarks,
            "visible": pair.first.visible,
            "matrix": pair.matrix,
            "flip": pair.flip,
        }
        arrays = {name: keras.ops.convert_to_numpy(value) for name, value in tensors.items()}
        for name in ("first", "second"):
            arrays[name] = np.clip(np.rint(arrays[name]), 0, 255).astype(np.uint8)
        found.append(arrays)
    return found


def incoherence(
    first: np.ndarray, second: np.ndarray, view: dict[str, Any], permutation: Any
) -> np.ndarray:
    """How far the landmarks of two views are apart, (B,), in percent of the inter-ocular length.

    Args:
        first: (B, K, 2), predicted in the first view, pixels.
        second: (B, K, 2), predicted in the second view, pixels.
        view: A batch of `draw_views`.
        permutation: (K,), the landmark that each becomes when mirrored.
    """
    moved = geometry.transform_points(view["matrix"], first)
    moved = np.where(view["flip"][:, None, None] > 0.5, moved[:, permutation], moved)
    zoom = np.sqrt(abs(np.linalg.det(view["matrix"][:, :, :2])))
    lengths = zoom * normalizing_lengths(view["landmarks"], "inter_ocular", view["visible"])
    return 100 * np.linalg.norm(moved - second, axis=-1).mean(axis=1) / lengths


def mean_error(
    model: FaceAlignModel,
    faces: PackedFaces,
    settings: dict[str, Any],
    draws: int,
    normalizer: str = "inter_ocular",
) -> float:
    """Mean NME in percent over some draws of first views."""
    errors = []
    for seed in range(draws):
        for view in draw_views(model, faces, settings, seed):
            predicted, _ = model.predict_landmarks(view["first"])
            # A turned eye may be outside.
            errors.append(
                nme(predicted, view["landmarks"], normalizer, view["visible"], undefined="nan")
            )
    return float(np.nanmean(np.concatenate(errors)))


def measure(model: FaceAlignModel, faces: PackedFaces) -> dict[str, float]:
    """Measures a network on the faces as they are, disturbed and turned, and its coherence."""
    straight = {
        "NME": mean_error(model, faces, AS_THEY_ARE, 1),
        "disturbed": mean_error(model, faces, VIEWS["disturbed"], DRAWS),
    }
    # What is known of the labels' shift to one side holds for upright faces alone.
    model.landmark_offset = (0.0, 0.0)
    apart = [
        incoherence(
            model.predict_landmarks(view["first"])[0],
            model.predict_landmarks(view["second"])[0],
            view,
            np.asarray(model.scheme.flip_permutation),
        )
        for seed in range(DRAWS)
        for view in draw_views(model, faces, PAIRS, seed)
    ]
    return {
        **straight,
        "turned": mean_error(model, faces, VIEWS["turned"], DRAWS),
        "coherence": float(np.nanmean(np.concatenate(apart))),
    }


def show(results: dict[str, Any], names: Iterable[str], title: str, console: Console) -> None:
    """Prints means and spreads (half the range) of the results so far."""
    columns = list(dict.fromkeys(name for run in results.values() for name in run))
    columns.remove("steps")
    table = Table(title=title)
    for name in ("", *columns, "steps", "seeds"):
        table.add_column(name, justify="left" if not name else "right")
    for name in names:
        runs = [run for key, run in results.items() if key.split("/")[0] == name]
        if not runs:
            continue
        cells = []
        for column in columns:
            values = [run[column] for run in runs]
            half = (max(values) - min(values)) / 2
            spread = f" ± {half:.3f}" if len(runs) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        table.add_row(name, *cells, str(runs[0]["steps"]), str(len(runs)))
    console.print(table)


class Results:
    """Results by name, kept in a file to which other processes may add theirs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text("utf-8")) if self.path.is_file() else {}

    def add(self, key: str, result: dict[str, float]) -> None:
        write_json(self.path, {**self.read(), key: result})


def folder_of(key: str) -> str:
    """The folder of a run, by its name in the results."""
    return re.sub(r"\W+", "_", key).strip("_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", required=True, type=Path, help="packed faces to train on")
    parser.add_argument("--validation", required=True, type=Path, help="packed faces")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--start", default="sat1_cab_mobile", help="preset to train on")
    parser.add_argument(
        "--input-size",
        type=int,
        help="side of the image in pixels, if not the preset's; the maps change alike",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="training time of every run")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--ways", nargs="*", choices=WAYS, help="only these; default: all")
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS))
    args = parser.parse_args()

    console = Console()
    keras.mixed_precision.set_global_policy(choose_precision(args.precision))
    results, pace_path = Results(args.output / "results.json"), args.output / "pace.json"
    held_out, start = PackedFaces(args.validation, 32), prepare(WAYS["nothing added"], args)
    if held_out.input_size != start.input_size:
        raise SystemExit(
            f"{args.validation} is packed for images of {held_out.input_size} pixels; pack it and "
            f"{args.faces} with --input-size {start.input_size}."
        )
    if not pace_path.is_file():
        pace = seconds_per_step(PackedFaces(args.faces, BATCH, shuffle=True), args)
        write_json(pace_path, pace)
    pace = json.loads(pace_path.read_text("utf-8"))
    if "before" not in results.read():
        results.add("before", {**measure(start, held_out), "steps": 0})
    for seed in range(args.seeds):
        for name in args.ways or WAYS:
            key = f"{name}/{seed}"
            if key in results.read():
                continue
            keras.utils.set_random_seed(seed)
            batches = PackedFaces(args.faces, BATCH, shuffle=True, seed=seed)
            epochs = max(round(60 * args.minutes / pace[name] / len(batches)), 1)
            config = make_config(WAYS[name][1], epochs, seed, args.learning_rate)
            run = args.output / folder_of(key)
            fit(prepare(WAYS[name], args), batches, held_out, run, config, verbose=2)
            result = measure(from_preset(run / "preset"), held_out)
            results.add(key, {**result, "steps": epochs * len(batches)})
            console.print(f"{key}: {result}")
    title = f"{args.minutes:g} minutes of further training"
    show(results.read(), ("before", *WAYS), title, console)


if __name__ == "__main__":
    main()
