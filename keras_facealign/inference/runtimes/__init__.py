"""What the network of a `FaceAligner` runs on."""

from keras_facealign.inference.runtimes.choice import (
    RUNTIMES,
    LandmarkModel,
    check_runtime,
    choose_runtime,
)

__all__ = ["RUNTIMES", "LandmarkModel", "check_runtime", "choose_runtime"]
