"""Chooses the runtime of a network."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import scheme_config
from keras_facealign.prediction import (
    LandmarkModel,
    LandmarkOutputs,
    any_size,
    predict_outputs,
)
from keras_facealign.runtimes.exported import FILE_RUNTIMES, ExportedModel
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.storage.preset_folders import CONFIG

RUNTIMES = ("auto", "keras", "openvino", "openvino_bfloat16", "litert", "onnx")


def check_runtime(runtime: str) -> None:
    """Raises a `FaceAlignError` unless `runtime` is one of `RUNTIMES`."""
    if runtime not in RUNTIMES:
        raise FaceAlignError(f"Unknown runtime {runtime!r}; choose one of: {', '.join(RUNTIMES)}.")


def load_model(name: str | Path, runtime: str = "auto", load_weights: bool = True) -> Any:
    """Loads the model for a runtime: an exported file, or a preset's Keras model.

    Args:
        name: Name of a preset, a folder that holds one, or a `.tflite` or `.onnx` file.
        runtime: As in `FaceAligner.from_preset`.
        load_weights: False for a preset's architecture alone.

    Returns:
        An `ExportedModel` or a `FaceAlignModel`.

    Raises:
        FaceAlignError: If there is no such preset, file or runtime, or they do not fit together.
    """
    check_runtime(runtime)
    if Path(name).suffix.lower() in FILE_RUNTIMES:
        return _of_runtime(ExportedModel(name), runtime)
    if runtime in FILE_RUNTIMES.values():
        return _of_preset(_exported_file(name, runtime, load_weights))
    if runtime == "auto" and load_weights and _is_for_litert(name):
        return _of_preset(_exported_file(name, "litert", load_weights))
    if not _is_installed("keras"):
        raise FaceAlignError(_nothing_to_run_on(name))
    from keras_facealign.presets import from_preset

    return from_preset(name, load_weights=load_weights)


def _of_preset(path: Path) -> ExportedModel:
    """Loads an exported file of a preset, unless it was made from another network."""
    model = ExportedModel(path)
    config = _dict(read_json_object(path.with_name(CONFIG)).get("config"))
    fields = _dict(config.get("architecture"))
    for name, found, claimed in (
        ("num_landmarks", model.num_landmarks, fields.get("num_landmarks")),
        ("input_size", model.input_size, fields.get("input_size")),
        ("scheme", scheme_config(model.scheme), config.get("scheme")),
    ):
        if claimed not in (None, found):
            found, claimed = (repr(value)[:80] for value in (found, claimed))
            raise FaceAlignError(
                f"{path} was made from another network: {name} is {found} there and {claimed} "
                f"in {CONFIG}; export it again"
            )
    return model


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _nothing_to_run_on(name: str | Path) -> str:
    from keras_facealign.presets import find_preset

    keras = 'pip install "keras_facealign[tensorflow]"'
    if not (find_preset(name) / "model.tflite").is_file():
        return f"preset {str(name)!r} needs Keras, which is not installed; {keras}"
    return (
        f"preset {str(name)!r} needs LiteRT or Keras, and neither is installed; pip install "
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
    """Whether LiteRT is the fastest runtime of a preset: it has a TFLite file and there is no GPU.

    On a CPU no other runtime is faster: on two cores, `sat1_cab_mobile` takes LiteRT 3.1 ms for one
    face and for each of eight, OpenVINO 3.4 and 3.3 ms, Keras 6.9 and 4.5 ms
    (`benchmarks/mobile.py`). LiteRT also saves the time to import Keras and its backend.
    """
    if not _is_installed("ai_edge_litert"):
        return False
    # Keras would have to load its backend to look for GPUs, so look for the driver's tool first.
    if _is_installed("keras") and shutil.which("nvidia-smi") and _has_gpu():
        return False
    from keras_facealign.presets import find_preset

    return (find_preset(name) / "model.tflite").is_file()


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # for modules without a spec
        return False


def _of_runtime(model: ExportedModel, runtime: str) -> ExportedModel:
    if runtime not in ("auto", model.runtime):
        raise FaceAlignError(
            f"{model.path} runs on {model.runtime!r}, not {runtime!r}; give the name of a "
            "preset instead of the file, or leave the runtime to 'auto'"
        )
    return model


def choose_runtime(model: Any, runtime: str = "auto") -> tuple[str, LandmarkModel]:
    """Prepares a model for a runtime.

    Args:
        model: A `FaceAlignModel`, an `ExportedModel`, or any object with `input_size` and either
            `predict_outputs(images, batch_size)` or `predict_landmarks(images, batch_size)`.
        runtime: "keras" is the model itself. "openvino" is a float32 copy of it on the CPU, equal
            up to rounding; "openvino_bfloat16" computes the larger convolutions in bfloat16.
            "litert" and "onnx" are those of exported files. "auto" is "openvino" where that is
            installed and can run this model, and Keras has no GPU; else "keras"; and for an
            exported file its own.

    Returns:
        The name of the chosen runtime, and the model on it.

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
    if not _is_keras_model(model):
        if runtime not in ("auto", "keras"):
            raise FaceAlignError(
                f"{type(model).__name__} is not a FaceAlignModel; use runtime='keras'."
            )
        return "keras", _CallableModel(model)
    if runtime == "keras" or (runtime == "auto" and _has_gpu()):
        return "keras", model
    name = "openvino" if runtime == "auto" else runtime
    try:
        from keras_facealign.runtimes.openvino import OpenVINOModel

        return name, OpenVINOModel(model, "bfloat16" if "bfloat16" in name else "float32")
    except (ImportError, RuntimeError, FaceAlignError) as error:
        if runtime == "auto":
            return "keras", model
        if isinstance(error, FaceAlignError):
            raise
        raise FaceAlignError(
            f"runtime={runtime!r} needs OpenVINO, which does not start ({error}); "
            "pip install \"keras_facealign[openvino]\", or use runtime='keras'."
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


class _CallableModel:
    """A model of the user's own that has `predict_landmarks` only."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict_outputs(
        self, images: np.ndarray, batch_size: int = 32, flip_test: bool = False
    ) -> LandmarkOutputs:
        model = self._model
        return predict_outputs(
            self._run,
            images,
            any_size(2 * batch_size if flip_test else batch_size),
            input_size=model.input_size,
            flip_test=flip_test,
            scheme=getattr(model, "scheme", None),
            landmark_offset=getattr(model, "landmark_offset", (0.0, 0.0)),
        )

    def _run(self, images: np.ndarray) -> LandmarkOutputs:
        if hasattr(self._model, "predict_outputs"):
            return self._model.predict_outputs(images, len(images))
        landmarks, confidence = self._model.predict_landmarks(images, len(images))
        return {"landmarks": landmarks, "confidence": confidence}
