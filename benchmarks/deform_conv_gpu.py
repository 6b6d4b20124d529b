"""Checks and times the CUDA deformable convolution on the GPU that JAX computes on.

    KERAS_BACKEND=jax python benchmarks/deform_conv_gpu.py

Needs a CUDA device, JAX with CUDA and nvcc; TensorFlow is not needed. Where PyTorch and torchvision
use the device too, the results are compared with `torchvision.ops.deform_conv2d`, which is timed
as well.

First values and gradients of the native convolution are compared with those of `keras.ops`, in
float32 with exact products and in bfloat16, for both borders, groups, masks, strides and offsets
that lie outside, also with gradients added in a fixed order. It ends with an error if one differs.
Then times in milliseconds, each the median of its turns: 3x3 taps, 64x64 pixels, batch 8; products
of float32 may use TensorFloat-32 in all candidates alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch wants some of the memory

import jax
import jax.numpy as jnp
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_facealign.ops import deform_conv2d, native, to_torchvision
from keras_facealign.ops.native import jax_binding

TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}  # of the largest value
Tensors = dict[str, Any]

CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], bool]] = {
    # name: arguments, (batch, size, channels, filters, kernel size), whether masked
    "plain": ({}, (2, 32, 64, 48, 3), False),
    "mask, 2 deformable groups": ({"deformable_groups": 2}, (2, 32, 64, 48, 3), True),
    "mxnet border": ({"border": "mxnet"}, (2, 32, 64, 48, 3), True),
    "stride 2, dilation 2, 3 groups": (
        {"strides": 2, "dilation_rate": 2, "padding": 2, "groups": 3},
        (1, 33, 15, 9, 3),
        True,
    ),
    "odd channels": ({"padding": 2}, (3, 17, 7, 5, 5), False),
    "one channel": ({}, (1, 9, 1, 1, 1), True),
    "many channels": ({"deformable_groups": 4}, (1, 16, 512, 64, 3), True),
}


def tensors(
    sizes: tuple[int, ...], arguments: dict[str, Any], masked: bool, wild: bool = True
) -> Tensors:
    """Random tensors; `wild` offsets are now and then whole, huge, infinite or NaN."""
    from keras_facealign.ops import deform_conv2d_output_size

    batch, size, channels, filters, taps = sizes
    rng = np.random.default_rng(size)
    geometry = {k: arguments[k] for k in ("strides", "padding", "dilation_rate") if k in arguments}
    out = deform_conv2d_output_size((size, size), taps, **geometry)
    points = arguments.get("deformable_groups", 1) * taps * taps
    offsets = rng.normal(scale=2, size=(batch, *out, 2 * points))
    if wild:
        strange = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30, 0, 1], size=offsets.shape)
        offsets = np.where(rng.uniform(size=offsets.shape) < 0.1, strange, offsets)
    found = {
        "inputs": rng.normal(size=(batch, size, size, channels)),
        "offsets": offsets,
        "kernel": rng.normal(size=(taps, taps, channels // arguments.get("groups", 1), filters)),
    }
    if masked:
        found["mask"] = rng.uniform(size=(batch, *out, points))
    return {name: jnp.asarray(value, "float32") for name, value in found.items()}


def run(given: Tensors, arguments: dict[str, Any], implementation: str) -> tuple[Any, Tensors]:
    """Result and gradients, for an upstream gradient that differs from place to place."""

    @jax.jit
    def both(given: Tensors) -> Any:
        def function(given: Tensors) -> Any:
            return deform_conv2d(**given, **arguments, implementation=implementation)

        value, pull = jax.vjp(function, given)
        upstream = jnp.sin(jnp.arange(value.size, dtype="float32")).reshape(value.shape)
        # Exact in both types, so that it adds no difference of its own.
        return value, pull(upstream.astype("bfloat16").astype(value.dtype))[0]

    with jax.default_matmul_precision("highest"):
        return both(given)


def check(dtype: str) -> list[tuple[str, float]]:
    """(case, largest error relative to the largest value) for each case, in one type."""
    found = []
    for name, (arguments, sizes, masked) in CASES.items():
        given = tensors(sizes, arguments, masked)
        halves = {tensor: given[tensor].astype(dtype) for tensor in ("inputs", "kernel")}
        rounded = {tensor: value.astype("float32") for tensor, value in halves.items()}
        exact = run(given | rounded, arguments, "portable")
        given |= halves
        orders = ("0", "1") if jax_binding.device() == "cuda" else ("0",)
        for order in orders:
            os.environ["KERAS_FACEALIGN_DETERMINISTIC"] = order
            value, gradients = run(given, arguments, "native")
            errors = [relative_error(value, exact[0])]
            errors += [relative_error(gradients[k], exact[1][k]) for k in gradients]
            label = f"{name}{', fixed order' if order == '1' else ''}"
            found.append((label, max(errors)))
    os.environ["KERAS_FACEALIGN_DETERMINISTIC"] = "0"
    return found


def relative_error(got: Any, wanted: Any) -> float:
    """Largest difference by the largest value; infinite if there is a NaN."""
    got, wanted = (np.asarray(a, np.float64) for a in (got, wanted))
    error = np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30)
    return float("inf") if np.isnan(error) else float(error)


def has_torchvision() -> bool:
    """Whether PyTorch with CUDA and torchvision are here."""
    if not all(map(importlib.util.find_spec, ("torch", "torchvision"))):
        return False
    import torch

    return torch.cuda.is_available()


def torch_calls(given: Tensors, dtype: str, backward: bool) -> dict[str, Callable[[], Any]]:
    """torchvision's deformable and PyTorch's ordinary convolution, channels first."""
    import torch
    import torchvision

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    moved = {
        name: torch.tensor(np.array(value), device="cuda", dtype=getattr(torch, dtype))
        .contiguous()
        .requires_grad_(backward)
        for name, value in to_torchvision(
            inputs=given["inputs"], offsets=given["offsets"], kernel=given["kernel"]
        ).items()
    }

    def finished(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            result = function()
            if backward:
                result.backward(torch.ones_like(result))
            torch.cuda.synchronize()
            return result

        return call

    inputs, offset, weight = moved["input"], moved["offset"], moved["weight"]
    return {
        "torchvision": finished(
            lambda: torchvision.ops.deform_conv2d(inputs, offset, weight, padding=1)
        ),
        "torch conv2d (cuDNN)": finished(
            lambda: torch.nn.functional.conv2d(inputs, weight, padding=1)
        ),
    }


def jax_calls(given: Tensors, dtype: str, backward: bool) -> dict[str, Callable[[], Any]]:
    """The candidates that run on JAX."""
    halves = {k: v.astype(dtype) if k != "offsets" else v for k, v in given.items()}

    def compiled(function: Callable[..., Any], names: list[str]) -> Callable[[], Any]:
        @jax.jit
        def call(*operands: Any) -> Any:
            if not backward:
                return function(*operands)
            value, pull = jax.vjp(function, *operands)
            return value, pull(jnp.ones_like(value))

        return lambda: jax.block_until_ready(call(*(halves[n] for n in names)))

    def deformable(implementation: str) -> Callable[..., Any]:
        return lambda inputs, offsets, kernel: deform_conv2d(
            inputs, offsets, kernel, implementation=implementation
        )

    names = ["inputs", "offsets", "kernel"]
    return {
        "Conv2D (cuDNN)": compiled(
            lambda inputs, kernel: keras.ops.conv(inputs, kernel, padding="same"), names[::2]
        ),
        "native": compiled(deformable("native"), names),
        "portable": compiled(deformable("portable"), names),
    }


def timed(calls: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Median milliseconds; the candidates take turns."""
    for call in calls.values():
        for _ in range(3):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(t)) for name, t in times.items()}


def main() -> None:
    """Reads the command line, checks, and prints times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=50)
    args = parser.parse_args()
    if keras.backend.backend() != "jax" or jax_binding.device() != "cuda":
        sys.exit(
            f"This needs Keras on JAX on a CUDA device, got {keras.backend.backend()} on "
            f"{jax_binding.device()}; nothing was run."
        )
    if not native.available("jax"):
        sys.exit("The native library cannot be used, see the warning above; nothing was run.")

    console = Console()
    console.print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}")
    failed = False
    for dtype, tolerance in TOLERANCES.items():
        for name, error in check(dtype):
            good = error <= tolerance
            failed |= not good
            console.print(f"{'same' if good else 'DIFFERS'}: {dtype}, {name}: {error:.1e}")

    for channels in args.channels:
        for dtype in TOLERANCES:
            sizes = (args.batch, 64, channels, channels, 3)
            given = tensors(sizes, {}, masked=False, wild=False)
            table = Table(title=f"{channels} channels, batch {args.batch}, {dtype}: milliseconds")
            for column in ("", "forward", "forward + backward"):
                table.add_column(column, justify="right" if column else "left")
            columns = []
            for backward in (False, True):
                calls = jax_calls(given, dtype, backward)
                if has_torchvision():
                    calls |= torch_calls(given, dtype, backward)
                columns.append(timed(calls, args.turns))
            for name in columns[0]:
                table.add_row(name, *(f"{column[name]:.3f}" for column in columns))
            console.print(table)
    if failed:
        sys.exit("Some values or gradients differ.")


if __name__ == "__main__":
    main()
