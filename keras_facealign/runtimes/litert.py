"""Runs TFLite files on the CPU, by LiteRT or by the interpreter inside TensorFlow."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.metadata import SIGNATURE

# LiteRT itself, and the same interpreter inside of TensorFlow.
_HOMES = (("ai_edge_litert.interpreter", "Interpreter"), ("tensorflow", "lite.Interpreter"))
# Networks of this size are no faster with more threads.
_MOST_THREADS = 4


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        interpreter = find_interpreter()
        self.name = name
        try:
            with warnings.catch_warnings():
                # TensorFlow's interpreter recommends LiteRT, which is used where it is installed.
                warnings.filterwarnings("ignore", category=UserWarning, module="tensorflow")
                self._interpreter = interpreter(
                    model_content=content,
                    num_threads=threads or min(available_cores(), _MOST_THREADS),
                )
            runner = self._interpreter.get_signature_runner(SIGNATURE)
            inputs, self._outputs = runner.get_input_details(), runner.get_output_details()
            (self._input,) = inputs.values()
        except (ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FaceAlignError(f"{name}: cannot be run as a TFLite model ({reason})") from error
        self._shape: tuple[int, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input in the file, -1 for any size."""
        return tuple(int(side) for side in self._input["shape_signature"])

    @property
    def input_type(self) -> np.dtype:
        """Dtype of the input."""
        return np.dtype(self._input["dtype"])

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs by name, -1 where they depend on the input."""
        return {
            name: tuple(int(side) for side in details["shape_signature"])
            for name, details in self._outputs.items()
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the graph.

        Args:
            images: The input, of any shape that the graph supports, not only the one in the file.

        Returns:
            Outputs by name.

        Raises:
            FaceAlignError: If the graph fails on it.
        """
        index = self._input["index"]
        try:
            if images.shape != self._shape:
                self._shape = ()
                self._interpreter.resize_tensor_input(index, images.shape)
                self._interpreter.allocate_tensors()
                self._shape = images.shape
            self._interpreter.set_tensor(index, np.ascontiguousarray(images, self.input_type))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise FaceAlignError(
                f"{self.name}: fails on input of shape {images.shape} ({reason})"
            ) from error
        get = self._interpreter.get_tensor
        return {name: get(details["index"]) for name, details in self._outputs.items()}
