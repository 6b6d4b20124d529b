"""Plain graphs: a network as a few arithmetic operations with NumPy weights, without layers.

`trace` makes a graph from a Keras model. Code that runs a graph (a Keras model again, or another
runtime) needs to support these operations only, and no layer of this package:

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
layer           layer, a Keras layer                         a layer that has none of the above
                                                             operations, for `keep_layers` only
=============== ============================================ ======================================

`conv`, `depthwise`, `deconv`, `affine` and `sum` may also carry `activation`, "relu" or "sigmoid".
`padding` is (top, bottom, left, right).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keras_facealign.errors import FaceAlignError

Shape = tuple[int, int, int]


class UnsupportedLayerError(FaceAlignError):
    """Raised where a network has an operation that plain graphs do not have."""


@dataclass(eq=False)
class Node:
    """One operation and its result.

    Args:
        op: Name of the operation, see the module.
        inputs: The nodes whose results are its operands.
        shape: Height, width and channels of the result, without the batch.
        params: The operation's parameters, see the module; weights are float32 arrays.
        name: Name of the layer that it was made from, for error messages and exported files.
    """

    op: str
    inputs: list[Node]
    shape: Shape
    params: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def same_padding(self) -> bool:
        """Whether a convolution has padding, and that is what Keras and TensorFlow call "same"."""
        rows, columns = self.params["kernel"].shape[:2]
        halves = (rows // 2, rows // 2, columns // 2, columns // 2)
        strides = tuple(self.params.get("strides", (1, 1)))
        odd = rows % 2 == columns % 2 == 1
        return odd and any(halves) and strides == (1, 1) and self.params["padding"] == halves

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
        outputs: The nodes of the results, in order.
    """

    input: Node
    outputs: list[Node]

    def nodes(self) -> list[Node]:
        """Returns all nodes that the outputs need, each after its operands."""
        order: list[Node] = []
        seen: set[int] = set()
        # A stack of iterators, since networks are deeper than Python's recursion limit.
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
        """Returns how often each node's result is used, also as an output, by `id`."""
        counts = {id(node): 0 for node in self.nodes()}
        for node in self.nodes():
            for operand in node.inputs:
                counts[id(operand)] += 1
        for node in self.outputs:
            counts[id(node)] += 1
        return counts

    def macs(self) -> int:
        """Returns the multiply-adds of the convolutions for one image."""
        return sum(node.macs for node in self.nodes())
