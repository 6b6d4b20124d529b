"""Runs a network's file that may crash the process; `verification` calls it in another one."""

from __future__ import annotations

import math

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.exported import OnnxGraph
from keras_facealign.runtimes.litert import TFLiteGraph, find_interpreter
from keras_facealign.storage.child_process import limit_process

_BATCHES = (1, 8)
_MAX_INPUT_BYTES = 200_000_000


def run(content: bytes, name: str, runtime: str) -> None:
    """Runs a network on images of zeros and of noise.

    Args:
        content: The file.
        name: Name for error messages.
        runtime: "litert" or "onnx".

    Raises:
        FaceAlignError: If it cannot be loaded, or its input is too large.
        ImportError: If the runtime is not installed.
    """
    if runtime == "litert":
        find_interpreter()
    else:
        import onnxruntime  # noqa: F401
    limit_process(len(content))
    graph = TFLiteGraph if runtime == "litert" else OnnxGraph
    _run(graph(content, name, 1), name)


def _run(graph: TFLiteGraph | OnnxGraph, name: str) -> None:
    shape = graph.input_shape
    for batch in _BATCHES if -1 in shape[:1] else shape[:1]:
        sizes = [batch, *(max(side, 1) for side in shape[1:])]
        if math.prod(sizes) * graph.input_type.itemsize > _MAX_INPUT_BYTES:
            raise FaceAlignError(f"{name}: its input of the shape {sizes} is too large")
        rng = np.random.default_rng(0)
        for images in (np.zeros(sizes), rng.integers(0, 256, sizes)):
            graph(images.astype(graph.input_type))
