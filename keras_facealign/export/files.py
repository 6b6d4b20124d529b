"""Writes frozen graphs as SavedModel, TFLite and ONNX files that carry their metadata."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.export.frozen_graph import FrozenGraph
from keras_facealign.runtimes.metadata import METADATA_NAME, SIGNATURE
from keras_facealign.runtimes.verification import UNSIGNED, sign

_OPSET = 17
# Smaller arrays stay in float32, because halving them would save next to nothing.
_MIN_HALVED = 256


def write_saved_model(
    frozen: FrozenGraph, folder: Path, quantize: str, metadata: dict[str, Any]
) -> None:
    """Writes a version folder for TensorFlow Serving.

    Args:
        frozen: The graph.
        folder: The version's folder.
        quantize: "none"; or "float16", which stores the weights in half precision.
        metadata: Written as JSON into `assets.extra`.
    """
    _save(frozen, folder, half=quantize == "float16")
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / f"{METADATA_NAME}.json").write_text(_as_json(metadata) + "\n", encoding="utf-8")


def _save(frozen: FrozenGraph, folder: Path, half: bool) -> None:
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
    """Returns a copy that stores its large constants in half precision and casts them back."""
    import tensorflow as tf

    result = tf.compat.v1.GraphDef()
    result.CopyFrom(graph_def)
    for node in list(result.node):
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if values.size < _MIN_HALVED:
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


def write_tflite(frozen: FrozenGraph, path: Path, quantize: str, metadata: dict[str, Any]) -> None:
    """Writes a TFLite file that uses built-in operators only.

    Args:
        frozen: The graph; for "int8" it includes the rounding.
        path: The file.
        quantize: "none", "float16" or "int8".
        metadata: Written as JSON into a metadata buffer.

    Raises:
        FaceAlignError: If the graph has an operation that TFLite lacks.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        # Only the conversion of a SavedModel gives the file a named signature.
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
            raise FaceAlignError(
                f"TFLite does not support this network: {_reason(error)}."
            ) from error
    path.write_bytes(sign(_with_metadata(content, metadata | {"checksum": UNSIGNED})))


def _reason(error: Exception) -> str:
    """The first line of a converter's message that names an error."""
    lines = [line for line in str(error).splitlines() if "error:" in line]
    return (lines[0].partition("error:")[2] if lines else str(error)[:200]).strip().rstrip(".")


def _with_metadata(content: bytes, metadata: dict[str, Any]) -> bytes:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_as_json(metadata).encode("utf-8"), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.buffers = [*model.buffers, buffer]
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def write_onnx(frozen: FrozenGraph, path: Path, quantize: str, metadata: dict[str, Any]) -> None:
    """Writes an ONNX file.

    Args:
        frozen: The graph.
        path: The file.
        quantize: "none"; or "float16", which stores the weights in half precision.
        metadata: Written as JSON into the file's properties.

    Raises:
        FaceAlignError: If the ONNX packages are missing, or a weight does not fit into float16.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise FaceAlignError(
            f"{error.name} is not installed; run: pip install 'keras_facealign[onnx]'."
        ) from error
    with _errors_only("tensorflow", "tf2onnx"):
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph_def,
            input_names=[frozen.input],
            output_names=list(frozen.outputs.values()),
            opset=_OPSET,
        )
    names = {tensor: name for name, tensor in frozen.outputs.items()}
    _rename(model.graph, {frozen.input: "images", **names})
    if quantize == "float16":
        _halve_onnx(onnx, model.graph)
    text = _as_json(metadata | {"checksum": UNSIGNED})
    onnx.helper.set_model_props(model, {METADATA_NAME: text})
    onnx.checker.check_model(model)
    path.write_bytes(sign(model.SerializeToString()))


@contextmanager
def _errors_only(*names: str) -> Iterator[None]:
    """Silences the warnings of loggers, which concern nothing that a user could change."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Renames tensors; a tensor that already has one of the new names gets another one."""
    for node in graph.node:
        for side in (node.input, node.output):
            for i, name in enumerate(side):
                taken = name in names.values() and name not in names
                side[i] = f"{name}/inner" if taken else names.get(name, name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


def _halve_onnx(onnx: Any, graph: Any) -> None:
    """Stores the large constants in half precision and casts them back."""
    casts = []
    for weights in graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.dtype != np.float32 or values.size < _MIN_HALVED:
            continue
        name = weights.name
        half = onnx.numpy_helper.from_array(_half(values, name), f"{name}/half")
        weights.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _as_json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, indent=1)


WRITERS: dict[str, Callable[[FrozenGraph, Path, str, dict[str, Any]], None]] = {
    "saved_model": write_saved_model,
    "tflite": write_tflite,
    "onnx": write_onnx,
}
"""Functions that write each format: (graph, path, quantization, metadata)."""
