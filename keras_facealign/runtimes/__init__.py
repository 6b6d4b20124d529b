"""What the network of a `FaceAligner` runs on."""

from keras_facealign.runtimes.choice import (
    RUNTIMES,
    LandmarkModel,
    check_runtime,
    choose_runtime,
    load_model,
)
from keras_facealign.runtimes.exported import ExportedModel

__all__ = [
    "RUNTIMES",
    "ExportedModel",
    "LandmarkModel",
    "check_runtime",
    "choose_runtime",
    "load_model",
]
