"""Deformable convolution in compiled code, for TensorFlow and JAX.

One C++ library with XLA-FFI handlers serves both frameworks: eagerly, in traced graphs and under
XLA, with gradients of first order. It is compiled on first use (see `build`); where that is not
possible, `available` says so and callers use `keras.ops` instead. On the CPU, `conv2d` fuses
sampling and matrix product; `sample` gives the columns alone, on the CPU and on CUDA devices.

Environment variables: `KERAS_FACEALIGN_NATIVE=0` turns all this off, `KERAS_FACEALIGN_CACHE` names
the folder for compiled libraries, `CXX` the compiler, and `KERAS_FACEALIGN_DETERMINISTIC=1` chooses
CUDA gradients that add in a fixed order (on the CPU they always do). On the CPU, products of 128
filters and more go by Strassen's algorithm in float32; `KERAS_FACEALIGN_STRASSEN=0` turns that off.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.native.build import BuildError

__all__ = ["BORDERS", "available", "conv2d", "fused", "sample"]

BORDERS = ("zeros", "mxnet")  # in the order of `Border` in sampling.h

_BINDINGS = {"tensorflow": "tensorflow_binding", "jax": "jax_binding"}
_lock = threading.Lock()
_loaded: dict[str, Any] = {}


def available(backend_name: str) -> bool:
    """Whether compiled code can be used with a Keras backend, building it if need be.

    The first call may take a quarter of a minute, for the compiler. It never raises: what is in the
    way is said in one warning.

    Args:
        backend_name: "tensorflow", "jax"; for any other the answer is no.

    Example:
        >>> available("numpy")
        False
    """
    return _binding(backend_name) is not None


def fused(backend_name: str) -> bool:
    """Whether `conv2d` can be used: where computation is on the CPU."""
    binding = _binding(backend_name)
    return binding is not None and binding.device() == "cpu"


def _binding(backend_name: str) -> Any:
    """The loaded binding of a backend, or None."""
    if backend_name not in _BINDINGS or os.environ.get("KERAS_FACEALIGN_NATIVE") == "0":
        return None
    with _lock:
        if backend_name not in _loaded:
            _loaded[backend_name] = _load(backend_name)
        return _loaded[backend_name]


def _load(backend_name: str) -> Any:
    try:
        binding = importlib.import_module(f"{__name__}.{_BINDINGS[backend_name]}")
        binding.load()
        return binding
    except BuildError as error:
        reason = str(error)
    except Exception as error:  # a foreign version of a framework may fail in any way
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    warnings.warn(
        f"Deformable convolutions use the slower portable implementation on {backend_name}: "
        f"{reason}. KERAS_FACEALIGN_NATIVE=0 turns the native one off without this warning.",
        stacklevel=5,
    )
    return None


def _prepare(
    inputs: Any,
    offsets: Any,
    mask: Any,
    geometry: dict[str, Any],
) -> tuple[Any, Any, Any, Any, tuple[tuple[str, int], ...]]:
    """(binding, offsets, mask, data type of positions' arithmetic, attributes of the call)."""
    from keras import backend, ops

    binding = _binding(backend.backend())
    if binding is None:
        raise FaceAlignError(
            f"There is no native deformable convolution for {backend.backend()} here; "
            "use implementation='portable'."
        )
    if inputs.shape[3] is None:
        raise FaceAlignError("The number of channels must be known for native code, got None.")
    pairs = {name: geometry[name] for name in ("kernel_size", "strides", "pads", "dilation_rate")}
    for name, value in pairs.items():
        if not all(isinstance(number, int) for number in value):
            raise FaceAlignError(
                f"{name} must be known integers for native code, got {value!r}; use inputs of "
                "known size, or implementation='portable'."
            )
    if geometry["border"] not in BORDERS:
        raise FaceAlignError(f"border must be one of {BORDERS}, got {geometry['border']!r}.")
    names = (
        *("kernel_height", "kernel_width", "stride_y", "stride_x"),
        *("pad_top", "pad_left", "dilation_y", "dilation_x"),
    )
    attributes = (
        *zip(names, (number for value in pairs.values() for number in value), strict=True),
        ("deformable_groups", geometry["deformable_groups"]),
        ("border", BORDERS.index(geometry["border"])),
    )
    real = "float64" if backend.standardize_dtype(inputs.dtype) == "float64" else "float32"
    # One axis of no length stands for a mask that is not there.
    mask = ops.zeros((0,), real) if mask is None else ops.cast(mask, real)
    return binding, ops.cast(offsets, real), mask, real, attributes


def sample(
    inputs: Any,
    offsets: Any,
    mask: Any = None,
    *,
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int],
    out_size: tuple[Any, Any],
    dilation_rate: tuple[int, int],
    deformable_groups: int,
    border: str,
) -> Any:
    """Reads the displaced neighborhood of every output pixel (a deformable "im2col").

    Args:
        inputs: float16, bfloat16, float32 or float64 (B, H, W, C).
        offsets: (B, Ho, Wo, G * kh * kw * 2), pixels, dy before dx; its size is the result's.
        mask: (B, Ho, Wo, G * kh * kw), factor of every sample, or None.
        kernel_size: (kh, kw).
        strides: (vertical, horizontal).
        pads: (top, left), pixels before the image that the undisplaced kernel reaches.
        out_size: (Ho, Wo), as that of `offsets`; only there to match the portable function.
        dilation_rate: (vertical, horizontal).
        deformable_groups: G; each displaces its own C / G channels.
        border: "zeros" or "mxnet".

    Returns:
        (B, Ho, Wo, kh * kw * C) of the inputs' type, channel k * C + c for tap k. Differentiable
        once with respect to inputs, offsets and mask.

    Raises:
        FaceAlignError: Where `available` is False, or a size is not known.
    """
    del out_size
    geometry = {
        "kernel_size": kernel_size,
        "strides": strides,
        "pads": pads,
        "dilation_rate": dilation_rate,
        "deformable_groups": deformable_groups,
        "border": border,
    }
    binding, offsets, mask, real, attributes = _prepare(inputs, offsets, mask, geometry)
    columns = kernel_size[0] * kernel_size[1] * inputs.shape[3]
    return binding.sample(inputs, offsets, mask, columns, real, attributes)


def conv2d(
    inputs: Any,
    offsets: Any,
    mask: Any,
    kernel: Any,
    bias: Any = None,
    *,
    strides: tuple[int, int],
    pads: tuple[int, int],
    dilation_rate: tuple[int, int],
    groups: int,
    deformable_groups: int,
    border: str,
) -> Any:
    """The whole deformable convolution in one call, with no columns in memory. CPU only.

    Args:
        inputs: float16, bfloat16, float32 or float64 (B, H, W, C).
        offsets: (B, Ho, Wo, G * kh * kw * 2), pixels, dy before dx; its size is the result's.
        mask: (B, Ho, Wo, G * kh * kw), factor of every sample, or None.
        kernel: (kh, kw, C / groups, F).
        bias: (F,) or None.
        strides: (vertical, horizontal).
        pads: (top, left), pixels before the image that the undisplaced kernel reaches.
        dilation_rate: (vertical, horizontal).
        groups: Parts that channels and filters are split into, each convolved on its own.
        deformable_groups: G; each displaces its own C / G channels.
        border: "zeros" or "mxnet".

    Returns:
        (B, Ho, Wo, F) of the inputs' type. Sums are in float32, or float64 for float64.
        Differentiable once with respect to all tensors.

    Raises:
        FaceAlignError: Where `fused` is False, or a size is not known.
    """
    from keras import ops

    geometry = {
        "kernel_size": tuple(kernel.shape[:2]),
        "strides": strides,
        "pads": pads,
        "dilation_rate": dilation_rate,
        "deformable_groups": deformable_groups,
        "border": border,
    }
    binding, offsets, mask, real, attributes = _prepare(inputs, offsets, mask, geometry)
    if binding.device() != "cpu":
        raise FaceAlignError("The fused convolution runs on CPUs only; use `sample`.")
    kernel = ops.cast(kernel, inputs.dtype)
    bias = ops.zeros((0,), inputs.dtype) if bias is None else ops.cast(bias, inputs.dtype)
    return binding.convolve(
        inputs, offsets, mask, kernel, bias, real, (*attributes, ("groups", groups))
    )
