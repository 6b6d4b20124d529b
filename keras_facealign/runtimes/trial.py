"""The process that runs a network file which may crash it; `verification` starts it."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.exported import OnnxGraph
from keras_facealign.runtimes.litert import TFLiteGraph, find_interpreter

_SECONDS = 8
"""Processor time for loading and running."""
_FREE_BYTES, _TIMES_FILE = 500_000_000, 8
"""Address space for them, besides what the runtime itself takes."""
_BATCHES = (1, 8)
_MAX_INPUT_BYTES = 200_000_000


def main(runtime: str) -> None:
    """Reads a file from standard input, runs it, and writes what is wrong with it, or nothing."""
    content = sys.stdin.buffer.read()
    graph = TFLiteGraph if runtime == "litert" else OnnxGraph
    problem = ""
    try:
        if runtime == "litert":
            find_interpreter()
        else:
            import onnxruntime  # noqa: F401
        _limit(len(content))
        _run(graph(content, "the file", 1))
    except ImportError:
        pass  # Which the process that wants to run the file finds, too.
    except FaceAlignError as error:
        problem = " ".join(str(error).split())
    except Exception as error:  # Whatever a damaged file brings about.
        problem = f"{type(error).__name__} {' '.join(str(error).split())}"
    sys.stdout.write(f"\n{problem}")
    sys.stdout.flush()
    # Without the destructors of a damaged graph.
    os._exit(0)


def _run(graph: TFLiteGraph | OnnxGraph) -> None:
    shape = graph.input_shape
    for batch in _BATCHES if -1 in shape[:1] else shape[:1]:
        sizes = [batch, *(max(side, 1) for side in shape[1:])]
        if math.prod(sizes) * graph.input_type.itemsize > _MAX_INPUT_BYTES:
            raise FaceAlignError(f"its input of the shape {sizes} is too large")
        rng = np.random.default_rng(0)
        for images in (np.zeros(sizes), rng.integers(0, 256, sizes)):
            graph(images.astype(graph.input_type))


def _limit(size: int) -> None:
    """Limits time and memory, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + _FREE_BYTES + _TIMES_FILE * size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
