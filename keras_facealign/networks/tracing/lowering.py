"""Traces Keras models into plain graphs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_facealign.layers.batch_norm import BatchNormalization
from keras_facealign.networks.tracing.graph import Graph, Node, Shape, UnsupportedLayerError


def trace(model: keras.Model, keep_layers: bool = False) -> Graph:
    """Makes a graph for inference from a model.

    Args:
        model: A functional model with one image as input, such as any `FaceAlignModel`. Composite
            layers are traced through their `call`.
        keep_layers: Whether layers that cannot be expressed by the graph's operations, such as
            deformable convolutions, become nodes of the operation `layer`.

    Returns:
        The graph; weights are copies, except those of layers that are kept.

    Raises:
        UnsupportedLayerError: If the model has an operation that the graph has not, such as
            deformable convolutions (unless kept) and spatial transformers.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> graph = trace(keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs)))
        >>> [node.op for node in graph.nodes()]
        ['input', 'conv']
    """
    image = Node("input", [], _shape(model.inputs[0]), name="images")
    outputs = _lower(list(model.outputs), [(model.inputs[0], image)], keep_layers)
    return Graph(image, outputs)


def _lower(tensors: list[Any], known: list[tuple[Any, Node]], keep_layers: bool) -> list[Node]:
    """Returns the nodes of symbolic tensors, given the nodes that they are computed from."""
    found = {id(tensor): node for tensor, node in known}
    waiting = list(reversed(tensors))
    while waiting:
        tensor = waiting[-1]
        if id(tensor) in found:
            waiting.pop()
            continue
        history = tensor._keras_history
        call = history.operation._inbound_nodes[history.node_index]
        missing = [t for t in call.input_tensors if id(t) not in found]
        if missing:
            waiting += missing
            continue
        operands = [found[id(t)] for t in call.input_tensors]
        shape = _shape(tensor)
        node = _lower_call(history.operation, operands, call.arguments, shape, keep_layers)
        found[id(tensor)] = node
    return [found[id(tensor)] for tensor in tensors]


def _shape(tensor: Any) -> Shape:
    shape = tuple(tensor.shape)
    if len(shape) == 2:  # after a pooling that drops the spatial axes
        return (1, 1, int(shape[1]))
    if len(shape) != 4 or None in shape[1:]:
        raise UnsupportedLayerError(
            f"{tensor.name} has shape {shape}; a plain graph needs maps of a fixed size."
        )
    return (int(shape[1]), int(shape[2]), int(shape[3]))


def _lower_call(
    operation: Any, operands: list[Node], arguments: Any, shape: Shape, keep_layers: bool
) -> Node:
    kind = type(operation).__name__
    # By name, since the classes of `keras.ops` are not public.
    known = type(operation).__module__.startswith("keras.") or type(operation) is BatchNormalization
    rule = _RULES.get(kind) if known else None
    if rule is not None:
        return rule(_Call(operation, operands, arguments, shape))
    if isinstance(operation, keras.layers.Layer) and len(operands) == 1:
        try:
            return _look_into(operation, operands[0], keep_layers)
        except UnsupportedLayerError:
            if not keep_layers:
                raise
            return Node("layer", operands, shape, {"layer": operation}, operation.path)
    raise UnsupportedLayerError(f"{operation.name!r} ({kind}) has no place in a plain graph.")


def _look_into(layer: keras.layers.Layer, operand: Node, keep_layers: bool) -> Node:
    """Lowers the `call` of a composite layer."""
    inside = keras.KerasTensor((None, *operand.shape), "float32")
    options = {"training": False} if "training" in inspect.signature(layer.call).parameters else {}
    try:
        result = layer.call(inside, **options)
    except (
        AttributeError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # fails on symbolic tensors
        raise UnsupportedLayerError(
            f"{layer.name!r} ({type(layer).__name__}) does more than Keras operations."
        ) from error
    if not isinstance(result, keras.KerasTensor):
        raise UnsupportedLayerError(f"Layer {layer.name!r} does not give one tensor.")
    (node,) = _lower([result], [(inside, operand)], keep_layers)
    return node


# ---- one rule per operation ---------------------------------------------------------------------


@dataclass
class _Call:
    """A call of a Keras operation or layer."""

    operation: Any
    operands: list[Node]
    arguments: Any
    shape: Shape

    def node(self, op: str, name: str | None = None, **params: Any) -> Node:
        return Node(op, self.operands, self.shape, params, name or self.operation.name)

    def require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise UnsupportedLayerError(f"{self.operation.name!r} {problem}.")

    def constant(self) -> float:
        """Returns the number among the two operands of an operation."""
        numbers = [v for v in self.arguments.args if not isinstance(v, keras.KerasTensor)]
        self.require(len(numbers) == 1 and np.ndim(numbers[0]) == 0, "has an array as operand")
        return float(numbers[0])


def _array(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable), np.float32)


def _activated(node: Node, layer: Any) -> Node:
    name = getattr(layer.activation, "__name__", "")
    if name == "linear":
        return node
    if name not in ("relu", "sigmoid"):
        raise UnsupportedLayerError(f"Layer {layer.name!r} has activation {name!r}.")
    return Node(name, [node], node.shape, name=layer.name)


def _padding(layer: Any, shape: Shape) -> tuple[int, ...]:
    """Returns (top, bottom, left, right)."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    sides: list[int] = []
    for size, kernel, stride in zip(shape, layer.kernel_size, layer.strides, strict=False):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return tuple(sides)


def _convolution_node(call: _Call, op: str, **params: Any) -> Node:
    """Makes the node of a convolution layer, followed by its activation."""
    layer = call.operation
    kernel = params.pop("kernel", None)
    params = {
        "kernel": _array(layer.kernel) if kernel is None else kernel,
        "bias": _array(layer.bias) if layer.use_bias else None,
        **params,
    }
    params.setdefault("padding", _padding(layer, call.operands[0].shape))
    return _activated(call.node(op, layer.path, **params), layer)


def _convolution(call: _Call) -> Node:
    layer = call.operation
    call.require(tuple(layer.dilation_rate) == (1, 1) and layer.groups == 1, "is dilated")
    return _convolution_node(call, "conv", strides=tuple(layer.strides))


def _depthwise(call: _Call) -> Node:
    layer = call.operation
    plain = tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
    call.require(plain and layer.depth_multiplier == 1, "is strided, dilated or widens")
    return _convolution_node(call, "depthwise", kernel=_array(layer.kernel)[..., 0])


def _transposed(call: _Call) -> Node:
    strides = tuple(call.operation.strides)
    call.require(tuple(call.operation.kernel_size) == strides, "overlaps or leaves gaps")
    return _convolution_node(call, "deconv", strides=strides, padding=(0, 0, 0, 0))


def _affine(call: _Call, scale: Any, shift: Any) -> Node:
    channels = call.operands[0].shape[2]
    scale, shift = (np.broadcast_to(v, channels).astype(np.float32) for v in (scale, shift))
    return call.node("affine", call.operation.path, scale=scale, shift=shift)


def _batch_norm(call: _Call) -> Node:
    layer = call.operation
    # In float64, so that the folded network differs by rounding only.
    mean, variance = (
        _array(v).astype(np.float64) for v in (layer.moving_mean, layer.moving_variance)
    )
    gamma = _array(layer.gamma).astype(np.float64) if layer.scale else 1.0
    beta = _array(layer.beta).astype(np.float64) if layer.center else 0.0
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return _affine(call, scale, beta - mean * scale)


def _zero_padding(call: _Call) -> Node:
    rows, columns = call.operation.padding
    return call.node("pad", call.operation.path, padding=(*rows, *columns))


def _pad(call: _Call) -> Node:
    batch, rows, columns, channels = call.operation.pad_width
    only_maps = tuple(batch) == tuple(channels) == (0, 0) and call.operation.mode == "constant"
    values = [*call.arguments.args[1:], *call.arguments.kwargs.values()]
    zeros = all(value is None or value == 0 for value in values)
    call.require(only_maps and zeros, "pads otherwise than with zeros around maps")
    return call.node("pad", padding=(*rows, *columns))


def _add(call: _Call) -> Node:
    call.require(len(call.operands) == 2, "adds a constant")
    same = all(node.shape == call.shape for node in call.operands)
    call.require(same, "broadcasts its operands")
    return call.node("sum", weights=[1.0, 1.0])


def _multiply(call: _Call) -> Node:
    if len(call.operands) == 2:
        return call.node("multiply")
    return call.node("sum", weights=[call.constant()])


def _divide(call: _Call) -> Node:
    tensor_first = isinstance(call.arguments.args[0], keras.KerasTensor)
    call.require(len(call.operands) == 1 and tensor_first, "divides by a tensor")
    return call.node("sum", weights=[1.0 / call.constant()])


def _concatenate(call: _Call) -> Node:
    call.require(call.operation.axis in (-1, 3), "joins another axis than the channels")
    return call.node("concat")


def _max_pool(call: _Call) -> Node:
    size = _pair(call.operation.pool_size)
    strides = _pair(call.operation.strides or call.operation.pool_size)
    call.require(size[0] == size[1] and size == strides, "overlaps")
    height, width, _ = call.operands[0].shape
    call.require(height % size[0] == width % size[0] == 0, "does not divide its maps")
    return call.node("max_pool", size=size[0])


def _upsampling(call: _Call) -> Node:
    layer, size = call.operation, _pair(call.operation.size)
    call.require(layer.interpolation == "nearest" and size[0] == size[1], "interpolates")
    return call.node("upsample", layer.path, size=size[0])


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _mean(call: _Call) -> Node:
    axes = call.operation.axis
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    call.require(sorted(axes) == [1, 2], "averages other axes than height and width")
    call.shape = (1, 1, call.shape[2])
    return call.node("global_average")


_RULES: dict[str, Callable[[_Call], Node]] = {
    "Activation": lambda call: _activated(call.operands[0], call.operation),
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "DepthwiseConv2D": _depthwise,
    "Divide": _divide,
    "Dropout": lambda call: call.operands[0],
    "MaxPool": _max_pool,
    "MaxPooling2D": _max_pool,
    "Mean": _mean,
    "Multiply": _multiply,
    "Pad": _pad,
    "ReLU": lambda call: call.node("relu"),
    "Relu": lambda call: call.node("relu"),
    "Rescaling": lambda call: _affine(call, call.operation.scale, call.operation.offset),
    "Sigmoid": lambda call: call.node("sigmoid"),
    "TrueDivide": _divide,
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
