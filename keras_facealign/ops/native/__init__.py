"""Deformable convolution in compiled code, for TensorFlow and JAX.

One C++ library with XLA-FFI handlers serves both frameworks: eagerly, in traced graphs and under
XLA, with gradients of first order. It is compiled on first use (see `build`); where that is not
possible, `available` returns False and callers use `keras.ops` instead. On the CPU, `conv2d` fuses
sampling and matrix product; `sample` computes the columns only, on the CPU and on CUDA devices.

Environment variables: `KERAS_FACEALIGN_NATIVE=0` disables native code, `KERAS_FACEALIGN_CACHE`
names the folder for compiled libraries, `CXX` the compiler, and `KERAS_FACEALIGN_DETERMINISTIC=1`
selects CUDA gradients that add in a fixed order (on the CPU they always do).
"""

from __future__ import annotations

import importlib
import math
import os
import threading
import warnings
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.native.build import BuildError

__all__ = ["BORDERS", "available", "conv2d", "fused", "sample"]

BORDERS = ("zeros", "mxnet")  # in the order of `Border` in sampling.h

# The handlers' attributes for pairs (vertical, horizontal).
_PAIRS = {
    "kernel_size": ("kernel_height", "kernel_width"),
    "strides": ("stride_y", "stride_x"),
    "pads": ("pad_top", "pad_left"),
    "dilation_rate": ("dilation_y", "dilation_x"),
}
_BINDINGS = {"tensorflow": "tensorflow_binding", "jax": "jax_binding"}
_lock = threading.Lock()
_loaded: dict[str, Any] = {}


def available(backend_name: str) -> bool:
    """Returns whether compiled code can be used with a Keras backend; builds it where necessary.

    The first call may take 15 seconds, for the compiler. It never raises an error: where the code
    cannot be used, one warning says why.

    Args:
        backend_name: "tensorflow" or "jax"; False for any other.

    Example:
        >>> available("numpy")
        False
    """
    return _binding(backend_name) is not None


def fused(backend_name: str) -> bool:
    """Returns whether `conv2d` can be used, which needs computation on the CPU."""
    binding = _binding(backend_name)
    return binding is not None and binding.device() == "cpu"


def _binding(backend_name: str) -> Any:
    """Returns the loaded binding of a backend, or None."""
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
    except Exception as error:  # unsupported versions of a framework may raise any error
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    warnings.warn(
        f"Deformable convolutions use the slower portable implementation on {backend_name}: "
        f"{reason}. KERAS_FACEALIGN_NATIVE=0 disables the native one and this warning.",
        stacklevel=5,
    )
    return None


def _prepare(
    inputs: Any, offsets: Any, mask: Any, geometry: dict[str, Any]
) -> tuple[Any, Any, Any, Any, tuple[tuple[str, int], ...]]:
    """Returns binding, offsets, mask, dtype of positions and sums, and attributes of the call."""
    from keras import backend, ops

    binding = _binding(backend.backend())
    if binding is None:
        raise FaceAlignError(
            f"There is no native deformable convolution for {backend.backend()} here; "
            "use implementation='portable'."
        )
    if inputs.shape[3] is None:
        raise FaceAlignError("The number of channels must be known for native code, got None.")
    attributes = []
    for name, keys in _PAIRS.items():
        value = geometry[name]
        if not all(isinstance(number, int) for number in value):
            raise FaceAlignError(
                f"{name} must be known integers for native code, got {value!r}; use inputs of "
                "known size, or implementation='portable'."
            )
        attributes += zip(keys, value, strict=True)
    if geometry["border"] not in BORDERS:
        raise FaceAlignError(f"border must be one of {BORDERS}, got {geometry['border']!r}.")
    attributes += [
        ("deformable_groups", geometry["deformable_groups"]),
        ("border", BORDERS.index(geometry["border"])),
    ]
    real = "float64" if backend.standardize_dtype(inputs.dtype) == "float64" else "float32"
    # An empty axis stands for a missing mask.
    mask = ops.zeros((0,), real) if mask is None else ops.cast(mask, real)
    return binding, ops.cast(offsets, real), mask, real, tuple(attributes)


def sample(inputs: Any, offsets: Any, mask: Any = None, **geometry: Any) -> Any:
    """Reads the displaced neighborhood of every output pixel (a deformable "im2col").

    Args:
        inputs: float16, bfloat16, float32 or float64 (B, H, W, C).
        offsets: (B, Ho, Wo, G * kh * kw * 2), pixels, dy before dx; gives the result's size.
        mask: (B, Ho, Wo, G * kh * kw), factor of every sample, or None.
        **geometry: The keyword arguments of `keras_facealign.ops.deform_sampling.sampled_product`;
            `out_size` is ignored.

    Returns:
        (B, Ho, Wo, kh * kw * C) of the inputs' type, channel k * C + c for tap k. Differentiable
        once with respect to inputs, offsets and mask.

    Raises:
        FaceAlignError: Where `available` is False, or a size is not known.
    """
    binding, offsets, mask, real, attributes = _prepare(inputs, offsets, mask, geometry)
    columns = math.prod(geometry["kernel_size"]) * inputs.shape[3]
    return binding.run("sample", (inputs, offsets, mask), columns, real, attributes)


def conv2d(
    inputs: Any,
    offsets: Any,
    mask: Any,
    kernel: Any,
    bias: Any = None,
    *,
    groups: int,
    **geometry: Any,
) -> Any:
    """Computes the whole deformable convolution without columns in memory. CPU only.

    Args:
        inputs: float16, bfloat16, float32 or float64 (B, H, W, C).
        offsets: (B, Ho, Wo, G * kh * kw * 2), pixels, dy before dx; gives the result's size.
        mask: (B, Ho, Wo, G * kh * kw), factor of every sample, or None.
        kernel: (kh, kw, C / groups, F).
        bias: (F,) or None.
        groups: Parts that channels and filters are split into, each convolved separately.
        **geometry: As for `sample`, without `kernel_size` and `out_size`.

    Returns:
        (B, Ho, Wo, F) of the inputs' type. Sums are in float32, or float64 for float64.
        Differentiable once with respect to all tensors.

    Raises:
        FaceAlignError: Where `fused` is False, or a size is not known.
    """
    from keras import ops

    geometry = {**geometry, "kernel_size": tuple(kernel.shape[:2])}
    binding, offsets, mask, real, attributes = _prepare(inputs, offsets, mask, geometry)
    if binding.device() != "cpu":
        raise FaceAlignError("The fused convolution runs on CPUs only; use `sample`.")
    kernel = ops.cast(kernel, inputs.dtype)
    bias = ops.zeros((0,), inputs.dtype) if bias is None else ops.cast(bias, inputs.dtype)
    operands = (inputs, offsets, mask, kernel, bias)
    return binding.run(
        "convolve", operands, kernel.shape[3], real, (*attributes, ("groups", groups))
    )
