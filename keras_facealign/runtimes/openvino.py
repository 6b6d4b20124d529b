"""Runs networks on OpenVINO, whose convolutions are the fastest on x86 CPUs that we measured."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.networks.tracing.graph import Graph, Node
from keras_facealign.networks.tracing.lowering import trace
from keras_facealign.networks.tracing.simplification import merge_upsampling, simplify
from keras_facealign.prediction import LandmarkOutputs, one_or_many, predict_outputs
from keras_facealign.prediction.concurrency import PerProcess, WorkerPool

if TYPE_CHECKING:
    import keras

    from keras_facealign.models import FaceAlignModel

# Images in one call of the network. OpenVINO compiles a network for every batch size that it meets,
# so there are only two; more than eight images in a call are no faster.
_BATCH = 8

# Share of the multiplications that the bfloat16 variant computes in bfloat16. With sat1_cab_mobile
# on the 224 faces of lfpw/testset, landmarks move by 0.016 pixels on average for a share of 0.6, by
# 0.019 for 0.7 and by 0.030 for 1.0.
_BFLOAT16_SHARE = 0.7


class OpenVINONetwork:
    """A compiled copy of a network: images in, heatmaps of the last stack out.

    Any number of threads may call it: they share the compiled network, and each gets a request of
    its own. It pickles as the graph with its weights.

    Args:
        model: A functional model from one image to heatmaps. Its weights are copied.
        precision: "float32", or "bfloat16" to compute most of the multiplications in bfloat16: the
            largest convolutions with kernels larger than 1x1. All other operations, including the
            heads, stay in float32.
        threads: CPU cores to use. Default: all.

    Raises:
        FaceAlignError: If the model has a layer that plain graphs do not support, or the precision
            is unknown or not supported by this CPU.
        ImportError: If OpenVINO is not installed.

    Example:
        >>> network = OpenVINONetwork(from_preset("sat1_cab_mobile"))  # doctest: +SKIP
        >>> network(np.zeros((1, 128, 128, 3), "float32")).shape  # doctest: +SKIP
        (1, 64, 64, 68)
    """

    def __init__(
        self, model: keras.Model, precision: str = "float32", threads: int | None = None
    ) -> None:
        if precision not in ("float32", "bfloat16"):
            raise FaceAlignError(f"precision is {precision!r}; choose float32 or bfloat16.")
        if precision == "bfloat16" and not has_bfloat16():
            raise FaceAlignError(
                "This CPU does not support bfloat16 (it lacks AVX512_BF16); use float32."
            )
        graph = merge_upsampling(simplify(trace(model)))
        graph.outputs = graph.outputs[-1:]
        self._compiled = PerProcess(partial(_compile, graph, precision, threads))
        self._compiled.get()
        self._requests = WorkerPool(self._new_request)

    def _new_request(self) -> Any:
        return self._compiled.get().create_infer_request()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Computes heatmaps.

        Args:
            images: float32 (B, S, S, 3), RGB 0 to 255.

        Returns:
            float32 (B, M, M, K): logits. In memory the channels come first, as OpenVINO has them.
        """
        batch = np.ascontiguousarray(images, np.float32)
        with self._requests.borrow() as request:
            return request.infer([batch], share_inputs=True)[0].transpose(0, 2, 3, 1)


class OpenVINOModel:
    """A `FaceAlignModel` whose network runs on OpenVINO.

    Args:
        model: The model. Its weights are copied; its calibration and offset are used as they are at
            the time of a prediction.
        precision: As in `OpenVINONetwork`.

    Raises:
        FaceAlignError: As from `OpenVINONetwork`.
        ImportError: If OpenVINO is not installed.
    """

    def __init__(self, model: FaceAlignModel, precision: str = "float32") -> None:
        self._model = model
        self._network = OpenVINONetwork(model, precision)

    def predict_outputs(
        self, images: np.ndarray, batch_size: int = 32, flip_test: bool = False
    ) -> LandmarkOutputs:
        """Predicts landmarks, see `FaceAlignModel.predict_outputs`; `batch_size` has no effect."""
        model = self._model
        return predict_outputs(
            lambda batch: model.landmark_outputs(self._network(batch)),
            images,
            one_or_many(_BATCH),
            input_size=model.input_size,
            flip_test=flip_test,
            scheme=model.scheme,
            landmark_offset=model.landmark_offset,
        )


def _openvino(part: str = "") -> Any:
    """Imports OpenVINO or a module of it, out of sight of type checkers."""
    return importlib.import_module(f"openvino{part}")


def _compile(graph: Graph, precision: str, threads: int | None) -> Any:
    """Compiles a plain graph for this processor."""
    low = _largest_convolutions(graph, _BFLOAT16_SHARE) if precision == "bfloat16" else set()
    # By default OpenVINO uses the lowest precision that the CPU supports.
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    converted = to_openvino(graph, low)
    with _signal_stack_kept():
        return _openvino().Core().compile_model(converted, "CPU", options)


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 at full speed on this processor."""
    with _signal_stack_kept():
        return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _SignalStack(ctypes.Structure):
    """Linux's `stack_t`."""

    _fields_ = (
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    )


@contextmanager
def _signal_stack_kept() -> Iterator[None]:
    """Leaves the thread with the alternate stack for signals that it has, or with none.

    Each plugin of OpenVINO for CPUs gives the thread that loads it such a stack, and unmaps it when
    it goes, though the thread may still have it, as when the older of two plugins goes first: the
    next signal, such as Ctrl-C's, would end the process. Without one, signals use the thread's own.
    """
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


def _largest_convolutions(graph: Graph, share: float) -> set[int]:
    """The `id`s of the convolutions, largest first, that make up a share of all multiplications.

    1x1 convolutions are left out: the heads and the layers before them are the most sensitive to
    rounding, and need few multiplications.
    """
    candidates = [
        node
        for node in graph.nodes()
        if node.op in ("conv", "deconv") and node.params["kernel"].shape[0] > 1
    ]
    goal = share * graph.macs()
    chosen: set[int] = set()
    for node in sorted(candidates, key=lambda node: -node.macs):
        if goal <= 0:
            break
        chosen.add(id(node))
        goal -= node.macs
    return chosen


def to_openvino(graph: Graph, bfloat16: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    """Builds an OpenVINO model from a plain graph.

    Args:
        graph: The graph.
        bfloat16: `id`s of the convolutions whose operands are rounded to bfloat16.

    Returns:
        An `openvino.Model` from images (B, S, S, 3) for any B to the graph's outputs, (B, C, H, W).
    """
    openvino, op = _openvino(), _openvino(".opset13")

    images = op.parameter([-1, *graph.input.shape], np.float32, name="images")
    values: dict[int, Any] = {}
    rounded: dict[int, Any] = {}
    for node in graph.nodes():
        if node.op == "input":
            values[id(node)] = op.transpose(images, op.constant(np.array([0, 3, 1, 2])))
            continue
        low = id(node) in bfloat16
        if low:
            for operand in node.inputs:
                if id(operand) not in rounded:
                    rounded[id(operand)] = op.convert(values[id(operand)], "bf16")
        operands = [(rounded if low else values)[id(operand)] for operand in node.inputs]
        result = _WRITERS[node.op](op, node, operands, low)
        if low:
            result = op.convert(result, "f32")
        if node.params.get("bias") is not None:
            result = op.add(result, _by_channel(op, node.params["bias"]))
        if "activation" in node.params:
            result = getattr(op, node.params["activation"])(result)
        values[id(node)] = result
    results = [op.result(values[id(node)]) for node in graph.outputs]
    return openvino.Model(results, [images], "face_alignment")


# ---- one function for each operation ------------------------------------------------------------


def _constant(op: Any, array: Any) -> Any:
    return op.constant(np.ascontiguousarray(array, np.float32))


def _by_channel(op: Any, values: np.ndarray) -> Any:
    return _constant(op, values[None, :, None, None])


def _kernel(op: Any, array: np.ndarray, low: bool) -> Any:
    if not low:
        return _constant(op, array)
    # Rounded here: OpenVINO's own conversion of constants is less accurate.
    return op.convert(op.constant(_round_taps(array)), "bf16")


def _round_taps(kernel: np.ndarray) -> np.ndarray:
    """Rounds to bfloat16 so that the errors of a kernel's taps, (..., height, width), cancel.

    Each tap carries the rounding error of the one before it. Neighboring pixels are similar, so the
    sum of the errors matters most; this halves the error of rounding every tap to nearest.
    """
    taps = kernel.reshape(*kernel.shape[:-2], -1)
    rounded = np.empty_like(taps, np.float32)
    error = np.zeros(taps.shape[:-1], np.float32)
    for i in range(taps.shape[-1]):
        wanted = taps[..., i] + error
        bits = np.ascontiguousarray(wanted, np.float32).view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        rounded[..., i] = bits.view(np.float32)
        error = wanted - rounded[..., i]
    return rounded.reshape(kernel.shape)


def _pads(node: Node) -> tuple[list[int], list[int]]:
    top, bottom, left, right = node.params["padding"]
    return [top, left], [bottom, right]


def _convolution(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    kernel = _kernel(op, node.params["kernel"].transpose(3, 2, 0, 1), low)
    return op.convolution(operands[0], kernel, node.params["strides"], *_pads(node), [1, 1])


def _depthwise(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    kernel = _kernel(op, node.params["kernel"].transpose(2, 0, 1)[:, None, None], low)
    return op.group_convolution(operands[0], kernel, [1, 1], *_pads(node), [1, 1])


def _transposed(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    kernel = _kernel(op, node.params["kernel"].transpose(3, 2, 0, 1), low)
    begin, end = _pads(node)
    return op.convolution_backprop_data(
        operands[0], kernel, node.params["strides"], pads_begin=begin, pads_end=end
    )


def _affine(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    scaled = op.multiply(operands[0], _by_channel(op, node.params["scale"]))
    return op.add(scaled, _by_channel(op, node.params["shift"]))


def _sum(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    total = None
    for operand, weight in zip(operands, node.params["weights"], strict=True):
        part = operand if weight == 1.0 else op.multiply(operand, _constant(op, weight))
        total = part if total is None else op.add(total, part)
    return total


def _max_pool(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    size = [node.params["size"]] * 2
    return op.max_pool(operands[0], size, [1, 1], [0, 0], [0, 0], size).output(0)


def _upsample(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    return op.interpolate(
        operands[0],
        op.constant(np.array(node.shape[:2], np.int64)),
        "nearest",
        "sizes",
        axes=op.constant(np.array([2, 3], np.int64)),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _pad(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    begin, end = (op.constant(np.array([0, 0, *sides], np.int64)) for sides in _pads(node))
    return op.pad(operands[0], begin, end, "constant", _constant(op, 0.0))


def _global_average(op: Any, node: Node, operands: list[Any], low: bool) -> Any:
    return op.reduce_mean(operands[0], op.constant(np.array([2, 3], np.int64)), keep_dims=True)


_WRITERS: dict[str, Any] = {
    "affine": _affine,
    "concat": lambda op, node, operands, low: op.concat(operands, 1),
    "conv": _convolution,
    "deconv": _transposed,
    "depthwise": _depthwise,
    "global_average": _global_average,
    "max_pool": _max_pool,
    "multiply": lambda op, node, operands, low: op.multiply(*operands),
    "pad": _pad,
    "relu": lambda op, node, operands, low: op.relu(operands[0]),
    "sigmoid": lambda op, node, operands, low: op.sigmoid(operands[0]),
    "sum": _sum,
    "upsample": _upsample,
}
