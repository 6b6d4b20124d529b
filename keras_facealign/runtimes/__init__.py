"""What the network of a `FaceAligner` runs on."""

from keras_facealign.runtimes.choice import (
    RUNTIMES,
    LandmarkModel,
    check_runtime,
    choose_runtime,
    load_model,
)
from keras_facealign.runtimes.exported import ExportedModel
from keras_facealign.runtimes.metadata import read_metadata

__all__ = [
    "RUNTIMES",
    "ExportedModel",
    "LandmarkModel",
    "check_runtime",
    "choose_runtime",
    "load_model",
    "read_metadata",
]
