"""The native handlers as differentiable TensorFlow functions.

They are called from a StableHLO module inside the operation XlaCallModule. TensorFlow compiles the
module eagerly and in graphs, and under `jit_compile=True` together with the surrounding code. That
operation and the function that returns XLA's table of FFI functions are not public: `load` tests
both, and callers use the portable code where a version of TensorFlow lacks them.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_facealign.ops.native import probe
from keras_facealign.ops.native.build import BuildError, build_library, source_tag
from keras_facealign.ops.native.probe import Attributes

OLDEST = (2, 18)  # the first whose FFI accepts handlers of other libraries
XLA_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
GET_API = "_ZN3xla3ffi12GetXlaFfiApiEv"  # xla::ffi::GetXlaFfiApi()
MODULE_VERSION = 9  # of XlaCallModule's conventions
TYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}

# Length of a result's axis: a number, or that of (operand, axis).
Axis = int | tuple[int, int]


@functools.cache
def device() -> str:
    """Returns where TensorFlow computes by default: "cpu" or "cuda"."""
    return "cuda" if tf.config.list_physical_devices("GPU") else "cpu"


@functools.cache
def load() -> None:
    """Builds, registers and tests the library.

    Raises:
        BuildError: If that is not possible; unsupported versions of TensorFlow may raise others.
    """
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if version < OLDEST:
        raise BuildError(f"TensorFlow {tf.__version__} is older than 2.18")
    folder = Path(tf.__file__).parent
    paths = [folder / name for name in XLA_LIBRARIES if (folder / name).is_file()]
    if not paths:
        raise BuildError(f"{folder} holds none of {', '.join(XLA_LIBRARIES)}")
    get_api = getattr(ctypes.CDLL(str(paths[0])), GET_API)
    get_api.restype = ctypes.c_void_p
    places = {"cpu": b"Host", "cuda": b"CUDA"}
    for place in ("cpu",) if device() == "cpu" else ("cpu", "cuda"):
        register = ctypes.CDLL(str(build_library("tensorflow", place))).facealign_register
        register.restype = ctypes.c_char_p
        register.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        message = register(get_api(), places[place])
        if message:
            raise BuildError(f"TensorFlow refuses the library: {message.decode()}")
    with tf.init_scope():
        _try()


def _try() -> None:
    inputs = tf.reshape(tf.range(4.0), (1, 2, 2, 1))
    operands = (inputs, tf.fill((1, 1, 1, 2), 0.5), tf.zeros((0,)))
    # Called directly, since no gradient tape records inside tf.init_scope.
    result = ((0, 0), (1, 1), (1, 2), 1), "float32"
    columns = _call("sample", operands, (result,), probe.ATTRIBUTES)[0]
    given = (*operands, tf.ones_like(columns))
    attributes = probe.gradient_attributes(probe.ATTRIBUTES, device())
    gradients = _call("sample_gradient", given, _shapes_of(operands, "float32"), attributes)
    probe.check((columns, *gradients))


def _tensor_type(shape: tuple[int | None, ...], dtype: str) -> str:
    return f"tensor<{''.join('?x' if n is None else f'{n}x' for n in shape)}{TYPES[dtype]}>"


@functools.lru_cache(maxsize=1024)
def _module(
    target: str,
    operands: tuple[tuple[tuple[int | None, ...], str], ...],
    results: tuple[tuple[tuple[Axis, ...], str], ...],
    attributes: Attributes,
    several_platforms: bool,
) -> tuple[str, list[tuple[int | None, ...]]]:
    """Makes a StableHLO module that calls a handler; returns it with the results' static shapes.

    Where a result's length is known only when the module runs, the call has the shapes of all
    results as further operands, which XLA reads and does not pass to the handler.
    """
    shapes = [
        tuple(n if isinstance(n, int) else operands[n[0]][0][n[1]] for n in axes)
        for axes, _ in results
    ]
    lines = []
    names = [f"%a{i}" for i in range(len(operands))]
    types = [_tensor_type(*operand) for operand in operands]
    platform = "%platform: tensor<i32>, " if several_platforms else ""
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    dynamic = any(n is None for shape in shapes for n in shape)
    for r, (axes, _) in enumerate(results) if dynamic else ():
        parts = [f"%r{r}_{i}" for i in range(len(axes))]
        for part, length, axis in zip(parts, shapes[r], axes, strict=True):
            if isinstance(axis, int) or length is not None:
                lines.append(f"{part} = stablehlo.constant dense<{length}> : tensor<1xi32>")
                continue
            operand = axis[0]
            lines += [
                f"{part}d = stablehlo.get_dimension_size {names[operand]}, dim = {axis[1]} : "
                f"({types[operand]}) -> tensor<i32>",
                f"{part} = stablehlo.reshape {part}d : (tensor<i32>) -> tensor<1xi32>",
            ]
        sizes = ", ".join(["tensor<1xi32>"] * len(parts))
        lines.append(
            f"%shape{r} = stablehlo.concatenate {', '.join(parts)}, dim = 0 : "
            f"({sizes}) -> tensor<{len(parts)}xi32>"
        )
    call_names, call_types, extra = list(names), list(types), ""
    if dynamic:
        indices = range(len(names), len(names) + len(results))
        call_names += [f"%shape{r}" for r in range(len(results))]
        call_types += [f"tensor<{len(axes)}xi32>" for axes, _ in results]
        extra = f", indices_of_shape_operands = dense<{list(indices)}> : tensor<{len(results)}xi64>"
    config = ", ".join(f"{key} = {value} : i64" for key, value in attributes)
    out = ", ".join(_tensor_type(s, d) for s, (_, d) in zip(shapes, results, strict=True))
    single = len(results) == 1
    lines += [
        f"%out{'' if single else f':{len(results)}'} = stablehlo.custom_call @{target}"
        f"({', '.join(call_names)}) {{api_version = 4 : i32, backend_config = {{{config}}}{extra}}}"
        f" : ({', '.join(call_types)}) -> {out if single else f'({out})'}",
        "return "
        + ", ".join("%out" if single else f"%out#{r}" for r in range(len(results)))
        + f" : {out}",
    ]
    body = "\n    ".join(lines)
    polymorphic = str(dynamic).lower()
    text = (
        f"module @facealign attributes {{jax.uses_shape_polymorphism = {polymorphic}}} {{\n"
        f"  func.func public @main({platform}{arguments}) -> ({out}) {{\n    {body}\n  }}\n}}\n"
    )
    return text, shapes


def _call(name: str, operands: Any, results: Any, attributes: Attributes) -> list[Any]:
    """Calls a handler; `results` are pairs (axes, dtype)."""
    from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_call_module

    platforms = ["CPU"] if device() == "cpu" else ["CPU", "CUDA"]
    text, shapes = _module(
        f"facealign_{name}_{source_tag()}",
        tuple((tuple(t.shape), t.dtype.name) for t in operands),
        results,
        attributes,
        len(platforms) > 1,
    )
    return xla_call_module(
        list(operands),
        version=MODULE_VERSION,
        module=text.encode(),
        Sout=[tf.TensorShape(shape) for shape in shapes],
        Tout=[tf.as_dtype(dtype) for _, dtype in results],
        platforms=platforms,
    )


def _shapes_of(tensors: Any, real: str) -> Any:
    """Returns results of the shapes of the first operands, in the dtype of the sums."""
    return tuple(
        (tuple((i, axis) for axis in range(len(t.shape))), real) for i, t in enumerate(tensors)
    )


def run(name: str, operands: Any, columns: int, real: str, attributes: Attributes) -> Any:
    """Calls a handler differentiably.

    Args:
        name: "sample" or "convolve".
        operands: Inputs, offsets and mask; for "convolve" also kernel and bias. An empty mask or
            bias stands for none.
        columns: Channels of the result (B, Ho, Wo, `columns`).
        real: Dtype of offsets, mask and sums.
        attributes: The handler's attributes.
    """

    @tf.custom_gradient
    def function(*operands: Any) -> Any:
        result = ((0, 0), (1, 1), (1, 2), columns), operands[0].dtype.name
        value = _call(name, operands, (result,), attributes)[0]

        def gradient(upstream: Any) -> list[Any]:
            tensors, bias = operands[:4], operands[4:]
            given = (*tensors, upstream)
            here = probe.gradient_attributes(attributes, device())
            values = _call(f"{name}_gradient", given, _shapes_of(tensors, real), here)
            gradients = [tf.cast(v, t.dtype) for v, t in zip(values, tensors, strict=True)]
            for tensor in bias:
                total = tf.reduce_sum(tf.cast(upstream, real), (0, 1, 2))
                gradients.append(tf.cast(total, tensor.dtype) if tensor.shape[0] else tensor)
            return gradients

        return value, gradient

    return function(*map(tf.convert_to_tensor, operands))
