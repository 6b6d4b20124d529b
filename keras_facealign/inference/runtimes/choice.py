"""Which runtime a network runs on, and its landmarks there."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.runtimes.decoding import decode

__all__ = ["RUNTIMES", "LandmarkModel", "check_runtime", "choose_runtime"]

RUNTIMES = ("auto", "keras", "openvino", "openvino_bfloat16")


class LandmarkModel(Protocol):
    """What finds the landmarks of cropped faces, such as a `FaceAlignModel`."""

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (B, K, 2) and confidence (B, K) of images (B, S, S, 3), RGB 0 to 255."""
        ...


def check_runtime(runtime: str) -> None:
    """Raises a `FaceAlignError` unless `runtime` is one of `RUNTIMES`."""
    if runtime not in RUNTIMES:
        raise FaceAlignError(f"Unknown runtime {runtime!r}; choose one of: {', '.join(RUNTIMES)}.")


def choose_runtime(model: Any, runtime: str = "auto") -> tuple[str, LandmarkModel]:
    """Puts a model on a runtime.

    Args:
        model: A `FaceAlignModel`, or any `LandmarkModel`.
        runtime: "keras" is the model itself. "openvino" is a float32 copy of it on the processor,
            equal up to rounding; "openvino_bfloat16" computes the larger convolutions in bfloat16.
            "auto" is "openvino" where that is installed and can run this model, and Keras has no
            GPU; else "keras".

    Returns:
        The name of the runtime that was taken, and what to call.

    Raises:
        FaceAlignError: If the runtime is unknown, or was asked for by name and is not installed or
            cannot run this model.
    """
    check_runtime(runtime)
    if runtime == "keras":
        return "keras", model
    # Imported here: `keras_facealign.models` is not needed for a model of another kind.
    from keras_facealign.models import FaceAlignModel

    if not isinstance(model, FaceAlignModel):
        if runtime == "auto":
            return "keras", model
        raise FaceAlignError(f"{type(model).__name__} is no FaceAlignModel; use runtime='keras'.")
    if runtime == "auto" and _has_gpu():
        return "keras", model
    name = "openvino" if runtime == "auto" else runtime
    try:
        return name, _OpenVINOLandmarks(model, "bfloat16" if "bfloat16" in name else "float32")
    except (ImportError, RuntimeError, FaceAlignError) as error:
        if runtime == "auto":
            return "keras", model
        if isinstance(error, FaceAlignError):
            raise
        raise FaceAlignError(
            f"runtime={runtime!r} needs OpenVINO, which does not start ({error}); "
            "pip install keras_facealign[openvino], or use runtime='keras'."
        ) from error


def _has_gpu() -> bool:
    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        import torch

        return torch.cuda.is_available()
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX without a GPU knows no such platform
        return False


class _OpenVINOLandmarks:
    """`predict_landmarks` of a model on OpenVINO."""

    def __init__(self, model: Any, precision: str) -> None:
        from keras_facealign.inference.runtimes.openvino import OpenVINONetwork

        self._model = model
        self._network = OpenVINONetwork(model, precision)

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        heatmaps = self._network(np.asarray(images, np.float32))
        return decode(heatmaps, self._model.input_size, self._model.decode_method)
