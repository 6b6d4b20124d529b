"""Runtimes: Keras, LiteRT, ONNX Runtime and OpenVINO behind one protocol, crops to landmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.runtimes.choice import (
        RUNTIMES,
        check_runtime,
        choose_runtime,
        load_model,
    )
    from keras_facealign.runtimes.exported import ExportedModel
    from keras_facealign.runtimes.metadata import read_metadata

__all__ = [
    "RUNTIMES",
    "ExportedModel",
    "check_runtime",
    "choose_runtime",
    "load_model",
    "read_metadata",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "choice": ("RUNTIMES", "check_runtime", "choose_runtime", "load_model"),
        "exported": ("ExportedModel",),
        "metadata": ("read_metadata",),
    },
)
