"""Which runtime a network runs on, and its landmarks there."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.decoding import decode
from keras_facealign.runtimes.exported import FILE_RUNTIMES, ExportedModel

__all__ = ["RUNTIMES", "LandmarkModel", "check_runtime", "choose_runtime", "load_model"]

RUNTIMES = ("auto", "keras", "openvino", "openvino_bfloat16", "litert", "onnx")


class LandmarkModel(Protocol):
    """What finds the landmarks of cropped faces, such as a `FaceAlignModel`.

    It may also have `predict_outputs` with the same arguments, which gives a dictionary of
    `landmarks`, `confidence` and, where it knows them, `sigma` and `visibility`.
    """

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (B, K, 2) and confidence (B, K) of images (B, S, S, 3), RGB 0 to 255."""
        ...


def check_runtime(runtime: str) -> None:
    """Raises a `FaceAlignError` unless `runtime` is one of `RUNTIMES`."""
    if runtime not in RUNTIMES:
        raise FaceAlignError(f"Unknown runtime {runtime!r}; choose one of: {', '.join(RUNTIMES)}.")


def load_model(name: str | Path, runtime: str = "auto", load_weights: bool = True) -> Any:
    """Loads what a runtime needs: an exported file, or a preset's Keras model.

    Args:
        name: Name of a preset, a folder that holds one, or a `.tflite` or `.onnx` file.
        runtime: As in `FaceAligner.from_preset`.
        load_weights: False for a preset's architecture alone.

    Returns:
        An `ExportedModel` or a `FaceAlignModel`.

    Raises:
        FaceAlignError: If there is no such preset, file or runtime, or they do not go together.
    """
    check_runtime(runtime)
    if Path(name).suffix.lower() in FILE_RUNTIMES:
        return _of_runtime(ExportedModel(name), runtime)
    if runtime in FILE_RUNTIMES.values():
        return ExportedModel(_exported_file(name, runtime, load_weights))
    if runtime == "auto" and load_weights and _is_for_litert(name):
        return ExportedModel(_exported_file(name, "litert", load_weights))
    if not _is_installed("keras"):
        raise FaceAlignError(_nothing_to_run_on(name))
    from keras_facealign.presets import from_preset

    return from_preset(name, load_weights=load_weights)


def _nothing_to_run_on(name: str | Path) -> str:
    from keras_facealign.presets import find_preset

    keras = 'pip install "keras_facealign[tensorflow]"'
    if not (find_preset(name) / "model.tflite").is_file():
        return f"preset {str(name)!r} runs on Keras, which is not installed; {keras}"
    return (
        f"preset {str(name)!r} runs on LiteRT or Keras, and neither is installed; pip install "
        f'"keras_facealign[litert]", or {keras} to train as well'
    )


def _exported_file(name: str | Path, runtime: str, load_weights: bool) -> Path:
    from keras_facealign.presets import find_preset

    ending = next(suffix for suffix, known in FILE_RUNTIMES.items() if known == runtime)
    path = find_preset(name) / f"model{ending}"
    if not load_weights:
        raise FaceAlignError(f"{path} is a trained network; load_weights=False needs Keras.")
    if not path.is_file():
        raise FaceAlignError(
            f"runtime={runtime!r} needs {path}, which is not there; make a file with "
            f"'keras-facealign export {path.parent.name} --format {ending[1:]}' and give its path "
            "instead of the preset's name"
        )
    return path


def _is_for_litert(name: str | Path) -> bool:
    """Whether a preset has a TFLite file, and nothing that would run its network faster.

    On a processor nothing does: on two cores, `sat1_cab_mobile` takes LiteRT 3.1 ms for one face
    and for each of eight, OpenVINO 3.4 and 3.3 ms, Keras 6.9 and 4.5 ms (`benchmarks/mobile.py`).
    Nor does LiteRT wait for Keras and its backend to be imported.
    """
    if not _is_installed("ai_edge_litert"):
        return False
    # Keras knows of GPUs only once its backend is loaded, so the driver's own tool is looked for.
    if _is_installed("keras") and shutil.which("nvidia-smi") and _has_gpu():
        return False
    from keras_facealign.presets import find_preset

    return (find_preset(name) / "model.tflite").is_file()


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # of modules that were loaded in unusual ways
        return False


def _of_runtime(model: ExportedModel, runtime: str) -> ExportedModel:
    if runtime not in ("auto", model.runtime):
        raise FaceAlignError(
            f"{model.path} is for runtime {model.runtime!r}, not {runtime!r}; give the name of a "
            "preset instead of the file, or leave the runtime to 'auto'"
        )
    return model


def choose_runtime(model: Any, runtime: str = "auto") -> tuple[str, LandmarkModel]:
    """Puts a model on a runtime.

    Args:
        model: A `FaceAlignModel`, an `ExportedModel`, or any `LandmarkModel`.
        runtime: "keras" is the model itself. "openvino" is a float32 copy of it on the processor,
            equal up to rounding; "openvino_bfloat16" computes the larger convolutions in bfloat16.
            "litert" and "onnx" are those of exported files. "auto" is "openvino" where that is
            installed and can run this model, and Keras has no GPU; else "keras"; and for an
            exported file its own.

    Returns:
        The name of the runtime that was taken, and what to call.

    Raises:
        FaceAlignError: If the runtime is unknown, or was asked for by name and is not installed or
            cannot run this model.
    """
    check_runtime(runtime)
    if isinstance(model, ExportedModel):
        return model.runtime, _of_runtime(model, runtime)
    if runtime in FILE_RUNTIMES.values():
        raise FaceAlignError(
            f"runtime={runtime!r} runs exported files, not a {type(model).__name__}; use "
            "FaceAligner.from_preset with a preset's name or a file's path"
        )
    if runtime == "keras":
        return "keras", model
    if not _is_keras_model(model):
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


def _is_keras_model(model: Any) -> bool:
    # Imported here: Keras is not needed for a model of another kind, and may be missing.
    if not _is_installed("keras"):
        return False
    from keras_facealign.models import FaceAlignModel

    return isinstance(model, FaceAlignModel)


def _has_gpu() -> bool:
    import keras

    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        import torch

        return torch.cuda.is_available()
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX without a GPU knows no such platform
        return False


class _OpenVINOLandmarks:
    """What a model says of landmarks, its network on OpenVINO."""

    def __init__(self, model: Any, precision: str) -> None:
        from keras_facealign.runtimes.openvino import OpenVINONetwork

        self._model = model
        self._network = OpenVINONetwork(model, precision)

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        outputs = self.predict_outputs(images, batch_size)
        return outputs["landmarks"], outputs["confidence"]

    def predict_outputs(self, images: np.ndarray, batch_size: int = 32) -> dict[str, np.ndarray]:
        model = self._model
        heatmaps = self._network(np.asarray(images, np.float32))
        landmarks, confidence = decode(heatmaps, model.input_size, model.decode_method)
        outputs = {"landmarks": landmarks, "confidence": confidence}
        if model.calibration is not None:
            maps = heatmaps.transpose(0, 2, 3, 1)
            outputs |= model.calibration(maps, landmarks, confidence)
        outputs["landmarks"] = landmarks + np.asarray(model.landmark_offset, np.float32)
        return outputs
