"""A network as a plain graph of arithmetic with NumPy weights, without layers inside layers.

`trace` walks a Keras model down to the operations that it is made of. What runs the graph next (a
Keras model again, or another runtime) needs to know these dozen operations and no layer of ours:

=============== ============================================ ======================================
operation       parameters                                   meaning
=============== ============================================ ======================================
input
conv            kernel (kh, kw, in, out), bias, strides,     convolution on the zero-padded input
                padding
depthwise       kernel (kh, kw, channels), bias, padding     every channel on its own, stride 1
deconv          kernel (kh, kw, out, in), bias, strides,     transposed convolution, `padding`
                padding                                      pixels cut off its full output
affine          scale (channels,), shift (channels,)         x * scale + shift
sum             weights, one number an input                 weighted sum of tensors of equal shape
concat                                                       along the channels
multiply                                                     product of two, (1, 1) maps broadcast
relu, sigmoid
max_pool        size                                         of size x size pixels, stride size
pad             padding                                      zeros around
upsample        size                                         every pixel becomes size x size
global_average                                               mean of all pixels, shape (1, 1, C)
layer           layer, a Keras layer                         what none of the above can say, where
                                                             `trace` was asked to keep such layers
=============== ============================================ ======================================

`conv`, `depthwise`, `deconv`, `affine` and `sum` may also carry `activation`, "relu" or "sigmoid".
`padding` is (top, bottom, left, right).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["Graph", "Node", "UnsupportedLayerError", "trace"]

Shape = tuple[int, int, int]


class UnsupportedLayerError(FaceAlignError):
    """A network has an operation that a plain graph does not know."""


@dataclass(eq=False)
class Node:
    """One operation and its result.

    Args:
        op: Name of the operation, see the module.
        inputs: Where its operands come from.
        shape: Height, width and channels of the result, without the batch.
        params: What the operation needs besides: weights as float32 arrays, strides and so on.
        name: Of the layer that it came from, for error messages and exported files.
    """

    op: str
    inputs: list[Node]
    shape: Shape
    params: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def macs(self) -> int:
        """Multiply-adds of a convolution for one image; 0 for other operations."""
        if self.op not in ("conv", "depthwise", "deconv"):
            return 0
        height, width, _ = (self.inputs[0] if self.op == "deconv" else self).shape
        return self.params["kernel"].size * height * width


@dataclass
class Graph:
    """A network with one image as its input.

    Args:
        input: The input's node.
        outputs: The nodes that hold the results, in order.
    """

    input: Node
    outputs: list[Node]

    def nodes(self) -> list[Node]:
        """All nodes that the outputs need, each after its operands."""
        order: list[Node] = []
        seen: set[int] = set()
        # A stack of iterators instead of recursion: a network is deeper than Python's call stack.
        stack: list[tuple[Node, Iterator[Node]]] = []
        for root in [self.input, *self.outputs]:
            if id(root) not in seen:
                seen.add(id(root))
                stack.append((root, iter(root.inputs)))
            while stack:
                node, operands = stack[-1]
                operand = next(operands, None)
                if operand is None:
                    order.append(node)
                    stack.pop()
                elif id(operand) not in seen:
                    seen.add(id(operand))
                    stack.append((operand, iter(operand.inputs)))
        return order

    def users(self) -> dict[int, int]:
        """How often each node's result is used, by `id`; being an output counts too."""
        counts = {id(node): 0 for node in self.nodes()}
        for node in self.nodes():
            for operand in node.inputs:
                counts[id(operand)] += 1
        for node in self.outputs:
            counts[id(node)] += 1
        return counts

    def macs(self) -> int:
        """Multiply-adds of the convolutions for one image."""
        return sum(node.macs for node in self.nodes())


def trace(model: keras.Model, keep_layers: bool = False) -> Graph:
    """Takes a model apart into a graph for inference.

    Args:
        model: A functional model with one image as input, such as any `FaceAlignModel`. Layers that
            the graph has no operation for are looked into.
        keep_layers: Whether layers from one map to another that are more than the graph's
            operations, such as deformable convolutions, become operations of their own.

    Returns:
        The graph; weights are copies, but for those of layers that are kept.

    Raises:
        UnsupportedLayerError: If something in the model has no counterpart in the graph, as
            deformable convolutions (unless kept) and spatial transformers have none.

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
    """Nodes of symbolic tensors, given those of the tensors that they are computed from."""
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
    # Keras's own classes by name: those of `keras.ops` are not public.
    rule = _RULES.get(kind) if type(operation).__module__.startswith("keras.") else None
    if rule is not None:
        return rule(operation, operands, arguments, shape)
    if isinstance(operation, keras.layers.Layer) and len(operands) == 1:
        try:
            return _look_into(operation, operands[0], keep_layers)
        except UnsupportedLayerError:
            if not keep_layers:
                raise
            return Node("layer", operands, shape, {"layer": operation}, operation.path)
    raise UnsupportedLayerError(f"{operation.name!r} ({kind}) has no place in a plain graph.")


def _look_into(layer: keras.layers.Layer, operand: Node, keep_layers: bool) -> Node:
    """Lowers what a composite layer does in its `call`."""
    inside = keras.KerasTensor((None, *operand.shape), "float32")
    options = {"training": False} if "training" in inspect.signature(layer.call).parameters else {}
    try:
        result = layer.call(inside, **options)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # no symbolic tensors
        raise UnsupportedLayerError(
            f"{layer.name!r} ({type(layer).__name__}) does more than Keras operations."
        ) from error
    if not isinstance(result, keras.KerasTensor):
        raise UnsupportedLayerError(f"Layer {layer.name!r} does not give one tensor.")
    (node,) = _lower([result], [(inside, operand)], keep_layers)
    return node


# ---- one rule an operation ----------------------------------------------------------------------


def _array(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable), np.float32)


def _activated(node: Node, layer: Any) -> Node:
    name = getattr(layer.activation, "__name__", "")
    if name == "linear":
        return node
    if name not in ("relu", "sigmoid"):
        raise UnsupportedLayerError(f"Layer {layer.name!r} has activation {name!r}.")
    return Node(name, [node], node.shape, name=layer.name)


def _bias(layer: Any) -> np.ndarray | None:
    return _array(layer.bias) if layer.use_bias else None


def _require(condition: bool, layer: Any, what: str) -> None:
    if not condition:
        raise UnsupportedLayerError(f"{layer.name!r} {what}.")


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padding(layer: Any, shape: Shape) -> tuple[int, int, int, int]:
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    rows = _same_padding(shape[0], layer.kernel_size[0], layer.strides[0])
    columns = _same_padding(shape[1], layer.kernel_size[1], layer.strides[1])
    return (*rows, *columns)


def _convolution(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    _require(tuple(layer.dilation_rate) == (1, 1) and layer.groups == 1, layer, "is dilated")
    params = {
        "kernel": _array(layer.kernel),
        "bias": _bias(layer),
        "strides": tuple(layer.strides),
        "padding": _padding(layer, operands[0].shape),
    }
    return _activated(Node("conv", operands, shape, params, layer.path), layer)


def _depthwise(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    plain = tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
    _require(plain and layer.depth_multiplier == 1, layer, "is strided, dilated or widens")
    params = {
        "kernel": _array(layer.kernel)[..., 0],
        "bias": _bias(layer),
        "padding": _padding(layer, operands[0].shape),
    }
    return _activated(Node("depthwise", operands, shape, params, layer.path), layer)


def _transposed(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    _require(tuple(layer.kernel_size) == tuple(layer.strides), layer, "overlaps or leaves gaps")
    params = {
        "kernel": _array(layer.kernel),
        "bias": _bias(layer),
        "strides": tuple(layer.strides),
        "padding": (0, 0, 0, 0),
    }
    return _activated(Node("deconv", operands, shape, params, layer.path), layer)


def _batch_norm(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    # In double precision: the folded network is to differ by rounding alone.
    mean, variance = (
        _array(v).astype(np.float64) for v in (layer.moving_mean, layer.moving_variance)
    )
    gamma = _array(layer.gamma).astype(np.float64) if layer.scale else 1.0
    beta = _array(layer.beta).astype(np.float64) if layer.center else 0.0
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return _affine(operands[0], scale, beta - mean * scale, layer.path)


def _affine(operand: Node, scale: Any, shift: Any, name: str) -> Node:
    channels = operand.shape[2]
    params = {
        "scale": np.broadcast_to(scale, channels).astype(np.float32),
        "shift": np.broadcast_to(shift, channels).astype(np.float32),
    }
    return Node("affine", [operand], operand.shape, params, name)


def _rescaling(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    return _affine(operands[0], layer.scale, layer.offset, layer.path)


def _zero_padding(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    (top, bottom), (left, right) = layer.padding
    return Node("pad", operands, shape, {"padding": (top, bottom, left, right)}, layer.path)


def _pad(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    batch, rows, columns, channels = operation.pad_width
    only_maps = tuple(batch) == tuple(channels) == (0, 0) and operation.mode == "constant"
    values = [*arguments.args[1:], *arguments.kwargs.values()]
    zeros = all(value is None or value == 0 for value in values)
    _require(only_maps and zeros, operation, "pads otherwise than with zeros around maps")
    return Node("pad", operands, shape, {"padding": (*rows, *columns)}, operation.name)


def _add(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    _require(len(operands) == 2, operation, "adds a constant")
    _require(all(node.shape == shape for node in operands), operation, "broadcasts its operands")
    return Node("sum", operands, shape, {"weights": [1.0, 1.0]}, operation.name)


def _constant(arguments: Any, operation: Any) -> float:
    """The number among the two operands of an operation."""
    numbers = [v for v in arguments.args if not isinstance(v, keras.KerasTensor)]
    _require(len(numbers) == 1 and np.ndim(numbers[0]) == 0, operation, "has an array as operand")
    return float(numbers[0])


def _multiply(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    if len(operands) == 2:
        return Node("multiply", operands, shape, name=operation.name)
    weights = [_constant(arguments, operation)]
    return Node("sum", operands, shape, {"weights": weights}, operation.name)


def _divide(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    by_constant = len(operands) == 1 and isinstance(arguments.args[0], keras.KerasTensor)
    _require(by_constant, operation, "divides by a tensor")
    weights = [1.0 / _constant(arguments, operation)]
    return Node("sum", operands, shape, {"weights": weights}, operation.name)


def _concatenate(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    _require(operation.axis in (-1, 3), operation, "joins another axis than the channels")
    return Node("concat", operands, shape, name=operation.name)


def _max_pool(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    size = _pair(operation.pool_size)
    strides = _pair(operation.strides or operation.pool_size)
    _require(size[0] == size[1] and size == strides, operation, "overlaps")
    height, width, _ = operands[0].shape
    fits = height % size[0] == 0 and width % size[1] == 0
    _require(fits, operation, "does not divide its maps")
    return Node("max_pool", operands, shape, {"size": size[0]}, operation.name)


def _upsampling(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    size = _pair(layer.size)
    _require(layer.interpolation == "nearest" and size[0] == size[1], layer, "interpolates")
    return Node("upsample", operands, shape, {"size": size[0]}, layer.path)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _elementwise(name: str) -> Callable[..., Node]:
    def rule(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
        return Node(name, operands, shape, name=operation.name)

    return rule


def _mean(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    axes = operation.axis if isinstance(operation.axis, (tuple, list)) else (operation.axis,)
    _require(sorted(axes) == [1, 2], operation, "averages other axes than height and width")
    return Node("global_average", operands, (1, 1, shape[2]), name=operation.name)


def _activation_layer(layer: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    return _activated(operands[0], layer)


def _same(operation: Any, operands: list[Node], arguments: Any, shape: Shape) -> Node:
    return operands[0]


_RULES: dict[str, Callable[..., Node]] = {
    "Activation": _activation_layer,
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "MaxPool": _max_pool,
    "MaxPooling2D": _max_pool,
    "Mean": _mean,
    "Multiply": _multiply,
    "Pad": _pad,
    "ReLU": _elementwise("relu"),
    "Relu": _elementwise("relu"),
    "Rescaling": _rescaling,
    "Sigmoid": _elementwise("sigmoid"),
    "TrueDivide": _divide,
    "Divide": _divide,
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
