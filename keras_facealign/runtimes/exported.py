"""Runs exported networks without Keras and TensorFlow."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import as_scheme
from keras_facealign.prediction import (
    LandmarkOutputs,
    any_size,
    fixed_size,
    landmark_outputs,
    one_or_many,
    predict_outputs,
)
from keras_facealign.prediction.batches import BatchPlan
from keras_facealign.prediction.concurrency import PerProcess, available_cores
from keras_facealign.runtimes.litert import TFLiteGraph
from keras_facealign.runtimes.metadata import read_metadata
from keras_facealign.runtimes.verification import verify
from keras_facealign.storage.reading import MAX_FILE_BYTES, read_file

FILE_RUNTIMES = {".tflite": "litert", ".onnx": "onnx"}
"""Suffix of an exported file: the runtime that runs it."""

_INSTALL = {
    "litert": 'pip install "keras_facealign[litert]"',
    "onnx": 'pip install "keras_facealign[onnx]"',
}
# Faces in a call of a file for any number; more are no faster on a CPU.
_BATCH = 8
# Faces that a file for one face gets at a time, which bounds the memory.
_AT_A_TIME = 32


class ExportedModel:
    """An exported network with the prediction interface of `FaceAlignModel`.

    Args:
        path: A `.tflite` or `.onnx` file that `keras-facealign export` wrote.
        threads: Processor cores to use. Default: all, up to four.

    Raises:
        FaceAlignError: If the file is missing, damaged, not of this package, or does not match its
            metadata; or if its runtime is not installed.

    Example:
        >>> model = ExportedModel("saved_models/sat1_cab_mobile/model.tflite")  # doctest: +SKIP
        >>> model.predict_outputs(crops)["landmarks"].shape  # doctest: +SKIP
        (1, 68, 2)
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in FILE_RUNTIMES:
            raise FaceAlignError(
                f"{path}: no runtime is known for the suffix {self.path.suffix!r}; give a .tflite "
                "or .onnx file"
            )
        self.runtime = FILE_RUNTIMES[self.path.suffix.lower()]
        """Name of the runtime: "litert" or "onnx"."""
        self.metadata = read_metadata(self.path)
        self.input_size: int = self.metadata["input_size"]
        self.num_landmarks: int = self.metadata["num_landmarks"]
        self.crop_scale: float = self.metadata["box_scale"]
        """Side of the crop in units of the face box's longer side."""
        try:
            self.scheme = as_scheme(self.metadata.get("own_scheme", self.metadata["scheme"]))
        except FaceAlignError as error:
            raise FaceAlignError(f"{self.path}: its metadata: {error}") from error
        self.landmark_offset: tuple[float, float] = tuple(self.metadata["landmark_offset"])
        """(dx, dy) in pixels that all landmarks include, see `FaceAlignModel.landmark_offset`."""
        self._batch: int | None = self.metadata["batch"]
        self._graph = load_graph(self.path, self.runtime, threads)
        self._check_graph()

    @property
    def name(self) -> str:
        """Name of the preset that was exported."""
        return self.metadata["preset"]

    def _check_graph(self) -> None:
        """Compares the graph with the file's metadata."""
        size, points = self.input_size, self.num_landmarks
        shape, dtype = self._graph.input_shape, self._graph.input_type
        if len(shape) != 4 or not _fits(shape[1:], (size, size, 3)) or dtype != np.uint8:
            raise FaceAlignError(
                f"{self.path} takes {dtype} of shape {shape}, not uint8 crops of {size}x{size} "
                "pixels as its metadata says; export it again"
            )
        given = self._graph.output_shapes
        wanted = {"landmarks": (points, 2), "confidence": (points,)}
        wanted.update({name: (points,) for name in ("sigma", "visibility") if name in given})
        if not self.metadata["decode"]:
            wanted = {"heatmaps": (-1, -1, points)}
        for name, ending in wanted.items():
            found = given.get(name)
            if found is None or len(found) != len(ending) + 1 or not _fits(found[1:], ending):
                raise FaceAlignError(
                    f"{self.path} gives {name} of shape {found}, not of {points} landmarks as its "
                    "metadata says; export it again"
                )
        if self.scheme.num_landmarks != points:
            raise FaceAlignError(
                f"{self.path} has {points} landmarks, but its scheme {self.scheme.name} has "
                f"{self.scheme.num_landmarks}; export it again"
            )

    @renamed_arguments(mirror="flip_test")
    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32, flip_test: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the landmarks of cropped faces.

        Args:
            images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
            batch_size: Ignored: the file and the runtime determine the batches.
            flip_test: As in `predict_outputs`.

        Returns:
            Landmarks, float32 (B, K, 2) in pixels of the input, and confidence, float32 (B, K).

        Raises:
            FaceAlignError: As from `predict_outputs`.
        """
        outputs = self.predict_outputs(images, batch_size, flip_test)
        return outputs["landmarks"], outputs["confidence"]

    @renamed_arguments(mirror="flip_test")
    def predict_outputs(
        self, images: np.ndarray, batch_size: int = 32, flip_test: bool = False
    ) -> LandmarkOutputs:
        """Predicts the landmarks of cropped faces, with all that is known about each.

        Args:
            images: As in `predict_landmarks`.
            batch_size: As in `predict_landmarks`.
            flip_test: Whether to average the predictions for every face and its mirror image, see
                `keras_facealign.prediction.flip_test`: more accurate, in twice the time.

        Returns:
            `landmarks`, `confidence`, and, if the file has them, `sigma`, float32 (B, K), standard
            deviations in pixels of the input, and `visibility`, float32 (B, K), probabilities.

        Raises:
            FaceAlignError: If the images have another shape or range, or `flip_test` is asked for
                and the landmark scheme does not define flip pairs.
        """
        return predict_outputs(
            self._run,
            images,
            self._plan,
            input_size=self.input_size,
            flip_test=flip_test,
            scheme=self.scheme,
            landmark_offset=self.landmark_offset,
        )

    @property
    def _single(self) -> TFLiteGraph | None:
        """The graph if it takes one face at a time, and runs several side by side."""
        graph = self._graph
        return graph if self._batch == 1 and isinstance(graph, TFLiteGraph) else None

    @property
    def _plan(self) -> BatchPlan:
        if self._batch is None:
            return one_or_many(_BATCH)
        return any_size(_AT_A_TIME) if self._single else fixed_size(self._batch)

    def _run(self, images: np.ndarray) -> Mapping[str, Any]:
        if images.dtype != np.uint8:
            images = np.rint(images).astype(np.uint8)
        single = self._single
        outputs = single.each(images) if single else self._graph(images)
        if "heatmaps" not in outputs:
            return outputs
        return landmark_outputs(
            outputs["heatmaps"],
            input_size=self.input_size,
            decode_method=self.metadata["decode_method"],
            landmark_offset=self.landmark_offset,
        )


def load_graph(
    path: str | os.PathLike[str], runtime: str, threads: int | None = None
) -> TFLiteGraph | OnnxGraph:
    """Loads the graph of a file, whatever its metadata and suffix are.

    Args:
        path: A TFLite or ONNX file.
        runtime: "litert" or "onnx".
        threads: Processor cores to use. Default: all, up to four.

    Returns:
        A function from an array to arrays by name, with their shapes as attributes.

    Raises:
        FaceAlignError: If the file cannot be run, or its runtime is not installed.
    """
    graph = TFLiteGraph if runtime == "litert" else OnnxGraph
    content = read_file(path, MAX_FILE_BYTES)
    verify(content, str(path), runtime)
    try:
        return graph(content, str(path), threads)
    except ImportError as error:
        raise FaceAlignError(f"{path} cannot be run here ({error}); {_INSTALL[runtime]}") from error


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether sizes are equal; -1 matches any size."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(a == b or -1 in (a, b) for a, b in pairs)


class OnnxGraph:
    """An ONNX file on ONNX Runtime, with the interface of `TFLiteGraph`.

    Any number of threads may call it. It pickles as the file's content.

    Args:
        content: Content of the file.
        name: Name for error messages.
        threads: Processor cores to use. Default: all, up to four.

    Raises:
        FaceAlignError: If it is not an ONNX model with one input, or ONNX Runtime cannot run it.
        ImportError: If ONNX Runtime is not installed.
    """

    def __init__(self, content: bytes, name: str, threads: int | None = None) -> None:
        self._session = PerProcess(partial(_session, content, name, threads))
        session = self._session.get()
        try:
            (only,) = session.get_inputs()
        except ValueError as error:
            raise FaceAlignError(f"{name}: an ONNX model with one input is needed") from error
        self._input = only.name
        self.input_shape = _sizes(only.shape)
        kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
        self.input_type = np.dtype(kinds.get(only.type, "O"))
        self.output_shapes = {o.name: _sizes(o.shape) for o in session.get_outputs()}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        names = list(self.output_shapes)
        values = self._session.get().run(names, {self._input: images})
        return dict(zip(names, values, strict=True))


def _session(content: bytes, name: str, threads: int | None) -> Any:
    """Makes a session of ONNX Runtime, which any number of threads may run."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(available_cores(), 4)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of ONNX Runtime have no common base class
        reason = " ".join(str(error).split())[:200]
        raise FaceAlignError(f"{name}: cannot be run as an ONNX model ({reason})") from error


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(side if isinstance(side, int) else -1 for side in shape)
