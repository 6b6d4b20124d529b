"""Threads and processes, through detectors, runtimes, aligners and trackers."""

from __future__ import annotations

import copy
import importlib.util
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest

from keras_facealign.detection import BlazeFaceDetector, MTCNNDetector
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import Face, FaceAligner
from keras_facealign.runtimes import ExportedModel
from keras_facealign.video import FaceTracker
from tests.forking import in_child, needs_fork
from tests.paths import ROOT

THREADS = 8
TFLITE = ROOT / "saved_models" / "sat1_cab_mobile" / "model.tflite"
RUNTIMES = ["keras", "litert", "onnx", "openvino"]
PACKAGES = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}
DETECTORS = [MTCNNDetector(min_face_size=40), BlazeFaceDetector()]
COPIES = [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Photos of one face each, of different sizes and at different places."""
    portrait = pytest.importorskip("skimage.data", reason="has the photo").astronaut()
    face = portrait[0:300, 100:370]
    return [np.ascontiguousarray(face[3 * i : 290 - 7 * i, 4 * i :]) for i in range(6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Callable[[str], Any]:
    """Models by runtime: the preset's file on LiteRT, and a small network on the others."""

    @cache
    def small() -> Any:
        from keras_facealign.models import FaceAlignModel
        from keras_facealign.networks import Architecture

        sizes = {"depth": 1, "width": 0.125, "input_size": 64, "map_size": 32}
        return FaceAlignModel(Architecture("hourglass", block="resnet", stacks=1, **sizes))

    @cache
    def onnx() -> Any:
        from keras_facealign.export import export_model

        path = tmp_path_factory.mktemp("onnx") / "small.onnx"
        # With random weights many pixels are nearly the highest.
        export_model(small(), path, "onnx", limit=1000.0)
        return ExportedModel(path)

    def of(runtime: str) -> Any:
        package = PACKAGES.get(runtime, runtime)
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
        if runtime == "litert":
            return ExportedModel(TFLITE)
        return onnx() if runtime == "onnx" else small()

    return of


def aligner_on(model: Any, runtime: str) -> FaceAligner:
    return FaceAligner(model, MTCNNDetector(min_face_size=40), runtime)


def together(work: Callable[[Any], Any], items: Sequence[Any], rounds: int = 3) -> list[Any]:
    """Calls a function from many threads, several times for each item."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, [*items] * rounds))


def assert_same(found: Sequence[list[Face]], right: Sequence[list[Face]]) -> None:
    for mine, expected in zip(found, right, strict=True):
        assert len(mine) == len(expected)
        for a, b in zip(mine, expected, strict=True):
            np.testing.assert_allclose(a.box, b.box, atol=1e-3)
            np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-3)
            np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-5)


@pytest.mark.parametrize("detector", DETECTORS)
def test_detectors_in_threads_find_what_they_find_alone(photos, detector):
    alone = [detector(photo) for photo in photos]
    assert all(len(faces) == 1 for faces in alone)
    mixed = together(lambda i: detector(photos[i]), range(len(photos)))
    for (found,), (right,) in zip(mixed, alone * 3, strict=True):
        np.testing.assert_allclose(found.box, right.box, atol=1e-4)
        np.testing.assert_allclose(found.score, right.score, atol=1e-6)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("travel", COPIES)
def test_detectors_travel(photos, detector, travel):
    (right,) = detector(photos[0])
    (found,) = travel(detector)(photos[0])
    np.testing.assert_array_equal(found.box, right.box)
    assert len(pickle.dumps(detector)) < 1000


@pytest.mark.parametrize("runtime", RUNTIMES)
class TestEveryRuntime:
    def test_threads_share_an_aligner(self, photos, model, runtime):
        aligner = aligner_on(model(runtime), runtime)
        alone = [aligner.align(photo) for photo in photos]
        boxes = [[face.box for face in faces] for faces in alone]
        assert [len(faces) for faces in alone] == [1] * len(photos)
        indices = range(len(photos))
        assert_same(together(lambda i: aligner.align(photos[i]), indices), alone * 3)
        # Without detection the network has no pauses.
        assert_same(together(lambda i: aligner.align(photos[i], boxes[i]), indices, 8), alone * 8)

    def test_threads_have_an_aligner_each(self, photos, model, runtime):
        right = aligner_on(model(runtime), runtime).align_batch(photos)
        aligners = [aligner_on(model(runtime), runtime) for _ in range(THREADS)]
        for faces in together(lambda aligner: aligner.align_batch(photos), aligners, 1):
            assert_same(faces, right)

    def test_aligners_travel(self, photos, model, runtime):
        aligner = aligner_on(model(runtime), runtime)
        unused = COPIES[0](aligner)
        right = aligner.align(photos[0])
        used = COPIES[1](aligner)
        for other in (unused, used):
            assert other.runtime == runtime
            assert_same([other.align(photos[0])], [right])

    @needs_fork
    def test_forked_processes(self, photos, model, runtime):
        aligner = aligner_on(model(runtime), runtime)
        right = aligner.align(photos[0])

        def work() -> None:
            if runtime == "keras":
                with pytest.raises(FaceAlignError, match="forked.*'spawn'"):
                    aligner.align(photos[0])
            else:
                assert_same([aligner.align(photos[0])], [right])

        assert in_child(work) == 0
        assert_same([aligner.align(photos[0])], [right])


@needs_fork
def test_no_use_of_keras_hangs_in_a_forked_process(photos, model):
    keras_model = model("keras")
    crops = np.zeros((1, 64, 64, 3), np.uint8)
    batch = {"image": crops, "landmarks": np.zeros((1, 68, 2)), "visibility": np.ones((1, 68))}
    uses = {
        "predict_outputs": lambda: keras_model.predict_outputs(crops),
        "call": lambda: keras_model(crops),
        "predict": lambda: keras_model.predict(crops),
        "fit": lambda: keras_model.fit([batch]),
        "evaluate": lambda: keras_model.evaluate([batch]),
        "from_preset": lambda: FaceAligner.from_preset("sat1_cab_mobile", runtime="keras"),
        "pickle": lambda: pickle.loads(pickled),
    }
    pickled = pickle.dumps(keras_model)
    keras_model.predict_outputs(crops)

    def work() -> None:
        for name, use in uses.items():
            with pytest.raises(FaceAlignError, match="forked"):
                use()
                raise AssertionError(name)

    assert in_child(work) == 0


def test_spawned_processes_take_an_aligner_along(photos, model):
    aligner = aligner_on(model("litert"), "litert")
    right = [aligner.align(photo) for photo in photos[:2]]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as processes:
        assert_same(list(processes.map(aligner.align, photos[:2])), right)


def test_trackers_in_threads_and_in_copies(photos, model):
    aligner = aligner_on(model("litert"), "litert")
    frames = [np.ascontiguousarray(photos[0][i : i + 280, i : i + 260]) for i in range(5)]

    def track(tracker: FaceTracker) -> list[list[Face]]:
        return [list(tracker.update(frame)) for frame in frames]

    right = track(FaceTracker(aligner, detect_every=2))
    assert [len(faces) for faces in right] == [1] * len(frames)
    trackers = [FaceTracker(aligner, detect_every=2) for _ in range(THREADS)]
    for faces in together(track, trackers, 1):
        assert_same(faces, right)
    begun = FaceTracker(aligner, detect_every=2)
    begun.update(frames[0])
    for travel in COPIES:
        other = travel(begun)
        faces = [list(other.update(frame)) for frame in frames[1:]]
        assert_same(faces, right[1:])
        assert [face.id for face in faces[-1]] == [0]


def test_a_keras_model_that_travels_keeps_how_it_decodes(model):
    from keras_facealign.calibration import read_calibration

    calibrated = copy.deepcopy(model("keras"))
    calibrated.decode_method = "argmax"
    calibrated.landmark_offset = (0.5, -0.25)
    calibrated.calibration = read_calibration(TFLITE.with_name("calibration.json"))
    crops = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8)
    right = calibrated.predict_outputs(crops)
    found = pickle.loads(pickle.dumps(calibrated)).predict_outputs(crops)
    assert set(found) == set(right) == {"landmarks", "confidence", "sigma", "visibility"}
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
