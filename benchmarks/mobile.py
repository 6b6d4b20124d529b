"""Times small networks that find landmarks, ours and others', side by side on two cores.

    python benchmarks/mobile.py float32.tflite int8.tflite heatmaps.tflite

Files are those that `keras-facealign export` writes; without any, the bundled `model.tflite` of
`--preset`. In the same run, and in turns, so that all meet the same machine:

- the preset on OpenVINO, where that and Keras are installed;
- dlib's predictor of 68 points (`pip install dlib-bin face_recognition_models`, or `--dlib FILE`);
- MediaPipe's face mesh of 468 points (`pip install mediapipe`), its network on LiteRT.

What is timed is one face: the crop is given, landmarks come out. At 64 faces it is told what share
of the time goes into what comes after the network: decoding, where one of the files has heatmaps
as its outputs (`--no-decode`) and another of the same quantisation has not, and mapping landmarks
back into the photo. What is not installed is left out, and that is said.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_facealign.crops import crop_face
from keras_facealign.data import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_matrix
from keras_facealign.inference import FaceAligner
from keras_facealign.inference.runtimes import ExportedModel, choose_runtime
from keras_facealign.inference.runtimes.interpreter import find_interpreter
from keras_facealign.presets import find_preset

CORES = 2
PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
BOX = np.array([182.0, 88.0, 271.0, 179.0], np.float32)
GOALS_MS = {"none": 6.0, "float16": 6.0, "int8": 3.0}
MANY = 64
MESH = "modules/face_landmark/face_landmark.tflite"

console = Console(width=100)


def left_out(name: str, reason: object) -> None:
    """Says why a candidate is missing."""
    console.print(f"left out: {name}: {reason}", markup=False)


def crop_of(size: int) -> np.ndarray:
    """The portrait's face, uint8 (1, size, size, 3)."""
    return crop_face(read_image(PHOTO), crop_matrix(BOX, size), size)[None]


def describe(model: ExportedModel) -> str:
    what = "landmarks" if model.metadata["decode"] else "heatmaps"
    return f"{model.path.name}: {model.name}, {model.metadata['quantize']}, {what}"


def openvino(preset: str) -> Callable[[], Any] | None:
    """The preset on OpenVINO."""
    missing = [name for name in ("keras", "openvino") if importlib.util.find_spec(name) is None]
    if missing:
        return left_out("OpenVINO", f"{', '.join(missing)} is not installed")
    from keras_facealign.presets import from_preset  # needs Keras

    model = from_preset(preset)
    _, network = choose_runtime(model, "openvino")
    crop = crop_of(model.input_size)
    return lambda: network.predict_landmarks(crop)


def dlib_predictor(path: Path | None) -> Callable[[], Any] | None:
    """dlib's ensemble of regression trees; it runs on one core."""
    try:
        import dlib

        if path is None:
            spec = importlib.util.find_spec("face_recognition_models")
            if spec is None or not spec.submodule_search_locations:
                raise ImportError("face_recognition_models is not installed, nor --dlib given")
            folder = Path(next(iter(spec.submodule_search_locations)), "models")
            path = folder / "shape_predictor_68_face_landmarks.dat"
        predictor = dlib.shape_predictor(str(path))
    except (ImportError, RuntimeError) as error:
        return left_out("dlib", error)
    image = read_image(PHOTO)
    face = dlib.rectangle(*(round(float(side)) for side in BOX))
    return lambda: predictor(image, face)


def mediapipe_mesh() -> Callable[[], Any] | None:
    """The network of MediaPipe's face mesh, without the graph around it."""
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or not spec.submodule_search_locations:
        return left_out("MediaPipe", "mediapipe is not installed")
    path = Path(next(iter(spec.submodule_search_locations)), MESH)
    if not path.is_file():
        return left_out("MediaPipe", f"this version has no {MESH}")
    interpreter = find_interpreter()(str(path), num_threads=CORES)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    crop = crop_of(int(given["shape"][1])).astype(np.float32) / 255
    outputs = [output["index"] for output in interpreter.get_output_details()]

    def run() -> list[Any]:
        interpreter.set_tensor(given["index"], crop)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run


def time_in_turns(functions: dict[str, Callable[[], Any]], rounds: int, calls: int) -> Any:
    """Milliseconds a call by name: every function has its turn in every round."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            for call in range(calls + 2):
                start = time.perf_counter()
                function()
                if call >= 2:  # the first ones find cold caches
                    times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in times.items()}


class _Instant:
    """A network that takes no time, with the outputs that another one gave."""

    def __init__(self, model: ExportedModel) -> None:
        self.input_size = model.input_size
        crops = np.repeat(crop_of(model.input_size), MANY, axis=0)
        self._outputs = model.predict_outputs(crops)

    def predict_outputs(self, images: np.ndarray, batch_size: int = 32) -> dict[str, np.ndarray]:
        return dict(self._outputs)


def print_shares(models: list[ExportedModel]) -> None:
    """What share of the time at 64 faces goes into what comes after the network."""
    image = read_image(PHOTO)
    for model in models:
        if not model.metadata["decode"]:
            continue
        kind = f"{model.runtime}, {model.metadata['quantize']}"
        bare = [
            other
            for other in models
            if not other.metadata["decode"]
            and other.runtime == model.runtime
            and other.metadata["quantize"] == model.metadata["quantize"]
        ]
        if not bare:
            left_out(
                f"share after the network, {kind}", "no file that gives heatmaps to compare with"
            )
            continue
        size = model.input_size
        crops = np.repeat(crop_of(size), MANY, axis=0)
        instant = FaceAligner(_Instant(model), None)
        boxes = [BOX] * MANY
        times = time_in_turns(
            {
                "whole": lambda m=model, c=crops: m.predict_outputs(c),
                # Past the decoding in NumPy, which such files get.
                "bare": lambda m=bare[0], c=crops: [m._graph(face[None]) for face in c],
                "back": lambda a=instant, b=boxes: a.align(image, b, batch_size=MANY),
                "crop": lambda s=size: [
                    crop_face(image, crop_matrix(BOX, s), s) for _ in range(MANY)
                ],
            },
            rounds=4,
            calls=3,
        )
        whole, network, back, crop = (float(np.median(times[name])) for name in times)
        decoding, mapping = max(whole - network, 0.0), max(back - crop, 0.0)
        share = (decoding + mapping) / (whole + mapping)
        console.print(
            f"{kind}, {MANY} faces: network {network:.1f} ms, decoding {decoding:.1f} ms, "
            f"back into the photo {mapping:.1f} ms: {share:.1%} after the network"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="exported .tflite or .onnx files")
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--dlib", type=Path, help="shape_predictor_68_face_landmarks.dat")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--strict", action="store_true", help="fail if ours miss their goals")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # threads that are made from here on inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

    models = []
    for path in args.files or [find_preset(args.preset) / "model.tflite"]:
        try:
            models.append(ExportedModel(path, threads=CORES))
        except FaceAlignError as error:
            left_out(str(path), error)
    candidates: dict[str, Callable[[], Any]] = {}
    goals: dict[str, float] = {}
    for model in models:
        name = describe(model)
        crop = crop_of(model.input_size)
        candidates[name] = lambda m=model, c=crop: m.predict_outputs(c)
        goals[name] = GOALS_MS[model.metadata["quantize"]]
    others = {
        f"{args.preset}, OpenVINO": openvino(args.preset),
        "dlib, 68 points (one core)": dlib_predictor(args.dlib),
        "MediaPipe face mesh, 468 points": mediapipe_mesh(),
    }
    candidates |= {name: run for name, run in others.items() if run is not None}

    times = time_in_turns(candidates, args.rounds, calls=20)
    table = Table(title=f"One face, {CORES} cores")
    for column in ("network", "ms, median", "ms, least", "goal"):
        table.add_column(column, justify="left" if column == "network" else "right")
    missed = []
    for name, values in times.items():
        goal = goals.get(name)
        table.add_row(
            name, f"{np.median(values):.2f}", f"{values.min():.2f}", f"{goal:g}" if goal else ""
        )
        if goal and np.median(values) > goal:
            missed.append(name)
    console.print(table)
    print_shares(models)
    if missed and args.strict:
        sys.exit(f"slower than their goals: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
