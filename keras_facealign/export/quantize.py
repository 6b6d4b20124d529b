"""Plain graphs in TensorFlow with the rounding of int8 written in, for TFLite's converter.

The converter computes in int8 what lies between nodes that say in which range a tensor lives
("fake quantization"), and in float what does not. So the choice is made here, node by node: the
convolutions and all that joins them are int8; layers that the graph does not know (deformable
sampling), the convolutions that give the logits, and the decoding after them are float.

Weights have a scale for every output channel, tensors one scale. A tensor's range is the widest
that calibration faces showed, by `observe`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_facealign.networks.tracing.graph import Graph, Node

__all__ = ["evaluate", "fake_quantized", "observe"]

# A tensor's place: the node, and for sums which of their partial results.
Place = tuple[int, int]
Mark = Callable[[Place, Any], Any]
Ranges = dict[Place, tuple[float, float]]

# TFLite's int8 sigmoid has this range and no other.
_SIGMOID_RANGE = (0.0, 255.0 / 256.0)
# These hand their operand's values on, and with them its range.
_SAME_RANGE = ("max_pool", "pad", "upsample", "concat")
_BATCH = 16


def evaluate(
    graph: Graph, images: Any, mark: Mark = lambda place, value: value, rounded: bool = False
) -> Any:
    """Computes the last output of a graph with TensorFlow.

    Args:
        graph: The graph.
        images: float32 (B, S, S, 3), a TensorFlow tensor.
        mark: Is given every tensor that may be quantized, and returns what to go on with.
        rounded: Whether the weights of marked nodes are rounded to int8.

    Returns:
        float32 (B, H, W, C).
    """
    import tensorflow as tf

    outputs = {id(node) for node in graph.outputs}
    values: dict[int, Any] = {}
    for node in graph.nodes():
        if node.op == "input":
            values[id(node)] = images
            continue
        operands = [values[id(operand)] for operand in node.inputs]
        low = rounded and id(node) not in outputs
        if node.op == "sum":
            result = _sum(node, operands, mark)
        else:
            result = _OPERATIONS[node.op](node, operands, _kernel if low else tf.constant)
        if node.params.get("bias") is not None:
            repeats = result.shape[-1] // node.shape[2]
            result = tf.nn.bias_add(result, tf.constant(np.tile(node.params["bias"], repeats)))
        if "activation" in node.params:
            result = getattr(tf.nn, node.params["activation"])(result)
        if node.op not in _SAME_RANGE and id(node) not in outputs:
            result = mark((id(node), -1), result)
        if node.op == "deconv":
            result = tf.nn.depth_to_space(result, node.params["strides"][0])
        values[id(node)] = result
    return values[id(graph.outputs[-1])]


def observe(graph: Graph, images: np.ndarray) -> Ranges:
    """The range of every tensor of a graph over some images.

    Args:
        graph: The graph.
        images: uint8 (N, S, S, 3).

    Returns:
        Least and greatest value by place; 0 always lies between them.
    """
    import tensorflow as tf

    places: list[Place] = []

    @tf.function(input_signature=[tf.TensorSpec((None, *graph.input.shape), tf.float32)])
    def extremes(batch: Any) -> Any:
        found = []
        places.clear()

        def mark(place: Place, value: Any) -> Any:
            places.append(place)
            found.append(tf.stack([tf.reduce_min(value), tf.reduce_max(value)]))
            return value

        evaluate(graph, batch, mark)
        return tf.stack(found)

    parts = [
        extremes(images[i : i + _BATCH].astype(np.float32)).numpy()
        for i in range(0, len(images), _BATCH)
    ]
    low = np.minimum(np.min(parts, axis=0)[:, 0], 0.0)
    high = np.maximum(np.max(parts, axis=0)[:, 1], low + 1e-6)
    return {p: (float(a), float(b)) for p, a, b in zip(places, low, high, strict=True)}


def fake_quantized(graph: Graph, ranges: Ranges) -> Callable[[Any], Any]:
    """The network with the rounding of int8 written in.

    Args:
        graph: The graph, as given to `observe`.
        ranges: What `observe` returned.

    Returns:
        A function of images, float32 (B, S, S, 3), for a TensorFlow graph.
    """
    import tensorflow as tf

    sigmoids = {
        id(node)
        for node in graph.nodes()
        if node.op == "sigmoid" or node.params.get("activation") == "sigmoid"
    }

    def mark(place: Place, value: Any) -> Any:
        low, high = _SIGMOID_RANGE if place[0] in sigmoids else ranges[place]
        return tf.quantization.fake_quant_with_min_max_args(value, low, high)

    return lambda images: evaluate(graph, images, mark, rounded=True)


def _kernel(kernel: np.ndarray) -> Any:
    """A kernel rounded to 255 steps in every output channel, which are its last axis."""
    import tensorflow as tf

    reach = np.maximum(np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))), 1e-6)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -reach, reach, narrow_range=True
    )


# ---- one function an operation ------------------------------------------------------------------


def _padded(node: Node, x: Any) -> tuple[Any, Any]:
    """The operand, padded where "SAME" does not say the same, and what to call the rest."""
    import tensorflow as tf

    top, bottom, left, right = node.params["padding"]
    rows, columns = node.params["kernel"].shape[:2]
    strides = tuple(node.params.get("strides", (1, 1)))
    if not any(node.params["padding"]):
        return x, "VALID"
    halves = (rows // 2, rows // 2, columns // 2, columns // 2)
    if strides == (1, 1) and rows % 2 and columns % 2 and (top, bottom, left, right) == halves:
        return x, "SAME"
    return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]]), "VALID"


def _convolution(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    x, padding = _padded(node, inputs[0])
    return tf.nn.conv2d(x, weights(node.params["kernel"]), node.params["strides"], padding)


def _depthwise(node: Node, inputs: list[Any], weights: Any) -> Any:
    x, padding = _padded(node, inputs[0])
    return _by_channel(x, node.params["kernel"], weights, padding)


def _by_channel(x: Any, kernel: np.ndarray, weights: Any, padding: str) -> Any:
    """A depthwise convolution with a kernel (kh, kw, channels)."""
    import tensorflow as tf

    # Rounded in the shape that TFLite keeps it in: scales do not follow their axis elsewhere.
    shaped = tf.reshape(weights(kernel[None]), (*kernel.shape, 1))
    return tf.nn.depthwise_conv2d(x, shaped, [1, 1, 1, 1], padding)


def _transposed(node: Node, inputs: list[Any], weights: Any) -> Any:
    """The pixels that one pixel becomes, as channels; `evaluate` then lays them out."""
    import tensorflow as tf

    # As a 1x1 convolution, every output channel has a scale of its own.
    kernel = np.moveaxis(node.params["kernel"], -1, 0)  # (in, kh, kw, out)
    kernel = kernel.reshape(1, 1, len(kernel), -1)
    return tf.nn.conv2d(inputs[0], weights(kernel), 1, "VALID")


def _affine(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    if node.inputs[0].op == "input":
        return inputs[0] * node.params["scale"] + node.params["shift"]
    # As a depthwise convolution, every channel has a scale of its own.
    kernel = node.params["scale"].reshape(1, 1, -1)
    result = _by_channel(inputs[0], kernel, weights, "VALID")
    return tf.nn.bias_add(result, node.params["shift"])


def _sum(node: Node, operands: list[Any], mark: Mark) -> Any:
    """Adds up one operand after the other: TFLite knows sums of two."""
    total: Any = None
    for i, (x, weight) in enumerate(zip(operands, node.params["weights"], strict=True)):
        part = x if weight == 1.0 else mark((id(node), 2 * i), x * weight)
        if total is None:
            total = part
            continue
        total = total + part
        if i < len(operands) - 1:
            total = mark((id(node), 2 * i + 1), total)
    return total


def _pad(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    top, bottom, left, right = node.params["padding"]
    return tf.pad(inputs[0], [[0, 0], [top, bottom], [left, right], [0, 0]])


def _pool(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    size = node.params["size"]
    return tf.nn.max_pool2d(inputs[0], size, size, "VALID")


def _upsample(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    # Corners on corners, which every runtime knows; for whole factors centers would say the same.
    return tf.raw_ops.ResizeNearestNeighbor(images=inputs[0], size=node.shape[:2])


def _join(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    return tf.concat(inputs, -1)


def _average(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(inputs[0], (1, 2), keepdims=True)


def _activation(node: Node, inputs: list[Any], weights: Any) -> Any:
    import tensorflow as tf

    return getattr(tf.nn, node.op)(inputs[0])


_OPERATIONS: dict[str, Callable[[Node, list[Any], Any], Any]] = {
    "conv": _convolution,
    "depthwise": _depthwise,
    "deconv": _transposed,
    "affine": _affine,
    "concat": _join,
    "multiply": lambda node, inputs, weights: inputs[0] * inputs[1],
    "relu": _activation,
    "sigmoid": _activation,
    "max_pool": _pool,
    "pad": _pad,
    "upsample": _upsample,
    "global_average": _average,
    "layer": lambda node, inputs, weights: node.params["layer"](inputs[0]),
}
