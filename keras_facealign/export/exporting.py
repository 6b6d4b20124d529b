"""`export_model`: a network with its normalization and decoding as a file for other programs.

The network is traced by TensorFlow into one graph from uint8 pixels to landmarks, which all formats
are written from. Whatever is written is first run on faces beside the Keras model, under another
name: it gets its own only if the landmarks agree.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign import geometry
from keras_facealign._version import __version__
from keras_facealign.errors import FaceAlignError
from keras_facealign.export.face_crops import face_crops
from keras_facealign.export.files import (
    Frozen,
    metadata_json,
    write_onnx,
    write_saved_model,
    write_tflite,
)
from keras_facealign.export.parity import Parity, compare
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks.tracing.graph import Graph, UnsupportedLayerError, trace
from keras_facealign.networks.tracing.simplification import simplify
from keras_facealign.ops import deform_implementation
from keras_facealign.runtimes.metadata import FORMAT, QUANTIZATIONS

__all__ = ["DYNAMIC", "FORMATS", "LIMITS", "ExportReport", "export_model"]

DYNAMIC = "dynamic"
FORMATS: dict[str, Callable[[Frozen, Path, str, str], None]] = {
    "saved_model": write_saved_model,
    "tflite": write_tflite,
    "onnx": write_onnx,
}
# Greatest mean distance in pixels between the landmarks of the file and those of the Keras model.
LIMITS = {"none": 0.05, "float16": 0.1, "int8": 0.5}

_CALIBRATION_FACES, _PARITY_FACES = 128, 32
_CALIBRATION_SEED, _PARITY_SEED = 1, 2


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how well it agrees with the Keras model.

    Args:
        path: The file, or the SavedModel's version folder.
        size: Of the file or all files, bytes.
        parity: The comparison.
        metadata: What `read_metadata` gives for it.
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
    """Writes a network for TensorFlow Serving, phones, browsers or ONNX runtimes.

    The file takes `images`, uint8 RGB (B, S, S, 3), square crops, and gives what
    `FaceAlignModel.landmark_outputs` lists (`landmarks`, float32 (B, K, 2) in pixels of the crop;
    `confidence`, float32 (B, K); ...), or without decoding `heatmaps`, float32 (B, M, M, K),
    logits. Needs TensorFlow as Keras's backend.

    Args:
        model: The model, or a preset's name or folder.
        output: A folder, in which the file is called `model.tflite`, `model_int8.tflite` and so
            on; or a file that ends with `.tflite` or `.onnx`. A SavedModel becomes a new version
            `1`, `2` and so on inside of the folder.
        format: "saved_model", "tflite" or "onnx".
        quantize: "none"; "float16", which stores the weights in half precision; or, for TFLite,
            "int8", which computes the convolutions in integers.
        decode: Whether the file decodes the heatmaps.
        batch: Faces that a call takes, or "dynamic" for any number. Default: one for TFLite, which
            is fastest so, else any number.
        calibration_images: Faces that show the ranges int8 has to cover, and that the parity check
            runs on: a folder of pictures or uint8 crops (N, S, S, 3). Default: drawn faces.
        limit: Greatest mean distance in pixels between the file's landmarks and the model's.
            Default: 0.05, with float16 0.1, with int8 0.5.

    Returns:
        The report.

    Raises:
        FaceAlignError: If an argument is unknown or does not fit the others, the network cannot be
            written, or the landmarks differ by more than the limit; then there is no new file.

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
            f"The heatmaps of {name} show a turned picture, because it has a spatial transformer; "
            "export it with decoding."
        )
    if batch is None:
        batch = 1 if format == "tflite" else DYNAMIC
    count = batch if isinstance(batch, int) else None
    size = model.input_size
    faces = face_crops(calibration_images, size, _PARITY_FACES, _PARITY_SEED)
    if quantize == "int8":
        seen = face_crops(calibration_images, size, _CALIBRATION_FACES, _CALIBRATION_SEED)
    else:
        seen = None
    with deform_implementation("portable"):
        frozen = _freeze(model, name, decode, count, seen)
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
        "box_scale": geometry.CROP_SCALE,
        "license": license_,
        "version": __version__,
    }
    target = _target(Path(output), format, quantize, decode)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        FORMATS[format](frozen, partial, quantize, metadata_json(metadata))
        parity = compare(
            model, format, partial, faces, LIMITS[quantize] if limit is None else limit
        )
        if not parity.good:
            raise FaceAlignError(f"{target} was not written: {parity}.")
        os.replace(partial, target)
    finally:
        _remove(partial)
    return ExportReport(target, _size(target), parity, metadata)


def _check(format: str, quantize: str, batch: int | str | None, limit: float | None) -> None:
    if format not in FORMATS:
        raise FaceAlignError(f"Unknown format {format!r}; choose one of: {', '.join(FORMATS)}.")
    if quantize not in QUANTIZATIONS:
        raise FaceAlignError(
            f"Unknown quantization {quantize!r}; choose one of: {', '.join(QUANTIZATIONS)}."
        )
    if quantize == "int8" and format != "tflite":
        raise FaceAlignError(
            f"int8 is written for TFLite only, not for {format}; use format='tflite' or "
            "quantize='float16'."
        )
    whole = isinstance(batch, int) and not isinstance(batch, bool) and batch >= 1
    if not (batch is None or batch == DYNAMIC or whole):
        raise FaceAlignError(f"batch is {batch!r}; give a number from 1 on, or {DYNAMIC!r}.")
    if limit is not None and not limit >= 0:
        raise FaceAlignError(f"limit is {limit}; give pixels, 0 or more.")
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise FaceAlignError(
            f"Exporting traces the network with TensorFlow, and Keras runs on {backend}; set the "
            "variable KERAS_BACKEND to tensorflow."
        )


def _describe(model: Any) -> tuple[str, str]:
    """Name and license for the metadata."""
    if isinstance(model, FaceAlignModel):
        return model.name, "unknown"
    from keras_facealign.presets import find_preset
    from keras_facealign.presets.registry import METADATA

    folder = find_preset(model)
    try:
        about = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        license_ = str(about.get("license", "unknown"))
    except (OSError, ValueError, AttributeError):  # a preset needs no description
        license_ = "unknown"
    return folder.resolve().name, license_


def _freeze(
    model: FaceAlignModel, name: str, decode: bool, batch: int | None, seen: np.ndarray | None
) -> Frozen:
    """The whole way from pixels to results as one TensorFlow graph of constants.

    Args:
        model: The model.
        name: What messages call it.
        decode: Whether to decode the heatmaps.
        batch: Faces, or None for any number.
        seen: Faces to calibrate int8 on, or None to stay in float.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    network = _network(model, name, seen)
    shape = (batch, model.input_size, model.input_size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="images")])
    def serve(images: Any) -> dict[str, Any]:
        heatmaps, frames = network(tf.cast(images, tf.float32))
        return model.landmark_outputs(heatmaps, frames) if decode else {"heatmaps": heatmaps}

    traced = serve.get_concrete_function()
    names = sorted(traced.structured_outputs)  # the order in which TensorFlow flattens a dict
    frozen = convert_variables_to_constants_v2(traced)
    outputs = dict(zip(names, (tensor.name for tensor in frozen.outputs), strict=True))
    graph_def = frozen.graph.as_graph_def()
    for node in graph_def.node:
        # Gradients that we wrote down ourselves are Python functions: no file can hold them.
        if "_gradient_op_type" in node.attr:
            del node.attr["_gradient_op_type"]
    return Frozen(graph_def, frozen.inputs[0].name, outputs, shape)


def _network(model: FaceAlignModel, name: str, seen: np.ndarray | None) -> Callable[[Any], Any]:
    """A function from images to heatmaps and frames (`FaceAlignModel.heatmaps_and_frames`)."""
    try:
        graph = _decoded_graph(model)
    except UnsupportedLayerError as error:
        if seen is not None:
            raise FaceAlignError(f"{name} cannot be computed in int8: {error}") from error

        def forward(images: Any) -> tuple[Any, Any]:
            heatmaps, frames = model.heatmaps_and_frames(images, training=False)
            return heatmaps[-1], frames

        return forward
    from keras_facealign.export.quantize import evaluate, fake_quantized, observe

    if seen is None:
        return lambda images: (evaluate(graph, images), None)
    rounded = fake_quantized(graph, observe(graph, seen))
    return lambda images: (rounded(images), None)


def _decoded_graph(model: FaceAlignModel) -> Graph:
    """The network up to the heatmaps that are decoded."""
    graph = trace(model, keep_layers=True)
    stacks = model.architecture.stacks
    last = stacks if model.architecture.heads_between_stacks else stacks - 1
    graph.outputs = [graph.outputs[last]]
    return simplify(graph)


def _target(output: Path, format: str, quantize: str, decode: bool) -> Path:
    if format == "saved_model":
        if output.is_file():
            raise FaceAlignError(f"{output} is a file; a SavedModel needs a folder.")
        taken = [int(f.name) for f in output.glob("*") if f.name.isdigit()]
        return output / str(max(taken, default=0) + 1)
    suffix = f".{format}"
    if output.suffix == suffix and not output.is_dir():
        return output
    if output.suffix in (".tflite", ".onnx") or output.is_file():
        raise FaceAlignError(f"{output} is no name for a file in the format {format}.")
    parts = [
        "model",
        *([] if decode else ["heatmaps"]),
        *([] if quantize == "none" else [quantize]),
    ]
    return output / ("_".join(parts) + suffix)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
