"""The native handlers as differentiable JAX functions."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keras_facealign.ops.native import probe
from keras_facealign.ops.native.build import BuildError, build_library, source_tag
from keras_facealign.ops.native.probe import Attributes

HANDLERS = {
    "cpu": ("sample", "sample_gradient", "convolve", "convolve_gradient"),
    "cuda": ("sample", "sample_gradient"),
}


@functools.cache
def device() -> str:
    """Returns where JAX computes by default: "cpu", "cuda", or the name of another platform."""
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" and jax.devices()[0].platform != "rocm" else backend


@functools.cache
def load() -> None:
    """Builds, registers and tests the library.

    Raises:
        BuildError: If that is not possible; unsupported versions of JAX may raise other errors.
    """
    if device() not in HANDLERS:
        raise BuildError(f"JAX computes on {device()}, for which there is no native code")
    # Jitted functions may be placed on the CPU even where there is a GPU.
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
    inputs = jnp.arange(4, dtype="float32").reshape(1, 2, 2, 1)
    offsets = jnp.full((1, 1, 1, 2), 0.5, "float32")

    def value(inputs: Any, offsets: Any) -> Any:
        operands = (inputs, offsets, jnp.zeros(0))
        return run("sample", operands, 1, "float32", probe.ATTRIBUTES).sum()

    result, gradients = jax.value_and_grad(value, (0, 1))(inputs, offsets)
    probe.check((result, *gradients))


def _call(name: str, results: Any, operands: Any, attributes: Attributes) -> Any:
    function = jax.ffi.ffi_call(
        f"facealign_{name}_{source_tag()}", results, vmap_method="sequential"
    )
    return function(*operands, **{key: np.int64(value) for key, value in attributes})


@functools.cache
def _differentiable(name: str, columns: int, real: str, attributes: Attributes) -> Any:
    """Makes the function of a handler, whose last result axis has `columns` elements."""

    @jax.custom_vjp
    def function(*operands: Any) -> Any:
        shape = (*operands[1].shape[:3], columns)
        result = jax.ShapeDtypeStruct(shape, operands[0].dtype)
        return _call(name, result, operands, attributes)

    def forward(*operands: Any) -> Any:
        return function(*operands), operands

    def backward(operands: Any, upstream: Any) -> tuple[Any, ...]:
        tensors, bias = operands[:4], operands[4:]
        values = _call(
            f"{name}_gradient",
            [jax.ShapeDtypeStruct(tensor.shape, real) for tensor in tensors],
            (*tensors, upstream),
            probe.gradient_attributes(attributes, device()),
        )
        gradients = [v.astype(t.dtype) for v, t in zip(values, tensors, strict=True)]
        for tensor in bias:
            total = upstream.astype(real).sum((0, 1, 2)).astype(tensor.dtype)
            gradients.append(total if tensor.size else tensor)
        return tuple(gradients)

    function.defvjp(forward, backward)
    return function


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
    return _differentiable(name, columns, real, attributes)(*operands)
