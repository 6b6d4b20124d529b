"""Runs TFLite files on the CPU, by LiteRT or by the interpreter inside TensorFlow."""

from __future__ import annotations

import importlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction.concurrency import (
    PerProcess,
    WorkerPool,
    available_cores,
    start_threads,
)
from keras_facealign.runtimes.metadata import SIGNATURE

# LiteRT itself, and the same interpreter inside of TensorFlow.
_HOMES = (("ai_edge_litert.interpreter", "Interpreter"), ("tensorflow", "lite.Interpreter"))
# Networks of this size are no faster with more threads.
_MOST_THREADS = 4
# Warning filters belong to the whole process, so only one thread at a time may change them.
_filters = threading.Lock()


def find_interpreter() -> Any:
    """Finds the class that runs TFLite files.

    Returns:
        `Interpreter` of `ai_edge_litert`, or that of TensorFlow if the former is missing.

    Raises:
        ImportError: If neither can be imported.
    """
    errors = []
    for module, names in _HOMES:
        try:
            found = importlib.import_module(module)
            for name in names.split("."):
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            errors.append(f"{module}: {error}")
            continue
        return found
    raise ImportError("; ".join(errors))


class TFLiteGraph:
    """A TFLite file as a function from an array to arrays by name.

    Any number of threads may call it: each gets an interpreter of its own, of which there are at
    most as many as cores, and as many again for `each` and `on_one_core`. They share the file's
    content, so that a further one takes about 10 MB for `sat1_cab_mobile`. It pickles as the
    file's content.

    Args:
        content: Content of the file.
        name: Name for error messages.
        threads: Processor cores to use. Default: all, up to four.

    Raises:
        FaceAlignError: If it is not a TFLite model with one input, or it cannot be run.
        ImportError: If neither LiteRT nor TensorFlow is installed.

    Example:
        >>> graph = TFLiteGraph(Path("model.tflite").read_bytes(), "model.tflite")  # doctest: +SKIP
        >>> graph(np.zeros((1, 128, 128, 3), "uint8"))["landmarks"].shape  # doctest: +SKIP
        (1, 68, 2)
    """

    def __init__(self, content: bytes, name: str, threads: int | None = None) -> None:
        self.name = name
        self._interpreters = WorkerPool(partial(_Interpreter, content, name, threads))
        self._narrow = WorkerPool(partial(_Interpreter, content, name, 1))
        self._threads = PerProcess(partial(_threads, threads))
        with self._interpreters.borrow() as interpreter:
            self.input_shape = interpreter.input_shape
            """Shape of the input in the file, -1 for any size."""
            self.input_type = interpreter.input_type
            """Dtype of the input."""
            self.output_shapes = interpreter.output_shapes
            """Shapes of the outputs by name, -1 where they depend on the input."""

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the graph.

        Args:
            images: The input, of any shape that the graph supports, not only the one in the file.

        Returns:
            Outputs by name.

        Raises:
            FaceAlignError: If the graph fails on it.
        """
        with self._interpreters.borrow() as interpreter:
            return interpreter.run(images)

    def each(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the graph on images one by one, as many at a time as there are cores.

        That is faster than all cores at one image after the other, which wait for each other at
        every operation.

        Args:
            images: (N, ...), N at least 1, for a graph that takes one image at a time.

        Returns:
            Outputs by name, (N, ...).

        Raises:
            FaceAlignError: If the graph fails on one of them.
        """
        several = len(images) > 1 and available_cores() > 1
        threads = self._threads.get() if several else None
        if threads is None:
            parts = [self(image[None]) for image in images]
        else:
            parts = list(threads.map(lambda image: self.on_one_core(image[None]), images))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def on_one_core(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the graph as a call does, for callers that have threads of their own.

        Args:
            images: The input.

        Returns:
            Outputs by name.

        Raises:
            FaceAlignError: If the graph fails on it.
        """
        with self._narrow.borrow() as interpreter:
            return interpreter.run(images)


def _threads(count: int | None) -> ThreadPoolExecutor | None:
    return start_threads(_cores(count))


def _cores(count: int | None) -> int:
    return count or min(available_cores(), _MOST_THREADS)


class _Interpreter:
    """An interpreter, for one thread at a time; the arguments are those of `TFLiteGraph`."""

    def __init__(self, content: bytes, name: str, threads: int | None) -> None:
        interpreter = find_interpreter()
        self._name = name
        try:
            with _filters, warnings.catch_warnings():
                # TensorFlow's interpreter recommends LiteRT, which is used where it is installed.
                warnings.filterwarnings("ignore", category=UserWarning, module="tensorflow")
                self._interpreter = interpreter(
                    model_content=content,
                    num_threads=_cores(threads),
                )
            inputs, outputs = self._details()
            (details,) = inputs.values()
        except (ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FaceAlignError(f"{name}: cannot be run as a TFLite model ({reason})") from error
        self._input = details["index"]
        self._outputs = {output: found["index"] for output, found in outputs.items()}
        self.input_shape = _signature(details)
        self.input_type = np.dtype(details["dtype"])
        self.output_shapes = {output: _signature(found) for output, found in outputs.items()}
        self._shape: tuple[int, ...] = ()

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Describes inputs and outputs by name."""
        if self._interpreter.get_signature_list():
            runner = self._interpreter.get_signature_runner(SIGNATURE)
            return runner.get_input_details(), runner.get_output_details()
        # Files of older converters have no signature, but the names of tensors.
        found = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        inputs, outputs = ({each["name"]: each for each in part} for part in found)
        return inputs, outputs

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        try:
            if images.shape != self._shape:
                self._interpreter.resize_tensor_input(self._input, images.shape)
                self._interpreter.allocate_tensors()
                self._shape = images.shape
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(images, self.input_type))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FaceAlignError(
                f"{self._name}: fails on input of shape {images.shape} ({reason})"
            ) from error
        get = self._interpreter.get_tensor
        return {name: get(index) for name, index in self._outputs.items()}


def _signature(details: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(side) for side in details["shape_signature"])
