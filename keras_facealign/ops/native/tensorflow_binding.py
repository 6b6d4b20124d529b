"""The native handlers as differentiable TensorFlow functions.

They are called from a StableHLO module inside the operation XlaCallModule, which TensorFlow runs
eagerly and in graphs by compiling the module, and under `jit_compile=True` as part of what is
compiled. That operation, and the function that hands out XLA's table of FFI functions, are no
public interface: `load` tries both, and callers do without where a version of TensorFlow lacks
them.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_facealign.ops.native.build import BuildError, build_library, source_tag

__all__ = ["convolve", "device", "load", "sample"]

OLDEST = (2, 18)  # the first with an FFI that takes handlers from outside
XLA_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")
GET_API = "_ZN3xla3ffi12GetXlaFfiApiEv"  # xla::ffi::GetXlaFfiApi()
MODULE_VERSION = 9  # of XlaCallModule's conventions
TYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}

Attributes = tuple[tuple[str, int], ...]
# An axis of a result: a number, or (operand, axis) of which it takes the length.
Axis = int | tuple[int, int]


@functools.cache
def device() -> str:
    """Where TensorFlow computes by default: "cpu" or "cuda"."""
    return "cuda" if tf.config.list_physical_devices("GPU") else "cpu"


@functools.cache
def load() -> None:
    """Builds, registers and tries the library.

    Raises:
        BuildError: If that cannot be done; other errors come from foreign versions of TensorFlow.
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
    """A point in the middle of four pixels, forward and backward."""
    inputs = tf.reshape(tf.range(4.0), (1, 2, 2, 1))
    offsets = tf.fill((1, 1, 1, 2), 0.5)
    unit = {"kernel_height": 1, "kernel_width": 1, "stride_y": 1, "stride_x": 1}
    unit |= {"pad_top": 0, "pad_left": 0, "dilation_y": 1, "dilation_x": 1}
    attributes = (*unit.items(), ("deformable_groups", 1), ("border", 0))
    # Directly, since no gradient tape records where tf.init_scope leads.
    operands = (inputs, offsets, tf.zeros((0,)))
    result = ((0, 0), (1, 1), (1, 2), 1), "float32"
    columns = _call("sample", operands, (result,), attributes)[0]
    gradients = _call(
        "sample_gradient",
        (*operands, tf.ones_like(columns)),
        _shapes_of(operands, "float32"),
        _attributes_here(attributes),
    )
    got = np.concatenate([np.ravel(t) for t in (columns, *gradients)])
    if not np.allclose(got, [1.5, 0.25, 0.25, 0.25, 0.25, 2.0, 1.0]):
        raise BuildError(f"the library computes wrongly: {got.tolist()}")


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
    """A StableHLO module that calls a handler, and the static shapes of what it returns.

    Where a result's length is known only when the module runs, the call gets the shapes of all
    results as further operands, which XLA uses and the handler never sees.
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
    """Calls a handler; `results` are pairs (axes, type)."""
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
    """Results that have the shapes of the first operands, in the type of the sums."""
    return tuple(
        (tuple((i, axis) for axis in range(len(t.shape))), real) for i, t in enumerate(tensors)
    )


def _cast_like(values: Any, tensors: Any) -> list[Any]:
    return [tf.cast(v, t.dtype) for v, t in zip(values, tensors, strict=True)]


def _attributes_here(attributes: Attributes) -> Attributes:
    """With what only the CUDA gradient asks for."""
    if device() != "cuda":
        return attributes
    fixed_order = os.environ.get("KERAS_FACEALIGN_DETERMINISTIC") == "1"
    return (*attributes, ("fixed_order", int(fixed_order)))


def sample(
    inputs: Any, offsets: Any, mask: Any, columns: int, real: str, attributes: Attributes
) -> Any:
    """Columns (B, Ho, Wo, `columns`); `real` is the type of offsets, mask and all sums."""

    @tf.custom_gradient
    def run(*operands: Any) -> Any:
        result = ((0, 0), (1, 1), (1, 2), columns), operands[0].dtype.name
        value = _call("sample", operands, (result,), attributes)[0]

        def gradient(upstream: Any) -> list[Any]:
            given = (*operands, upstream)
            results = _shapes_of(operands, real)
            values = _call("sample_gradient", given, results, _attributes_here(attributes))
            return _cast_like(values, operands)

        return value, gradient

    return run(*map(tf.convert_to_tensor, (inputs, offsets, mask)))


def convolve(
    inputs: Any,
    offsets: Any,
    mask: Any,
    kernel: Any,
    bias: Any,
    real: str,
    attributes: Attributes,
) -> Any:
    """The fused convolution, (B, Ho, Wo, F); a `bias` of no elements adds nothing."""

    @tf.custom_gradient
    def run(*operands: Any) -> Any:
        *tensors, bias = operands
        result = ((0, 0), (1, 1), (1, 2), tensors[3].shape[3]), tensors[0].dtype.name
        value = _call("convolve", operands, (result,), attributes)[0]

        def gradient(upstream: Any) -> list[Any]:
            given = (*tensors, upstream)
            values = _call("convolve_gradient", given, _shapes_of(tensors, real), attributes)
            d_bias = bias
            if bias.shape[0]:
                d_bias = tf.cast(tf.reduce_sum(tf.cast(upstream, real), (0, 1, 2)), bias.dtype)
            return [*_cast_like(values, tensors), d_bias]

        return value, gradient

    return run(*map(tf.convert_to_tensor, (inputs, offsets, mask, kernel, bias)))
