"""Exact rewritings of plain graphs that reduce the computation.

In real numbers the graph stays the same function; in float32 it differs by rounding.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.networks.tracing.graph import Graph, Node

_CONVOLUTIONS = ("conv", "depthwise", "deconv")


def simplify(graph: Graph) -> Graph:
    """Folds batch norm, activations, paddings and the weights of sums into the convolutions.

    Args:
        graph: The graph, which is changed in place.

    Returns:
        The same graph. Batch norm remains (as `affine`) only where no convolution directly precedes
        it, as in front of a pre-activation block's first convolution, or where the convolution's
        result is also used elsewhere.
    """
    _merge_padding(graph)
    _fold_affine(graph)
    _flatten_sums(graph)
    _fuse_activations(graph)
    _absorb_weights(graph)
    return graph


def _replace(graph: Graph, old: Node, new: Node) -> None:
    for node in graph.nodes():
        node.inputs = [new if operand is old else operand for operand in node.inputs]
    graph.outputs = [new if node is old else node for node in graph.outputs]


def _merge_padding(graph: Graph) -> None:
    for node in graph.nodes():
        if node.op == "conv" and node.inputs[0].op == "pad":
            pad = node.inputs[0]
            sides = zip(node.params["padding"], pad.params["padding"], strict=True)
            node.params["padding"] = tuple(a + b for a, b in sides)
            node.inputs = list(pad.inputs)


def _scale(node: Node, factor: np.ndarray | float) -> None:
    """Multiplies the result of a convolution or affine, before its activation, by channel."""
    params = node.params
    if node.op == "affine":
        params["scale"] = params["scale"] * np.float32(factor)
        params["shift"] = params["shift"] * np.float32(factor)
        return
    by_output = np.broadcast_to(np.asarray(factor, np.float64), node.shape[2])
    if node.op == "deconv":
        by_output = by_output[:, None]
    params["kernel"] = (params["kernel"] * by_output).astype(np.float32)
    if params["bias"] is not None:
        params["bias"] = (params["bias"] * np.asarray(factor, np.float64)).astype(np.float32)


def _fold_affine(graph: Graph) -> None:
    users = graph.users()
    for node in graph.nodes():
        if node.op != "affine":
            continue
        before = node.inputs[0]
        free = users[id(before)] == 1 and "activation" not in before.params
        if before.op in (*_CONVOLUTIONS, "affine") and free:
            _scale(before, node.params["scale"])
            key = "shift" if before.op == "affine" else "bias"
            own = before.params[key]
            shift = node.params["shift"]
            before.params[key] = shift.copy() if own is None else own + shift
            _replace(graph, node, before)
            users[id(before)] = users[id(node)]


def _fuse_activations(graph: Graph) -> None:
    users = graph.users()
    for node in graph.nodes():
        if node.op not in ("relu", "sigmoid"):
            continue
        before = node.inputs[0]
        free = users[id(before)] == 1 and "activation" not in before.params
        if before.op in (*_CONVOLUTIONS, "affine", "sum") and free:
            before.params["activation"] = node.op
            _replace(graph, node, before)
            users[id(before)] = users[id(node)]


def _is_repeat(node: Node) -> bool:
    """Returns whether a node concatenates a tensor with itself."""
    return node.op == "concat" and len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]


def _flatten_sums(graph: Graph) -> None:
    """Rewrites nested sums so that every tensor is read once, with its own number of channels.

    With r(y) = concat(y, y), a + r(b) + r(c + r(d)) becomes a + r((b + c) + r(d)): additions are
    made in fewer channels, and a tensor that reaches the result twice is added once.
    """
    users = _linear_users(graph)
    inner = {
        id(node)
        for node in graph.nodes()
        if (node.op == "sum" or _is_repeat(node)) and users.get(id(node), False)
    }
    for node in graph.nodes():
        if node.op == "sum" and id(node) not in inner:
            terms: dict[tuple[int, int], float] = {}
            atoms: dict[int, Node] = {}
            _collect(node, 1.0, 0, inner, terms, atoms)
            levels: list[list[tuple[float, Node]]] = [
                [] for _ in range(1 + max(level for level, _ in terms))
            ]
            for (level, key), weight in terms.items():
                levels[level].append((weight, atoms[key]))
            # From the level of the fewest channels outwards; the outermost is this node itself.
            rest: Node | None = None
            for level in range(len(levels) - 1, -1, -1):
                weights = [weight for weight, _ in levels[level]]
                operands = [atom for _, atom in levels[level]]
                if rest is not None:
                    height, width, channels = rest.shape
                    shape = (height, width, 2 * channels)
                    operands.append(Node("concat", [rest, rest], shape, name=node.name))
                    weights.append(1.0)
                if level == 0:
                    node.inputs, node.params["weights"] = operands, weights
                elif len(operands) == 1 and weights == [1.0]:
                    rest = operands[0]
                else:
                    shape = operands[0].shape
                    rest = Node("sum", operands, shape, {"weights": weights}, node.name)


def _linear_users(graph: Graph) -> dict[int, bool]:
    """Returns for each node that is used whether all its users are sums and repetitions."""
    linear = {id(node): False for node in graph.outputs}
    for node in graph.nodes():
        is_linear = node.op == "sum" or _is_repeat(node)
        for operand in node.inputs:
            linear[id(operand)] = linear.get(id(operand), True) and is_linear
    return linear


def _collect(
    node: Node,
    weight: float,
    level: int,
    inner: set[int],
    terms: dict[tuple[int, int], float],
    atoms: dict[int, Node],
) -> None:
    """Collects the weights of a sum's tensors, by how often each is repeated."""
    if node.op == "sum":
        parts = [(operand, weight * w, level) for operand, w in _weighted(node)]
    else:
        parts = [(node.inputs[0], weight, level + 1)]
    for operand, part, depth in parts:
        if id(operand) in inner or _is_repeat(operand):
            _collect(operand, part, depth, inner, terms, atoms)
        else:
            atoms[id(operand)] = operand
            key = (depth, id(operand))
            terms[key] = terms.get(key, 0.0) + part


def _weighted(node: Node) -> list[tuple[Node, float]]:
    return list(zip(node.inputs, node.params["weights"], strict=True))


def _absorb_weights(graph: Graph) -> None:
    """Moves the weights of sums into the convolutions that compute the operands.

    Positive factors commute with ReLU. Where convolutions also read an operand, their kernels are
    scaled by the inverse.
    """
    readers: dict[int, list[Node]] = {id(node): [] for node in graph.nodes()}
    for node in graph.nodes():
        for operand in node.inputs:
            readers[id(operand)].append(node)
    results = {id(node) for node in graph.outputs}
    for node in graph.nodes():
        if node.op != "sum":
            continue
        for i, (operand, weight) in enumerate(_weighted(node)):
            others = [reader for reader in readers[id(operand)] if reader is not node]
            scalable = operand.op in (*_CONVOLUTIONS, "affine")
            passes = operand.params.get("activation") in (None, "relu") and weight > 0
            alone = all(reader.op in _CONVOLUTIONS for reader in others)
            if scalable and passes and alone and id(operand) not in results and weight != 1.0:
                _scale(operand, weight)
                node.params["weights"][i] = 1.0
                for reader in others:
                    kernel = reader.params["kernel"]
                    reader.params["kernel"] = (kernel / np.float64(weight)).astype(np.float32)
        if node.params["weights"] == [1.0] and "activation" not in node.params:
            _replace(graph, node, node.inputs[0])


def merge_upsampling(graph: Graph) -> Graph:
    """Merges nearest-neighbor up-sampling and a following 3x3 convolution into a transposed one.

    After doubling, the nine taps of an output pixel read four different pixels. Adding the kernel's
    rows and columns that read the same one leaves 4/9 of the multiplications. Exact with zero
    padding of one pixel.

    Args:
        graph: The graph, which is changed in place.

    Returns:
        The same graph.
    """
    for node in graph.nodes():
        if node.op != "conv" or node.inputs[0].op != "upsample":
            continue
        params = node.params
        before = node.inputs[0]
        plain = params["kernel"].shape[:2] == (3, 3) and params["strides"] == (1, 1)
        if plain and params["padding"] == (1, 1, 1, 1) and before.params["size"] == 2:
            # Row a of the 4x4 kernel reaches output row 2 i + a - 1 from input row i. Output row
            # 2 i reads input rows i - 1 (tap 0) and i (taps 1, 2), row 2 i + 1 reads i (taps 0, 1)
            # and i + 1 (tap 2).
            meet = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float64)
            kernel = np.einsum("ay,bx,yxio->aboi", meet, meet, params["kernel"])
            node.op = "deconv"
            node.inputs = list(before.inputs)
            params.update(kernel=kernel.astype(np.float32), strides=(2, 2), padding=(1, 1, 1, 1))
    return graph
