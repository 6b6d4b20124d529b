"""Deformable convolution: every tap of the kernel reads the image at an offset of its own.

Dai et al. 2017, "Deformable Convolutional Networks", section 2.1; with a mask, Zhu et al. 2018,
"Deformable ConvNets v2", equation 1. The displaced neighborhoods are sampled, then multiplied by
the kernel.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import sys
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.deform_sampling import BORDERS, sampled_product

IMPLEMENTATIONS = ("auto", "portable", "native")

_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("_forced", default=None)

# A graph traced from one of these is written to a file, which cannot contain native code.
_EXPORTERS = ("keras.src.export", "tensorflow.lite", "tensorflow.python.saved_model", "tf2onnx")


@contextlib.contextmanager
def deform_implementation(implementation: str) -> Iterator[None]:
    """Makes every deformable convolution inside use one implementation, whatever its argument.

    Applies to calls and traces inside, in this thread (or asynchronous task) only. Code that
    exports a model uses it with "portable", since files must not refer to a native library.

    Args:
        implementation: "auto", "portable" or "native", see `deform_conv2d`.

    Raises:
        FaceAlignError: If the implementation is unknown.

    Example:
        >>> with deform_implementation("portable"):
        ...     model.export("saved_model")  # doctest: +SKIP
    """
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    token = _forced.set(implementation)
    try:
        yield
    finally:
        _forced.reset(token)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises a `FaceAlignError` unless `value` is one of `choices`."""
    if value not in choices:
        raise FaceAlignError(
            f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}."
        )


def pair(name: str, value: Any, minimum: int = 1) -> tuple[int, int]:
    """Returns an int or two of them as a pair; raises a `FaceAlignError` for anything else."""
    values = (value, value) if isinstance(value, int) else value
    try:
        first, second = (int(v) for v in values)
        if (first, second) != tuple(values) or min(first, second) < minimum:
            raise ValueError
    except (TypeError, ValueError):
        raise FaceAlignError(
            f"{name} must be an integer of at least {minimum} or two of them, got {value!r}."
        ) from None
    return first, second


def padding_argument(padding: Any) -> str | tuple[int, int]:
    """Returns "same", "valid" or a pair; raises a `FaceAlignError` for anything else."""
    if isinstance(padding, str):
        check_choice("padding", padding, ("same", "valid"))
        return padding
    return pair("padding", padding, 0)


def _axis_geometry(
    size: Any, taps: int, stride: int, padding: str | int, dilation: int
) -> tuple[Any, Any]:
    """Returns an axis's output pixels and padding before it; None where its size is unknown."""
    reach = dilation * (taps - 1)
    if size is None:
        return None, None
    if padding == "same" and stride == 1:
        return size, reach // 2
    if padding == "same":
        out = (size + stride - 1) // stride
        total = (out - 1) * stride + reach + 1 - size
        known = isinstance(size, int)
        return out, (max(total, 0) if known else ops.maximum(total, 0)) // 2
    before = 0 if padding == "valid" else int(padding)
    out = (size + 2 * before - reach - 1) // stride + 1
    if isinstance(out, int) and out < 1:
        raise FaceAlignError(
            f"A kernel that spans {reach + 1} pixels does not fit into {size} pixels with padding "
            f"{before}; use a larger image or padding='same'."
        )
    return out, before


def _geometry(
    size: Any, kernel_size: Any, strides: Any, padding: Any, dilation_rate: Any
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Returns ((Ho, Wo), (top, left)) for an image of `size` (H, W)."""
    paddings = (padding, padding) if isinstance(padding, str) else padding
    axes = [
        _axis_geometry(size[i], kernel_size[i], strides[i], paddings[i], dilation_rate[i])
        for i in range(2)
    ]
    return (axes[0][0], axes[1][0]), (axes[0][1], axes[1][1])


def deform_conv2d_output_size(
    size: tuple[int | None, int | None],
    kernel_size: int | tuple[int, int],
    strides: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = "same",
    dilation_rate: int | tuple[int, int] = 1,
) -> tuple[int | None, int | None]:
    """Computes the height and width of a (deformable) convolution's output.

    Args:
        size: (H, W) of the input in pixels; None where unknown.
        kernel_size: Taps, one number or (vertical, horizontal), like all sizes that follow.
        strides: Input pixels from one output pixel to the next.
        padding: "same" or "valid" as in Keras, or pixels added on either side.
        dilation_rate: Input pixels from one tap to the next.

    Returns:
        (Ho, Wo), None where unknown.

    Raises:
        FaceAlignError: If the kernel does not fit.

    Example:
        >>> deform_conv2d_output_size((64, 65), 3, strides=2, padding=1)
        (32, 33)
    """
    out_size, _ = _geometry(
        size,
        pair("kernel_size", kernel_size),
        pair("strides", strides),
        padding_argument(padding),
        pair("dilation_rate", dilation_rate),
    )
    return out_size


def _check_shape(name: str, shape: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    """Raises a `FaceAlignError` unless the known axes of a shape are as expected."""
    fits = len(shape) == len(expected) and all(
        not (isinstance(a, int) and isinstance(b, int)) or a == b
        for a, b in zip(shape, expected, strict=True)
    )
    if not fits:
        wanted = tuple(n if isinstance(n, int) else None for n in expected)
        raise FaceAlignError(f"{name} must have the shape {wanted}, got {tuple(shape)}.")


def _check_size(**shapes: tuple[Any, ...]) -> None:
    """Raises a `FaceAlignError` for tensors with more elements than 32-bit indices can count."""
    for name, shape in shapes.items():
        elements = math.prod(n for n in shape if isinstance(n, int))
        if elements > 2**31 - 1:
            raise FaceAlignError(
                f"{name} of shape {tuple(shape)} would have {elements} elements, more than the "
                f"{2**31 - 1} of 32-bit indices; use a smaller batch or image."
            )


def _exporting() -> bool:
    """Returns whether this call is traced by an exporter."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return True
        frame = frame.f_back
    return False


def _native(implementation: str, static: bool) -> Any:
    """Returns the module of compiled code where it should be used, else None.

    Args:
        implementation: As given to `deform_conv2d`.
        static: Whether all sizes that compiled code needs are known.
    """
    implementation = _forced.get() or implementation
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    if implementation == "portable":
        return None
    if implementation == "auto" and (not static or _exporting()):
        return None
    backend = keras.backend.backend()
    try:
        from keras_facealign.ops import native

        if native.available(backend):
            return native
    except Exception:
        # Without the package there is no native code, which is an error only for "native".
        if implementation == "native":
            raise
    if implementation == "native":
        raise FaceAlignError(
            f"There is no native deformable convolution for {backend} here; "
            "use implementation='auto' or 'portable'."
        )
    return None


def _matrix_product(columns: Any, kernel: Any, groups: int) -> Any:
    """Multiplies (B, Ho, Wo, taps * C) by a kernel (kh, kw, C / groups, F) to (B, Ho, Wo, F)."""
    height, width, depth, filters = kernel.shape
    taps = height * width
    if groups == 1:
        return ops.matmul(columns, ops.reshape(kernel, (taps * depth, filters)))
    lead = ops.shape(columns)[:3]
    columns = ops.reshape(columns, (-1, taps, groups, depth))
    kernel = ops.reshape(kernel, (taps, depth, groups, filters // groups))
    return ops.reshape(ops.einsum("ntgc,tcgf->ngf", columns, kernel), (*lead, filters))


def _check_tensors(
    inputs: Any,
    offsets: Any,
    kernel: Any,
    mask: Any,
    bias: Any,
    out_size: tuple[Any, Any],
    groups: int,
    deformable_groups: int,
) -> None:
    """Raises a `FaceAlignError` unless the shapes of a convolution's tensors fit together."""
    channels, filters = inputs.shape[3], kernel.shape[3]
    if channels % groups or filters % groups or channels % deformable_groups:
        raise FaceAlignError(
            f"{channels} channels and {filters} filters cannot be split into {groups} groups and "
            f"{deformable_groups} deformable groups of equal size."
        )
    taps = kernel.shape[0] * kernel.shape[1]
    lead = (inputs.shape[0], *out_size)
    _check_shape("kernel", kernel.shape, (*kernel.shape[:2], channels // groups, filters))
    _check_shape("offsets", offsets.shape, (*lead, deformable_groups * taps * 2))
    if mask is not None:
        _check_shape("mask", mask.shape, (*lead, deformable_groups * taps))
    if bias is not None:
        _check_shape("bias", bias.shape, (filters,))
    _check_size(inputs=tuple(inputs.shape), columns=(*lead, taps * channels))


def deform_conv2d(
    inputs: Any,
    offsets: Any,
    kernel: Any,
    mask: Any = None,
    bias: Any = None,
    *,
    strides: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = "same",
    dilation_rate: int | tuple[int, int] = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    border: str = "zeros",
    implementation: str = "auto",
) -> Any:
    """Computes a convolution whose taps are displaced by offsets, an ordinary one where they are 0.

    Tap k = i * kw + j of deformable group g reads the image at row
    `oy * stride - top + i * dilation + dy` and column `ox * stride - left + j * dilation + dx`,
    bilinearly interpolated; dy is `offsets[b, oy, ox, 2 * (g * kh * kw + k)]`, dx the next channel.
    Positions that are NaN or infinite are outside of the image: value 0, gradient 0. All tensors
    have (first) gradients; at whole pixels those of the offsets are right-hand derivatives.

    Args:
        inputs: (B, H, W, C). Half precision is sampled in half precision at float32 positions.
        offsets: (B, Ho, Wo, deformable_groups * kh * kw * 2), pixels.
        kernel: (kh, kw, C / groups, F).
        mask: (B, Ho, Wo, deformable_groups * kh * kw), a factor of every sample (DCNv2), or None.
        bias: (F,) or None.
        strides: One number or (vertical, horizontal), like `padding` and `dilation_rate`.
        padding: "same" or "valid" as in Keras, or pixels on either side, as in PyTorch and MXNet.
        dilation_rate: Pixels between taps.
        groups: Parts that channels and filters are split into, each convolved separately.
        deformable_groups: Parts that channels are split into, each displaced separately.
        border: "zeros" (torchvision's rule) or "mxnet", see `keras_facealign.ops.deform_sampling`.
        implementation: "portable" (`keras.ops`), "native" (compiled), or "auto": native where one
            is available for the backend and the graph is not being exported, else portable.

    Returns:
        (B, Ho, Wo, F) of the inputs' dtype.

    Raises:
        FaceAlignError: If shapes or arguments do not fit together.

    Example:
        >>> import numpy as np
        >>> image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
        >>> right = np.tile(np.float32([0, 1]), (1, 4, 4, 1))  # (dy, dx) of the only tap
        >>> result = deform_conv2d(image, right, np.ones((1, 1, 1, 1), "float32"))
        >>> [float(value) for value in result[0, 0, :, 0]]
        [1.0, 2.0, 3.0, 0.0]
    """
    strides, dilation_rate = pair("strides", strides), pair("dilation_rate", dilation_rate)
    padding = padding_argument(padding)
    pair("groups and deformable_groups", (groups, deformable_groups))
    check_choice("border", border, BORDERS)
    for name, tensor in (("inputs", inputs), ("kernel", kernel)):
        if len(tensor.shape) != 4:
            raise FaceAlignError(f"{name} must have 4 axes, got shape {tuple(tensor.shape)}.")
    kernel_size = (int(kernel.shape[0]), int(kernel.shape[1]))
    out_size, _ = _geometry(inputs.shape[1:3], kernel_size, strides, padding, dilation_rate)
    _check_tensors(inputs, offsets, kernel, mask, bias, out_size, groups, deformable_groups)

    inputs = ops.convert_to_tensor(inputs)
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if not dtype.startswith(("float", "bfloat")):
        dtype = keras.backend.floatx()
        inputs = ops.cast(inputs, dtype)
    out_size, pads = _geometry(ops.shape(inputs)[1:3], kernel_size, strides, padding, dilation_rate)
    offsets, kernel = ops.convert_to_tensor(offsets), ops.cast(kernel, dtype)
    mask = None if mask is None else ops.convert_to_tensor(mask)
    bias = None if bias is None else ops.cast(bias, dtype)
    geometry = {
        "strides": strides,
        "pads": pads,
        "dilation_rate": dilation_rate,
        "deformable_groups": deformable_groups,
        "border": border,
    }
    native = _native(implementation, all(isinstance(n, int) for n in pads))
    if native is not None and native.fused(keras.backend.backend()):
        return native.conv2d(inputs, offsets, mask, kernel, bias, groups=groups, **geometry)
    geometry.update(kernel_size=kernel_size, out_size=out_size)
    if native is not None:
        columns = native.sample(inputs, offsets, mask, **geometry)
        result = _matrix_product(columns, kernel, groups)
    else:
        result = sampled_product(inputs, offsets, mask, kernel, groups, **geometry)
    return result if bias is None else result + bias


def to_torchvision(
    *, offsets: Any = None, kernel: Any = None, mask: Any = None, inputs: Any = None
) -> dict[str, Any]:
    """Converts arrays of `deform_conv2d` to the layout of `torchvision.ops.deform_conv2d`.

    Both have dy before dx, taps row by row and deformable groups outermost, so only axes move.

    Args:
        offsets: (B, Ho, Wo, G * kh * kw * 2).
        kernel: (kh, kw, C / groups, F).
        mask: (B, Ho, Wo, G * kh * kw).
        inputs: (B, H, W, C).

    Returns:
        Those given, under torchvision's names: `offset`, `mask`, `input` with channels second, and
        `weight` (F, C / groups, kh, kw).
    """
    maps = {"input": inputs, "offset": offsets, "mask": mask}
    return _transposed(maps, (0, 3, 1, 2)) | _transposed({"weight": kernel}, (3, 2, 0, 1))


def from_torchvision(
    *, offset: Any = None, weight: Any = None, mask: Any = None, input: Any = None
) -> dict[str, Any]:
    """Converts arrays of `torchvision.ops.deform_conv2d` to the layout of `deform_conv2d`.

    Args:
        offset: (B, 2 * G * kh * kw, Ho, Wo).
        weight: (F, C / groups, kh, kw).
        mask: (B, G * kh * kw, Ho, Wo).
        input: (B, C, H, W).

    Returns:
        Those given, as `offsets`, `kernel`, `mask` and `inputs`: keyword arguments.
    """
    maps = {"inputs": input, "offsets": offset, "mask": mask}
    return _transposed(maps, (0, 2, 3, 1)) | _transposed({"kernel": weight}, (2, 3, 1, 0))


def _transposed(tensors: dict[str, Any], axes: tuple[int, ...]) -> dict[str, Any]:
    return {name: ops.transpose(t, axes) for name, t in tensors.items() if t is not None}
