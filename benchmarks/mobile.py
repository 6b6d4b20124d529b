"""Times small landmark networks, ours and others', in the same run on two cores.

    python benchmarks/mobile.py model.tflite model_int8.tflite model.onnx heatmaps.tflite

Files are those that `keras-facealign export` writes; without any, the bundled `model.tflite` of
`--preset`. In the same run, each in its own process, and in turns:

- the preset on OpenVINO and on Keras, where these are installed;
- dlib's predictor of 68 points (`pip install dlib-bin face_recognition_models`, or `--dlib FILE`);
- MediaPipe's face mesh of 468 points (`pip install mediapipe`), its network on LiteRT.

The last two may be installed in another Python, because of their requirements:
`--peer-python VENV/bin/python`, with opencv-python-headless, pillow, rich and ai-edge-litert.

It times one face, and eight at once, from crops to landmarks. For 64 faces it prints the share of
the time after the network: decoding, and mapping landmarks back into the photo. For a file, this
needs another of the same format and quantization with heatmaps as outputs (`--no-decode`).
Candidates that are not installed are skipped with a message.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_facealign.data import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face, crop_matrix
from keras_facealign.inference import FaceAligner
from keras_facealign.presets import find_preset
from keras_facealign.runtimes import ExportedModel, choose_runtime
from keras_facealign.runtimes.litert import find_interpreter

CORES = 2
ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "astronaut.jpg"
BOX = np.array([182.0, 88.0, 271.0, 179.0], np.float32)
GOALS_MS = {"none": 6.0, "float16": 6.0, "int8": 3.0}
BATCH, MANY = 8, 64
MESH = "modules/face_landmark/face_landmark.tflite"

console = Console(width=100)

Timer = Callable[[int, int], "list[float]"]
"""Maps numbers of faces and calls to the milliseconds of each call."""


def left_out(name: str, reason: object) -> None:
    """Prints why a candidate is missing."""
    console.print(f"left out: {name}: {reason}", markup=False, soft_wrap=True)


def crops_of(size: int, count: int = 1) -> np.ndarray:
    """Returns copies of the portrait's face, uint8 (count, size, size, 3)."""
    crop = crop_face(read_image(PHOTO), crop_matrix(BOX, size), size)
    return np.repeat(crop[None], count, axis=0)


def timer(function: Callable[[int], Any]) -> Timer:
    """Times calls of a function of the number of faces."""

    def times(faces: int, calls: int) -> list[float]:
        found = []
        for call in range(calls + 2):
            start = time.perf_counter()
            function(faces)
            if call >= 2:  # the first ones have cold caches
                found.append(1e3 * (time.perf_counter() - start))
        return found

    return times


def network_timer(network: Any, size: int) -> Timer:
    """Times a network with `predict_landmarks`."""
    crops = {count: crops_of(size, count) for count in (1, BATCH)}
    return timer(lambda faces: network.predict_landmarks(crops[faces]))


def exported(path: str) -> Timer:
    """Times an exported file on its runtime."""
    model = ExportedModel(path, threads=CORES)
    return network_timer(model, model.input_size)


def on_runtime(preset: str, runtime: str) -> tuple[Any, Any]:
    """Returns a preset's Keras model, and the same on a runtime."""
    from keras_facealign.presets import from_preset  # needs Keras

    model = from_preset(preset)
    return model, choose_runtime(model, runtime)[1]


def preset_on(runtime: str) -> Callable[[str], Timer]:
    """Makes the timer of a preset on a runtime for Keras models."""

    def make(preset: str) -> Timer:
        model, network = on_runtime(preset, runtime)
        return network_timer(network, model.input_size)

    return make


def dlib_predictor(path: str) -> Timer:
    """Times dlib's ensemble of regression trees, face by face; it uses one core."""
    import dlib

    if not path:
        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("face_recognition_models is not installed, nor --dlib given")
        folder = Path(next(iter(spec.submodule_search_locations)), "models")
        path = str(folder / "shape_predictor_68_face_landmarks.dat")
    predictor = dlib.shape_predictor(path)
    image = read_image(PHOTO)
    face = dlib.rectangle(*(round(float(side)) for side in BOX))
    return timer(lambda faces: [predictor(image, face) for _ in range(faces)])


def mediapipe_mesh(_: str) -> Timer:
    """Times the network of MediaPipe's face mesh without its graph, face by face."""
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("mediapipe is not installed")
    path = Path(next(iter(spec.submodule_search_locations)), MESH)
    if not path.is_file():
        raise ImportError(f"this version has no {MESH}")
    interpreter = find_interpreter()(str(path), num_threads=CORES)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    crop = crops_of(int(given["shape"][1])).astype(np.float32) / 255
    outputs = [output["index"] for output in interpreter.get_output_details()]

    def run() -> list[Any]:
        interpreter.set_tensor(given["index"], crop)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return timer(lambda faces: [run() for _ in range(faces)])


KINDS: dict[str, Callable[[str], Timer]] = {
    "file": exported,
    "openvino": preset_on("openvino"),
    "keras": preset_on("keras"),
    "dlib": dlib_predictor,
    "mediapipe": mediapipe_mesh,
}
"""Timers by kind; the argument is a file, a preset, or unused."""


def serve(kind: str, what: str) -> None:
    """Runs a candidate's process, which answers lines of faces and calls with milliseconds."""
    try:
        times = KINDS[kind](what)
    except (ImportError, RuntimeError, FaceAlignError) as error:
        print(json.dumps({"left out": str(error)}), flush=True)
        return
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(times(*json.loads(line))), flush=True)


class Candidate:
    """A process that runs one candidate.

    Thread pools of several runtimes in one process slow one another down: times double.
    """

    def __init__(
        self, name: str, kind: str, what: str, python: str = sys.executable, goal: float = 0.0
    ) -> None:
        self.name, self.goal = name, goal
        self._process = subprocess.Popen(
            [python, __file__, "--serve", kind, what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def is_ready(self) -> bool:
        """Waits until it is loaded; returns False, with a message, if it cannot be."""
        first = self._read()
        if first != {}:
            left_out(self.name, first["left out"] if first else "its process failed")
        return first == {}

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def __call__(self, faces: int, calls: int) -> list[float]:
        assert self._process.stdin is not None
        print(json.dumps([faces, calls]), file=self._process.stdin, flush=True)
        return self._read()

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()


def time_in_turns(
    timers: Mapping[str, Timer], faces: int, rounds: int, calls: int
) -> dict[str, Any]:
    """Measures milliseconds per call by name; candidates take turns."""
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, measure in timers.items():
            times[name] += measure(faces, calls)
    return {name: np.array(values) for name, values in times.items()}


class _Instant:
    """A network that returns another one's outputs in no time."""

    def __init__(self, network: Any, size: int) -> None:
        self.input_size = size
        self._outputs = network.predict_outputs(crops_of(size, MANY))

    def predict_outputs(self, images: np.ndarray, batch_size: int = 32) -> dict[str, np.ndarray]:
        return dict(self._outputs)


def print_share(kind: str, network: Any, bare: Callable[[np.ndarray], Any], size: int) -> None:
    """Prints the share of the time at 64 faces that is spent after the network.

    Args:
        kind: Title.
        network: Network with landmarks as outputs.
        bare: Function from crops to heatmaps.
        size: Side of the crops.
    """
    image = read_image(PHOTO)
    crops = crops_of(size, MANY)
    instant = FaceAligner(_Instant(network, size), None)
    times = time_in_turns(
        {
            "whole": timer(lambda _: network.predict_outputs(crops)),
            "bare": timer(lambda _: bare(crops)),
            "back": timer(lambda _: instant.align(image, [BOX] * MANY, batch_size=MANY)),
            "crop": timer(
                lambda _: [crop_face(image, crop_matrix(BOX, size), size) for _ in range(MANY)]
            ),
        },
        MANY,
        rounds=10,
        calls=1,
    )
    whole, alone, back, crop = (float(np.median(times[name])) for name in times)
    decoding, mapping = max(whole - alone, 0.0), max(back - crop, 0.0)
    share = (decoding + mapping) / (whole + mapping)
    console.print(
        f"{kind}, {MANY} faces: network {alone:.1f} ms, decoding {decoding:.1f} ms, back into the "
        f"photo {mapping:.1f} ms: {share:.1%} after the network",
        soft_wrap=True,
    )


def serve_share(kind: str, what: str, twin: str) -> None:
    """Prints one share, of a preset on OpenVINO or of a file and its twin without decoding."""
    if kind == "openvino":
        model, network = on_runtime(what, kind)
        size = model.input_size
        print_share("OpenVINO", network, lambda c: network._network(c.astype(np.float32)), size)
        return
    decoded, bare = (ExportedModel(path, threads=CORES) for path in (what, twin))
    # Without the decoding in NumPy for files with heatmaps.
    graph = bare._graph
    print_share(describe(decoded), decoded, lambda c: [graph(f[None]) for f in c], bare.input_size)


def describe(model: ExportedModel) -> str:
    what = "" if model.metadata["decode"] else ", heatmaps decoded in NumPy"
    home = {"litert": "LiteRT", "onnx": "ONNX Runtime"}[model.runtime]
    return f"{model.path.name}: {model.name}, {home}, {model.metadata['quantize']}{what}"


def shares(models: list[ExportedModel], preset: str) -> None:
    """Prints the shares of files that have a twin without decoding, and of OpenVINO."""
    jobs = [("openvino", preset, "")]
    for model in models:
        twins = [
            other
            for other in models
            if not other.metadata["decode"]
            and other.runtime == model.runtime
            and other.metadata["quantize"] == model.metadata["quantize"]
        ]
        if twins and model.metadata["decode"]:
            jobs.append(("file", str(model.path), str(twins[0].path)))
        elif model.metadata["decode"]:
            left_out(
                f"share after the network, {describe(model)}",
                "no file that gives heatmaps to compare with",
            )
    for job in jobs:
        sys.stdout.flush()
        words = [sys.executable, __file__, "--share", *job]
        done = subprocess.run(words, stderr=subprocess.DEVNULL, check=False)
        if done.returncode:
            left_out(f"share after the network, {job[1]} ({job[0]})", "its process failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="exported .tflite or .onnx files")
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--dlib", default="", help="shape_predictor_68_face_landmarks.dat")
    parser.add_argument("--peer-python", default=sys.executable, help="Python that has the peers")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--strict", action="store_true", help="fail if ours miss their goals")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--share", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(*args.serve)
    if args.share:
        return serve_share(*args.share)
    if hasattr(os, "sched_setaffinity"):  # processes that are started from here on inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

    models = []
    for path in args.files or [find_preset(args.preset) / "model.tflite"]:
        try:
            models.append(ExportedModel(path, threads=CORES))
        except FaceAlignError as error:
            left_out(str(path), error)
    started = [
        Candidate(describe(m), "file", str(m.path), goal=GOALS_MS[m.metadata["quantize"]])
        for m in models
    ]
    started += [
        Candidate(f"{args.preset}, OpenVINO, float32", "openvino", args.preset),
        Candidate(f"{args.preset}, Keras", "keras", args.preset),
        Candidate("dlib, 68 points (one core)", "dlib", args.dlib, args.peer_python),
        Candidate("MediaPipe face mesh, 468 points", "mediapipe", "", args.peer_python),
    ]
    candidates = {each.name: each for each in started if each.is_ready()}
    one = time_in_turns(candidates, 1, args.rounds, calls=20)
    many = time_in_turns(candidates, BATCH, args.rounds, calls=4)
    for each in started:
        each.end()
    table = Table(title=f"Milliseconds a face, medians, {CORES} cores")
    for column in ("network", "one face", "least", f"of {BATCH} faces", "goal"):
        table.add_column(column, justify="left" if column == "network" else "right")
    missed = []
    for name, values in one.items():
        goal = candidates[name].goal
        cells = (np.median(values), values.min(), np.median(many[name]) / BATCH)
        table.add_row(name, *(f"{cell:.2f}" for cell in cells), f"{goal:g}" if goal else "")
        if goal and np.median(values) > goal:
            missed.append(name)
    console.print(table)
    shares(models, args.preset)
    if missed and args.strict:
        sys.exit(f"slower than their goals: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
