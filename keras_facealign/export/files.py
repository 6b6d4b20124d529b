"""Frozen graphs written as SavedModel, TFLite and ONNX files that carry their metadata."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.metadata import METADATA_NAME, SIGNATURE

__all__ = ["Frozen", "write_onnx", "write_saved_model", "write_tflite"]

_OPSET = 17
# Arrays with fewer values stay in float32: they would save nothing.
_HALF_FROM = 256


@dataclass(frozen=True)
class Frozen:
    """A TensorFlow graph in which all weights are constants.

    Args:
        graph_def: The graph.
        input: Name of the tensor that images come in by.
        outputs: Names of the result tensors, by what files call them.
        shape: (B or None, S, S, 3) of the images, uint8.
    """

    graph_def: Any
    input: str
    outputs: dict[str, str]
    shape: tuple[int | None, ...]


def write_saved_model(frozen: Frozen, folder: Path, quantize: str, metadata: str) -> None:
    """Writes a version folder as TensorFlow Serving takes it.

    Args:
        frozen: The graph.
        folder: The version's folder.
        quantize: "none", or "float16" for weights that are stored in half precision.
        metadata: JSON for `assets.extra`.
    """
    _save(frozen, folder, half=quantize == "float16")
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / f"{METADATA_NAME}.json").write_text(metadata + "\n", encoding="utf-8")


def _save(frozen: Frozen, folder: Path, half: bool) -> None:
    import tensorflow as tf

    graph_def = _halve_graph(frozen.graph_def) if half else frozen.graph_def
    names = list(frozen.outputs)
    imported = tf.compat.v1.wrap_function(
        lambda: tf.import_graph_def(graph_def, name=""), signature=[]
    )
    network = imported.prune(frozen.input, list(frozen.outputs.values()))
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec(frozen.shape, tf.uint8, name="images")])
    def serve(images: Any) -> dict[str, Any]:
        return dict(zip(names, network(images), strict=True))

    module.network, module.serve = network, serve  # pyright: ignore[reportAttributeAccessIssue]
    signature = serve.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: signature})


def _halve_graph(graph_def: Any) -> Any:
    """A copy whose large constants are stored in half precision and read through a cast."""
    import tensorflow as tf

    result = tf.compat.v1.GraphDef()
    result.CopyFrom(graph_def)
    for node in list(result.node):
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if values.size < _HALF_FROM:
            continue
        cast = result.node.add(name=node.name, op="Cast")
        node.name += "/half"
        cast.input.append(node.name)
        cast.attr["SrcT"].type = node.attr["dtype"].type = tf.float16.as_datatype_enum
        cast.attr["DstT"].type = tf.float32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(_half(values, node.name)))
    return result


def _half(values: np.ndarray, name: str) -> np.ndarray:
    if np.abs(values).max() > np.finfo(np.float16).max:
        raise FaceAlignError(
            f"{name} reaches {np.abs(values).max():g}, beyond float16; use quantize='none'."
        )
    return values.astype(np.float16)


def write_tflite(frozen: Frozen, path: Path, quantize: str, metadata: str) -> None:
    """Writes a TFLite file that needs built-in operators only.

    Args:
        frozen: The graph; with the rounding written in where `quantize` is "int8".
        path: The file.
        quantize: "none", "float16" or "int8".
        metadata: JSON for the metadata buffer.

    Raises:
        FaceAlignError: If the graph has an operation that TFLite lacks.
    """
    import tempfile

    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        # From a SavedModel, because only so the file gets a named signature.
        _save(frozen, Path(folder) / "network", half=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(Path(folder) / "network"), signature_keys=[SIGNATURE]
        )
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            content = converter.convert()
        except Exception as error:  # the converter's own class is private
            raise FaceAlignError(f"TFLite cannot hold this network: {_reason(error)}.") from error
    path.write_bytes(_with_metadata(content, metadata))


def _reason(error: Exception) -> str:
    """The first line of a converter's message that says what is wrong."""
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return (lines[0].partition("error:")[2] if lines else str(error)[:200]).strip().rstrip(".")


def _with_metadata(content: bytes, metadata: str) -> bytes:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(metadata.encode("utf-8"), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.buffers = [*model.buffers, buffer]
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def write_onnx(frozen: Frozen, path: Path, quantize: str, metadata: str) -> None:
    """Writes an ONNX file.

    Args:
        frozen: The graph.
        path: The file.
        quantize: "none", or "float16" for weights that are stored in half precision.
        metadata: JSON for the file's properties.

    Raises:
        FaceAlignError: If the packages for it are missing, or a weight does not fit into float16.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise FaceAlignError(
            f"{error.name} is not installed; get it with: pip install 'keras_facealign[onnx]'."
        ) from error
    # Both warn of what the user can do nothing about.
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph_def,
            input_names=[frozen.input],
            output_names=list(frozen.outputs.values()),
            opset=_OPSET,
        )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    names = {tensor: name for name, tensor in frozen.outputs.items()}
    _rename(model.graph, {frozen.input: "images", **names})
    if quantize == "float16":
        _halve_onnx(onnx, model.graph)
    onnx.helper.set_model_props(model, {METADATA_NAME: metadata})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Renames tensors; where a new name is taken, the old bearer gets another."""
    for node in graph.node:
        for side in (node.input, node.output):
            for i, name in enumerate(side):
                taken = name in names.values() and name not in names
                side[i] = f"{name}/inner" if taken else names.get(name, name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def _halve_onnx(onnx: Any, graph: Any) -> None:
    casts = []
    for weights in graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.dtype != np.float32 or values.size < _HALF_FROM:
            continue
        name = weights.name
        half = onnx.numpy_helper.from_array(_half(values, name), f"{name}/half")
        weights.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def metadata_json(metadata: dict[str, Any]) -> str:
    """The metadata as the text that files carry."""
    return json.dumps(metadata, indent=1, ensure_ascii=False)
