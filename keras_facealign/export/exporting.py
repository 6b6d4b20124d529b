"""Exports a network with its normalization and decoding as a file for other programs.

TensorFlow traces the network into one graph from uint8 pixels to landmarks, and all formats are
written from this graph. A new file is compared with the Keras model on faces under a temporary
name, and renamed only if the landmarks agree.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_facealign._version import __version__
from keras_facealign.errors import FaceAlignError
from keras_facealign.export.face_crops import face_crops
from keras_facealign.export.files import WRITERS
from keras_facealign.export.frozen_graph import freeze
from keras_facealign.export.parity import Parity, compare
from keras_facealign.geometry import CROP_SCALE
from keras_facealign.landmarks import LandmarkScheme, scheme_config
from keras_facealign.models import FaceAlignModel
from keras_facealign.runtimes.metadata import FORMAT, QUANTIZATIONS, read_metadata
from keras_facealign.storage.atomic import partial_path

_DYNAMIC = "dynamic"
# Largest mean distance in pixels between the landmarks of the file and those of the Keras model.
_LIMITS = {"none": 0.05, "float16": 0.1, "int8": 0.5}
_CALIBRATION_FACES, _PARITY_FACES = 128, 32
_CALIBRATION_SEED, _PARITY_SEED = 1, 2


@dataclass(frozen=True)
class ExportReport:
    """The exported file, and how well it agrees with the Keras model.

    Args:
        path: The file, or the SavedModel's version folder.
        size: Size of the file, or of all files in the folder, in bytes.
        parity: The comparison.
        metadata: The metadata that `read_metadata` returns for the file.
    """

    path: Path
    size: int
    parity: Parity
    metadata: dict[str, Any]


def export_model(
    model: FaceAlignModel | str | Path,
    output: str | os.PathLike[str],
    format: str = "tflite",
    quantize: str = "none",
    decode: bool = True,
    batch: int | str | None = None,
    calibration_images: Any = None,
    limit: float | None = None,
) -> ExportReport:
    """Exports a network for TensorFlow Serving, phones, browsers or ONNX runtimes.

    The file's input is `images`, uint8 RGB (B, S, S, 3), square crops. Its outputs are those of
    `FaceAlignModel.landmark_outputs` (`landmarks`, float32 (B, K, 2) in pixels of the crop;
    `confidence`, float32 (B, K); ...), or without decoding `heatmaps`, float32 (B, M, M, K),
    logits. Keras must run on TensorFlow.

    Args:
        model: The model, or a preset's name or folder.
        output: A folder, in which the file is called `model.tflite`, `model_int8.tflite` and so
            on; or a file name that ends with `.tflite` or `.onnx`. A SavedModel becomes a new
            version `1`, `2` and so on inside the folder.
        format: "saved_model", "tflite" or "onnx".
        quantize: "none"; "float16", which stores the weights in half precision; or, for TFLite,
            "int8", which computes the convolutions in integers.
        decode: Whether the file decodes the heatmaps.
        batch: Number of faces per call, or "dynamic" for any number. Default: one for TFLite,
            where it is fastest, else any number.
        calibration_images: Faces that determine the ranges of int8 and that the parity check runs
            on: a folder of images, or uint8 crops (N, S, S, 3). Default: synthetic faces.
        limit: Largest mean distance in pixels between the file's landmarks and the model's.
            Default: 0.05, with float16 0.1, with int8 0.5.

    Returns:
        The report.

    Raises:
        FaceAlignError: If an argument is unknown or contradicts another, the network cannot be
            exported, or the landmarks differ by more than the limit. No new file is left behind.

    Example:
        >>> report = export_model("sat1_cab_mobile", "phone", quantize="int8")  # doctest: +SKIP
        >>> report.path.name  # doctest: +SKIP
        'model_int8.tflite'
    """
    _check(format, quantize, batch, limit)
    name, license_ = _describe(model)
    if not isinstance(model, FaceAlignModel):
        from keras_facealign.presets import from_preset

        model = from_preset(model)
    if not decode and model.architecture.spatial_transformer:
        raise FaceAlignError(
            f"The spatial transformer of {name} rotates the images that its heatmaps belong to; "
            "export it with decoding."
        )
    if batch is None:
        batch = 1 if format == "tflite" else _DYNAMIC
    count = batch if isinstance(batch, int) else None
    size = model.input_size
    faces = face_crops(calibration_images, size, _PARITY_FACES, _PARITY_SEED)
    calibration = None
    if quantize == "int8":
        calibration = face_crops(calibration_images, size, _CALIBRATION_FACES, _CALIBRATION_SEED)
    frozen = freeze(model, name, decode, count, calibration)
    metadata = {
        "format": FORMAT,
        "preset": name,
        "scheme": model.scheme.name,
        "num_landmarks": model.num_landmarks,
        "input_size": size,
        "decode": decode,
        "decode_method": model.decode_method,
        "landmark_offset": list(model.landmark_offset),
        "outputs": list(frozen.outputs),
        "batch": count,
        "quantize": quantize,
        "box_scale": CROP_SCALE,
        "license": license_,
        "version": __version__,
    }
    metadata.update(_scheme_facts(model.scheme))
    target = _target(Path(output), format, quantize, decode)
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial_path(target) as partial:
        WRITERS[format](frozen, partial, quantize, metadata)
        parity = compare(
            model, format, partial, faces, _LIMITS[quantize] if limit is None else limit
        )
        if not parity.good:
            raise FaceAlignError(f"{target} was not written: {parity}.")
        os.replace(partial, target)
    return ExportReport(target, _size(target), parity, read_metadata(target))


def _scheme_facts(scheme: LandmarkScheme) -> dict[str, Any]:
    """What a program that knows no schemes needs to draw faces, and to follow them in a video."""
    facts: dict[str, Any] = {"edges": scheme.edges}
    if scheme.eye_points is not None:
        facts["eyes"] = scheme.eye_points
    if scheme.face_box is not None:
        facts["face_box"] = scheme.face_box
    carried = scheme_config(scheme)
    if isinstance(carried, dict):
        facts["own_scheme"] = carried
    return facts


def _check(format: str, quantize: str, batch: int | str | None, limit: float | None) -> None:
    """Raises a `FaceAlignError` unless the arguments of `export_model` are valid."""
    for what, value, choices in (
        ("format", format, WRITERS),
        ("quantization", quantize, QUANTIZATIONS),
    ):
        if value not in choices:
            raise FaceAlignError(f"Unknown {what} {value!r}; choose one of: {', '.join(choices)}.")
    if quantize == "int8" and format != "tflite":
        raise FaceAlignError(
            f"int8 is available for TFLite only, not for {format}; use format='tflite' or "
            "quantize='float16'."
        )
    is_count = isinstance(batch, int) and not isinstance(batch, bool) and batch >= 1
    if not (batch is None or batch == _DYNAMIC or is_count):
        raise FaceAlignError(f"batch is {batch!r}; give a number from 1 on, or {_DYNAMIC!r}.")
    if limit is not None and not limit >= 0:
        raise FaceAlignError(f"limit is {limit}; give pixels, 0 or more.")
    if keras.backend.backend() != "tensorflow":
        raise FaceAlignError(
            "Exporting traces the network with TensorFlow, but Keras runs on "
            f"{keras.backend.backend()}; set the variable KERAS_BACKEND to tensorflow."
        )


def _describe(model: Any) -> tuple[str, str]:
    """The name and license that the metadata states."""
    if isinstance(model, FaceAlignModel):
        return model.name, "unknown"
    from keras_facealign.presets import find_preset
    from keras_facealign.storage.preset_folders import METADATA

    folder = find_preset(model)
    try:
        about = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        license_ = str(about.get("license", "unknown"))
    except (OSError, ValueError, AttributeError):  # the description of a preset is optional
        license_ = "unknown"
    return folder.resolve().name, license_


def _target(output: Path, format: str, quantize: str, decode: bool) -> Path:
    """The path of the new file, or of the SavedModel's next version folder."""
    if format == "saved_model":
        if output.is_file():
            raise FaceAlignError(f"{output} is a file; a SavedModel needs a folder.")
        taken = [int(f.name) for f in output.glob("*") if f.name.isdigit()]
        return output / str(max(taken, default=0) + 1)
    suffix = f".{format}"
    if output.suffix == suffix and not output.is_dir():
        return output
    if output.suffix in (".tflite", ".onnx") or output.is_file():
        raise FaceAlignError(
            f"{output} does not fit the format {format}; give a folder or a name with {suffix}."
        )
    name = "model" if decode else "model_heatmaps"
    return output / (f"{name}{suffix}" if quantize == "none" else f"{name}_{quantize}{suffix}")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
