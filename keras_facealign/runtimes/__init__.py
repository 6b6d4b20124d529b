"""Runtimes: Keras, LiteRT, ONNX Runtime and OpenVINO behind one protocol, crops to landmarks."""

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
