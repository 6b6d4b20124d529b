"""Runs plain graphs in TensorFlow with int8 rounding ("fake quantization"), for TFLite's converter.

The converter computes in int8 between nodes of fake quantization, which give a tensor's range, and
in float elsewhere. The choice is made here, node by node: convolutions and the operations between
them are int8; kept layers (deformable sampling), the convolutions that give the logits, and the
decoding are float.

Weights have one scale per output channel, tensors one scale. A tensor's range is the widest over
calibration faces, as measured by `calibrate_ranges`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from keras_facealign.networks.tracing.graph import Graph, Node

# Identifies a tensor: the `id` of its node, and for sums which partial result.
Place = tuple[int, int]
Mark = Callable[[Place, Any], Any]
# Computes a node from (node, operands, function that rounds weights).
_Operation = Callable[[Node, list[Any], Any], Any]
Ranges = dict[Place, tuple[float, float]]

# TFLite's int8 sigmoid only supports this range.
_SIGMOID_RANGE = (0.0, 255.0 / 256.0)
# The results of these keep the range of their operand.
_SAME_RANGE = ("max_pool", "pad", "upsample", "concat")
_BATCH = 16


def evaluate(
    graph: Graph, images: Any, mark: Mark = lambda place, value: value, rounded: bool = False
) -> Any:
    """Computes the last output of a graph with TensorFlow.

    Args:
        graph: The graph.
        images: float32 (B, S, S, 3), a TensorFlow tensor.
        mark: Called with place and value of every tensor that may be quantized; its result replaces
            the value.
        rounded: Whether the weights of marked nodes are rounded to int8.

    Returns:
        float32 (B, H, W, C).
    """
    import tensorflow as tf

    outputs = {id(node) for node in graph.outputs}
    values: dict[int, Any] = {}
    operations = _operations()
    for node in graph.nodes():
        if node.op == "input":
            values[id(node)] = images
            continue
        operands = [values[id(operand)] for operand in node.inputs]
        low = rounded and id(node) not in outputs
        if node.op == "sum":
            result = _sum(node, operands, mark)
        else:
            result = operations[node.op](node, operands, _kernel if low else tf.constant)
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


def calibrate_ranges(graph: Graph, images: np.ndarray) -> Ranges:
    """Measures the range of every tensor of a graph over calibration images.

    Args:
        graph: The graph.
        images: uint8 (N, S, S, 3).

    Returns:
        Minimum and maximum by place; 0 is always inside.
    """
    import tensorflow as tf

    places: list[Place] = []

    @tf.function(
        input_signature=[tf.TensorSpec((None, *graph.input.shape), tf.float32)], autograph=False
    )
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
    """Makes a function that runs the network with int8 rounding.

    Args:
        graph: The graph that `calibrate_ranges` was called with.
        ranges: The result of `calibrate_ranges`.

    Returns:
        A function from images, float32 (B, S, S, 3), to the last output, for a TensorFlow graph.
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
    """Rounds a kernel to 255 steps in every output channel, its last axis."""
    import tensorflow as tf

    reach = np.maximum(np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))), 1e-6)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -reach, reach, narrow_range=True
    )


def _sum(node: Node, operands: list[Any], mark: Mark) -> Any:
    """Adds the operands one by one, since TFLite only has sums of two."""
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


def _convolutions() -> dict[str, _Operation]:
    """Returns the TensorFlow functions of the operations with weights."""
    import tensorflow as tf

    def padded(node: Node, x: Any) -> tuple[Any, Any]:
        """Returns the operand, padded where TensorFlow cannot, and TensorFlow's padding."""
        if node.same_padding:
            return x, "SAME"
        if not any(node.params["padding"]):
            return x, "VALID"
        top, bottom, left, right = node.params["padding"]
        return tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]]), "VALID"

    def convolution(node: Node, inputs: list[Any], weights: Any) -> Any:
        x, padding = padded(node, inputs[0])
        return tf.nn.conv2d(x, weights(node.params["kernel"]), node.params["strides"], padding)

    def by_channel(x: Any, kernel: np.ndarray, weights: Any, padding: str) -> Any:
        # Rounded in TFLite's shape: TensorFlow does not move the axis of the scales on a reshape.
        shaped = tf.reshape(weights(kernel[None]), (*kernel.shape, 1))
        return tf.nn.depthwise_conv2d(x, shaped, [1, 1, 1, 1], padding)

    def depthwise(node: Node, inputs: list[Any], weights: Any) -> Any:
        x, padding = padded(node, inputs[0])
        return by_channel(x, node.params["kernel"], weights, padding)

    def transposed(node: Node, inputs: list[Any], weights: Any) -> Any:
        # As a 1x1 convolution, so that every output channel has its own scale; `evaluate` then
        # moves the result from channels to pixels.
        kernel = np.moveaxis(node.params["kernel"], -1, 0)  # (in, kh, kw, out)
        kernel = kernel.reshape(1, 1, len(kernel), -1)
        return tf.nn.conv2d(inputs[0], weights(kernel), 1, "VALID")

    def affine(node: Node, inputs: list[Any], weights: Any) -> Any:
        scale, shift = node.params["scale"], node.params["shift"]
        if node.inputs[0].op == "input":
            return inputs[0] * scale + shift
        # As a depthwise convolution, so that every channel has its own scale.
        return tf.nn.bias_add(
            by_channel(inputs[0], scale.reshape(1, 1, -1), weights, "VALID"), shift
        )

    return {
        "conv": convolution,
        "depthwise": depthwise,
        "deconv": transposed,
        "affine": affine,
    }


@cache
def _operations() -> dict[str, _Operation]:
    """Returns the TensorFlow function of each operation except sums."""
    import tensorflow as tf

    def pad(node: Node, inputs: list[Any], weights: Any) -> Any:
        top, bottom, left, right = node.params["padding"]
        return tf.pad(inputs[0], [[0, 0], [top, bottom], [left, right], [0, 0]])

    def max_pool(node: Node, inputs: list[Any], weights: Any) -> Any:
        size = node.params["size"]
        return tf.nn.max_pool2d(inputs[0], size, size, "VALID")

    def upsample(node: Node, inputs: list[Any], weights: Any) -> Any:
        # With corners aligned on corners, which all runtimes support.
        return tf.raw_ops.ResizeNearestNeighbor(images=inputs[0], size=node.shape[:2])

    return {
        **_convolutions(),
        "concat": lambda node, inputs, weights: tf.concat(inputs, -1),
        "multiply": lambda node, inputs, weights: inputs[0] * inputs[1],
        "relu": lambda node, inputs, weights: tf.nn.relu(inputs[0]),
        "sigmoid": lambda node, inputs, weights: tf.nn.sigmoid(inputs[0]),
        "max_pool": max_pool,
        "pad": pad,
        "upsample": upsample,
        "global_average": lambda node, inputs, weights: tf.reduce_mean(
            inputs[0], (1, 2), keepdims=True
        ),
        "layer": lambda node, inputs, weights: node.params["layer"](inputs[0]),
    }
