"""Builds Keras models from plain graphs: networks without batch normalization, for any backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_facealign.networks.tracing.graph import Graph, Node
from keras_facealign.networks.tracing.lowering import trace
from keras_facealign.networks.tracing.simplification import simplify


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Makes an equivalent network for inference, with batch norm folded into the convolutions.

    Args:
        model: A functional model from one image to heatmaps, such as any `FaceAlignModel`.

    Returns:
        A functional model of plain Keras layers with the same outputs up to rounding. It should not
        be trained further, since it has no batch norm, and shares no weights with `model`.

    Raises:
        UnsupportedLayerError: If the model has a layer that `trace` does not support.

    Example:
        >>> from keras_facealign.models import SATFaceAlign
        >>> folded = fold_batch_norm(SATFaceAlign(stacks=1, width=0.125))
        >>> any(isinstance(x, keras.layers.BatchNormalization) for x in folded.layers)
        False
    """
    return to_keras(simplify(trace(model)), name=f"{model.name}_folded")


def to_keras(graph: Graph, name: str = "folded") -> keras.Model:
    """Builds a functional Keras model that computes a graph.

    Args:
        graph: The graph.
        name: The model's name.

    Returns:
        The model; its output is a list where the graph has several.
    """
    values: dict[int, Any] = {id(graph.input): keras.Input(graph.input.shape, name="images")}
    weights: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []
    for node in graph.nodes():
        if node.op != "input":
            result = _BUILDERS[node.op](node, [values[id(n)] for n in node.inputs], weights)
            if "activation" in node.params:
                result = getattr(ops, node.params["activation"])(result)
            values[id(node)] = result
    outputs = [values[id(node)] for node in graph.outputs]
    model = keras.Model(values[id(graph.input)], outputs if len(outputs) > 1 else outputs[0])
    model.name = name
    for layer, arrays in weights:
        layer.set_weights(arrays)
    return model


def _with_weights(layer: Any, x: Any, node: Node, kernel: np.ndarray, weights: list) -> Any:
    bias = node.params["bias"]
    weights.append((layer, [kernel] if bias is None else [kernel, bias]))
    return layer(x)


def _padded(x: Any, padding: tuple[int, int, int, int]) -> Any:
    top, bottom, left, right = padding
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(x)


def _convolution(node: Node, inputs: list[Any], weights: list) -> Any:
    p, x = node.params, inputs[0]
    kernel, depthwise = p["kernel"], node.op == "depthwise"
    if any(p["padding"]) and not node.same_padding:
        x = _padded(x, p["padding"])
    options: dict[str, Any] = {
        "padding": "same" if node.same_padding else "valid",
        "use_bias": p["bias"] is not None,
    }
    if depthwise:
        layer: Any = keras.layers.DepthwiseConv2D(kernel.shape[:2], **options)
        return _with_weights(layer, x, node, kernel[..., None], weights)
    layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], p["strides"], **options)
    return _with_weights(layer, x, node, kernel, weights)


def _transposed(node: Node, inputs: list[Any], weights: list) -> Any:
    p = node.params
    cut = any(p["padding"])
    layer = keras.layers.Conv2DTranspose(
        p["kernel"].shape[2],
        p["kernel"].shape[:2],
        strides=p["strides"],
        # "same" cuts (kernel - stride) / 2 off every side, the only padding that graphs have here.
        padding="same" if cut else "valid",
        use_bias=p["bias"] is not None,
    )
    return _with_weights(layer, inputs[0], node, p["kernel"], weights)


def _affine(node: Node, inputs: list[Any], weights: list) -> Any:
    return inputs[0] * node.params["scale"] + node.params["shift"]


def _sum(node: Node, inputs: list[Any], weights: list) -> Any:
    parts = [x if w == 1.0 else x * w for x, w in zip(inputs, node.params["weights"], strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


_BUILDERS = {
    "conv": _convolution,
    "depthwise": _convolution,
    "deconv": _transposed,
    "affine": _affine,
    "sum": _sum,
    "concat": lambda node, inputs, weights: ops.concatenate(inputs, axis=-1),
    "multiply": lambda node, inputs, weights: inputs[0] * inputs[1],
    "relu": lambda node, inputs, weights: ops.relu(inputs[0]),
    "sigmoid": lambda node, inputs, weights: ops.sigmoid(inputs[0]),
    "max_pool": lambda node, inputs, weights: ops.max_pool(
        inputs[0], node.params["size"], node.params["size"], "valid"
    ),
    "pad": lambda node, inputs, weights: _padded(inputs[0], node.params["padding"]),
    "layer": lambda node, inputs, weights: node.params["layer"](inputs[0]),
    "upsample": lambda node, inputs, weights: keras.layers.UpSampling2D(node.params["size"])(
        inputs[0]
    ),
    "global_average": lambda node, inputs, weights: ops.mean(inputs[0], axis=(1, 2), keepdims=True),
}
