"""The native handlers as differentiable JAX functions."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keras_facealign.ops.native.build import BuildError, build_library, source_tag

__all__ = ["convolve", "device", "load", "sample"]

HANDLERS = {
    "cpu": ("sample", "sample_gradient", "convolve", "convolve_gradient"),
    "cuda": ("sample", "sample_gradient"),
}

Attributes = tuple[tuple[str, int], ...]


@functools.cache
def device() -> str:
    """Where JAX computes by default: "cpu", "cuda", or the name of something else."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" and jax.devices()[0].platform != "rocm" else backend


@functools.cache
def load() -> None:
    """Builds, registers and tries the library.

    Raises:
        BuildError: If that cannot be done; other errors come from foreign versions of JAX.
    """
    if device() not in HANDLERS:
        raise BuildError(f"JAX computes on {device()}, for which there is no native code")
    # The CPU is at hand beside any GPU, and jitted functions may be sent to it.
    for place in ("cpu",) if device() == "cpu" else ("cpu", "cuda"):
        library = ctypes.CDLL(str(build_library("jax", place)))
        for name in HANDLERS[place]:
            jax.ffi.register_ffi_target(
                f"facealign_{name}_{source_tag()}",
                jax.ffi.pycapsule(getattr(library, f"facealign_{name}")),
                platform="cpu" if place == "cpu" else "CUDA",
            )
    with jax.ensure_compile_time_eval():
        _try()


def _try() -> None:
    """A point in the middle of four pixels, forward and backward."""
    inputs = jnp.arange(4, dtype="float32").reshape(1, 2, 2, 1)
    offsets = jnp.full((1, 1, 1, 2), 0.5, "float32")
    unit = {"kernel_height": 1, "kernel_width": 1, "stride_y": 1, "stride_x": 1}
    unit |= {"pad_top": 0, "pad_left": 0, "dilation_y": 1, "dilation_x": 1}
    attributes = (*unit.items(), ("deformable_groups", 1), ("border", 0))

    def value(inputs: Any, offsets: Any) -> Any:
        return sample(inputs, offsets, jnp.zeros(0), 1, "float32", attributes).sum()

    result, gradients = jax.value_and_grad(value, (0, 1))(inputs, offsets)
    got = np.concatenate([np.ravel(result), *map(np.ravel, gradients)])
    if not np.allclose(got, [1.5, 0.25, 0.25, 0.25, 0.25, 2.0, 1.0]):
        raise BuildError(f"the library computes wrongly: {got.tolist()}")


def _call(name: str, results: Any, operands: Any, attributes: Attributes) -> Any:
    function = jax.ffi.ffi_call(
        f"facealign_{name}_{source_tag()}", results, vmap_method="sequential"
    )
    return function(*operands, **{key: np.int64(value) for key, value in attributes})


def _gradient_shapes(tensors: Any, real: str) -> list[Any]:
    return [jax.ShapeDtypeStruct(tensor.shape, real) for tensor in tensors]


def _cast_like(values: Any, tensors: Any) -> list[Any]:
    return [v.astype(t.dtype) for v, t in zip(values, tensors, strict=True)]


def _attributes_here(attributes: Attributes) -> Attributes:
    """With what only the CUDA gradient asks for."""
    if device() != "cuda":
        return attributes
    fixed_order = os.environ.get("KERAS_FACEALIGN_DETERMINISTIC") == "1"
    return (*attributes, ("fixed_order", int(fixed_order)))


@functools.cache
def _sample_function(columns: int, real: str, attributes: Attributes) -> Any:
    @jax.custom_vjp
    def run(inputs: Any, offsets: Any, mask: Any) -> Any:
        shape = (*offsets.shape[:3], columns)
        result = jax.ShapeDtypeStruct(shape, inputs.dtype)
        return _call("sample", result, (inputs, offsets, mask), attributes)

    def forward(*operands: Any) -> Any:
        return run(*operands), operands

    def backward(operands: Any, upstream: Any) -> tuple[Any, ...]:
        results = _gradient_shapes(operands, real)
        given = (*operands, upstream)
        gradients = _call("sample_gradient", results, given, _attributes_here(attributes))
        return tuple(_cast_like(gradients, operands))

    run.defvjp(forward, backward)
    return run


def sample(
    inputs: Any, offsets: Any, mask: Any, columns: int, real: str, attributes: Attributes
) -> Any:
    """Columns (B, Ho, Wo, `columns`); `real` is the type of offsets, mask and all sums."""
    return _sample_function(columns, real, attributes)(inputs, offsets, mask)


@functools.cache
def _convolve_function(real: str, attributes: Attributes) -> Any:
    @jax.custom_vjp
    def run(inputs: Any, offsets: Any, mask: Any, kernel: Any, bias: Any) -> Any:
        shape = (*offsets.shape[:3], kernel.shape[3])
        result = jax.ShapeDtypeStruct(shape, inputs.dtype)
        return _call("convolve", result, (inputs, offsets, mask, kernel, bias), attributes)

    def forward(*operands: Any) -> Any:
        return run(*operands), operands

    def backward(operands: Any, upstream: Any) -> tuple[Any, ...]:
        *tensors, bias = operands
        results = _gradient_shapes(tensors, real)
        given = (*tensors, upstream)
        gradients = _cast_like(_call("convolve_gradient", results, given, attributes), tensors)
        if bias.size:
            bias = upstream.astype(real).sum((0, 1, 2)).astype(bias.dtype)
        return (*gradients, bias)

    run.defvjp(forward, backward)
    return run


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
    return _convolve_function(real, attributes)(inputs, offsets, mask, kernel, bias)
