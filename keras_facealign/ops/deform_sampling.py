"""Deformable sampling in `keras.ops`, and its product with the kernel: the portable arithmetic.

Every tap of the kernel reads the image at a place of its own, given in pixels and bilinearly
interpolated. Two rules say what lies beyond the border; for an axis of n pixels and a position p:

* "zeros" (torchvision, DCNv1 and DCNv2): pixels beyond the border are 0, so that a value fades to
  nothing between the last pixel and one pixel further out. Non-zero for -1 < p < n. At -1 itself
  the value is 0 and the gradient of the position the right-hand derivative, as everywhere at whole
  pixels. So it is in torchvision: `bilinear_interpolate` gives 0 for p <= -1 and n <= p, while
  `get_coordinate_weight`, its derivative, asks of each corner alone whether it is inside
  (torchvision/csrc/ops/cpu/deform_conv2d_kernel.cpp).
* "mxnet" (the original networks): 0 unless 0 <= p < n, and the last pixel is repeated up to n.

A NaN or infinite position is outside under both rules: its value is 0, and so is its gradient.

What is fast was measured under XLA on CPUs, and decides the shape of this code: the taps are
sampled one after the other, because an array of all of them, reshaped for one matrix product, is
compiled to a loop that divides by the number of channels in every step; where there are as many
samples as pixels, pixels are multiplied by the kernel before they are sampled, which makes one wide
product of many narrow ones and holds no columns; and the gradient is written down, because a sum
over the innermost axis is not vectorized (see `_row_dots`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

__all__ = ["BORDERS", "sample_columns", "sampled_product"]

# Of the input, from which on pixels are multiplied before they are sampled.
_LEAST_CHANNELS = 128

BORDERS = ("zeros", "mxnet")


class _Corners(NamedTuple):
    """Where samples lie. All (N, taps, deformable groups), N = B * Ho * Wo.

    Attributes:
        row: float, row of the upper corners, a whole number; at least -1 and inside the image.
        column: float, column of the left corners.
        weights: float; upper left, upper right, lower left and lower right. They depend
            differentiably on offsets and mask, and are 0 for corners that do not count.
    """

    row: Any
    column: Any
    weights: tuple[Any, Any, Any, Any]


def _axis(position: Any, size: Any, border: str) -> tuple[Any, Any, Any, Any]:
    """One axis of bilinear interpolation: (inside, lower pixel, its weight, the next's weight)."""
    lowest_inside = position >= -1.0 if border == "zeros" else position >= 0.0
    inside = ops.logical_and(lowest_inside, position < size)
    # Replaced before anything is computed from it, a NaN reaches neither value nor gradient.
    position = ops.where(inside, position, ops.zeros_like(position))
    low = ops.cast(ops.floor(position), position.dtype)
    # On PyTorch, Keras's floor rounds float64 to float32 first, perhaps up to a whole number.
    low = ops.where(low > position, low - 1.0, low)
    fraction = position - low
    weight_low, weight_next = 1.0 - fraction, fraction
    if border == "zeros":
        zero = ops.zeros_like(fraction)
        weight_low = ops.where(low >= 0.0, weight_low, zero)
        weight_next = ops.where(low < size - 1.0, weight_next, zero)
    return inside, ops.stop_gradient(low), weight_low, weight_next


def _corners(
    inputs: Any,
    offsets: Any,
    mask: Any,
    *,
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[Any, Any],
    out_size: tuple[Any, Any],
    dilation_rate: tuple[int, int],
    deformable_groups: int,
    border: str,
) -> _Corners:
    """Positions and weights; see `sample_columns` for the arguments."""
    _, height, width, _ = ops.shape(inputs)
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in (inputs, offsets)]
    # Half precision cannot tell neighboring pixels of a large image apart.
    dtype = "float64" if "float64" in dtypes else "float32"
    taps = kernel_size[0] * kernel_size[1]

    def ordered(values: Any) -> Any:
        """(B, Ho * Wo, groups * taps) as (N, taps, groups)."""
        values = ops.reshape(values, (-1, deformable_groups, taps))
        return ops.transpose(values, (0, 2, 1))

    # Never more than four axes: TFLite's built-in operators have no kernels for more.
    samples = out_size[0] * out_size[1]
    offsets = ops.reshape(ops.cast(offsets, dtype), (-1, samples, deformable_groups * taps, 2))
    positions = []
    for axis in range(2):
        # Where the undisplaced taps lie, (1, Ho * Wo, groups * taps), in pixels. What is known
        # beforehand is not left to be computed, with divisions, wherever a position is used.
        known = all(isinstance(number, int) for number in (*out_size, pads[axis]))
        library: Any = np if known else ops
        first = library.arange(out_size[axis], dtype=dtype) * strides[axis]
        first = first - (pads[axis] if known else ops.cast(pads[axis], dtype))
        tap = np.arange(kernel_size[axis], dtype=dtype) * dilation_rate[axis]
        along = (-1, 1) if axis == 0 else (1, -1)
        first = library.broadcast_to(library.reshape(first, along), out_size)
        tap = np.broadcast_to(np.reshape(tap, along), kernel_size)
        tap = np.tile(np.reshape(tap, (1, 1, taps)), (1, 1, deformable_groups))
        grid = library.reshape(first, (1, samples, 1)) + tap
        positions.append(ordered(ops.add(offsets[..., axis], grid)))
    inside_y, row, *y_weights = _axis(positions[0], ops.cast(height, dtype), border)
    inside_x, column, *x_weights = _axis(positions[1], ops.cast(width, dtype), border)
    factor = ops.cast(ops.logical_and(inside_y, inside_x), dtype)
    if mask is not None:
        factor = factor * ordered(ops.cast(mask, dtype))
    upper, lower = (weight * factor for weight in y_weights)
    left, right = x_weights
    return _Corners(row, column, (upper * left, upper * right, lower * left, lower * right))


def _lookup(inputs: Any, row: Any, column: Any, samples: Any) -> tuple[Any, list[Any]]:
    """The images as a table, a line a pixel and deformable group, and the corners' lines in it.

    Args:
        inputs: (B, H, W, C).
        row: Row of the upper corners, (N, taps, groups).
        column: Column of the left corners.
        samples: N / B, the output pixels of an image.
    """
    batch, height, width, channels = ops.shape(inputs)
    groups = row.shape[2]
    table = ops.reshape(inputs, (-1, channels // groups))
    row, column = ops.cast(row, "int32"), ops.cast(column, "int32")
    rows = (ops.maximum(row, 0), ops.minimum(row + 1, height - 1))
    columns = (ops.maximum(column, 0), ops.minimum(column + 1, width - 1))
    first_row = ops.expand_dims(ops.arange(batch, dtype="int32") * height, 1)
    first_row = ops.reshape(first_row + ops.zeros((1, samples), "int32"), (-1, 1, 1))
    group = ops.arange(groups, dtype="int32")
    lines = [((first_row + r) * width + c) * groups + group for r in rows for c in columns]
    return table, lines


def _read(table: Any, lines: Any) -> Any:
    """Lines of a table; JAX forgets an axis where there are none to read, hence the reshaping."""
    return ops.reshape(ops.take(table, lines, axis=0), (*ops.shape(lines), table.shape[1]))


def _sample_tap(table: Any, lines: list[Any], weights: Any, tap: int) -> Any:
    """What one tap reads: (N, C)."""
    result = None
    for line, weight in zip(lines, weights, strict=True):
        corner = _read(table, line[:, tap])
        corner = corner * ops.cast(ops.expand_dims(weight[:, tap], -1), corner.dtype)
        result = corner if result is None else result + corner
    return ops.reshape(result, (-1, table.shape[1] * lines[0].shape[2]))


def sample_columns(inputs: Any, offsets: Any, mask: Any = None, **geometry: Any) -> Any:
    """Reads the displaced neighborhood of every output pixel (a deformable "im2col").

    The arguments after the mask are given by name.

    Args:
        inputs: float (B, H, W, C).
        offsets: float (B, Ho, Wo, G * kh * kw * 2), pixels; dy before dx, taps row by row, G
            deformable groups outermost.
        mask: float (B, Ho, Wo, G * kh * kw), factor of every sample, or None.
        kernel_size: (kh, kw).
        strides: (vertical, horizontal).
        pads: (top, left), pixels before the image that the undisplaced kernel reaches.
        out_size: (Ho, Wo).
        dilation_rate: (vertical, horizontal).
        deformable_groups: G; each displaces its own C / G channels.
        border: "zeros" or "mxnet", see the module.

    Returns:
        (B, Ho, Wo, kh * kw * C) of the inputs' dtype, channel k * C + c for tap k.
    """
    corners = _corners(inputs, offsets, mask, **geometry)
    height, width = geometry["out_size"]
    table, lines = _lookup(inputs, corners.row, corners.column, height * width)
    taps = [_sample_tap(table, lines, corners.weights, k) for k in range(lines[0].shape[1])]
    return ops.reshape(ops.concatenate(taps, 1), (-1, height, width, len(taps) * inputs.shape[3]))


def sampled_product(
    inputs: Any, offsets: Any, mask: Any, kernel: Any, groups: int, **geometry: Any
) -> Any:
    """`sample_columns` and the product with the kernel in one, which spares memory.

    Args:
        inputs: float (B, H, W, C).
        offsets: As for `sample_columns`.
        mask: As for `sample_columns`.
        kernel: (kh, kw, C / groups, F) of the inputs' dtype.
        groups: Parts of channels and filters that are convolved on their own.
        **geometry: The named arguments of `sample_columns`.

    Returns:
        (B, Ho, Wo, F) of the inputs' dtype.
    """
    corners = _corners(inputs, offsets, mask, **geometry)
    height, width = geometry["out_size"]
    kernel = _by_groups(kernel, groups)

    def product(inputs: Any, kernel: Any, row: Any, column: Any, *weights: Any) -> Any:
        table, lines = _lookup(inputs, row, column, height * width)
        if _multiplies_first(inputs, kernel, row.shape[2], (height, width)):
            return _sampled_products(table, lines, weights, kernel[:, 0])
        result = None
        for tap in range(lines[0].shape[1]):
            columns = _split(_sample_tap(table, lines, weights, tap), groups)
            part = columns @ kernel[tap]  # Keras's matmul rounds float64 to float32 on PyTorch
            result = part if result is None else result + part
        return _join(result)

    @ops.custom_gradient
    def with_gradient(inputs: Any, kernel: Any, row: Any, column: Any, *weights: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            (upstream,) = args if upstream is None else (upstream,)
            table, lines = _lookup(inputs, row, column, height * width)
            parts = _product_gradient(table, lines, weights, kernel, upstream)
            d_table, d_kernel, d_weights = parts
            d_inputs = ops.reshape(d_table, ops.shape(inputs))
            return d_inputs, d_kernel, ops.zeros_like(row), ops.zeros_like(column), *d_weights

        return product(inputs, kernel, row, column, *weights), gradient

    # PyTorch's own gradient of a look-up is the better one: Keras's sum by segments makes an index
    # for every element there, and rounds to float32.
    function = product if keras.backend.backend() == "torch" else with_gradient
    result = function(inputs, kernel, corners.row, corners.column, *corners.weights)
    return ops.reshape(result, (-1, height, width, result.shape[-1]))


def _multiplies_first(inputs: Any, kernel: Any, deformable_groups: int, out_size: Any) -> bool:
    """Whether `_sampled_products` is at hand, and does no more work than sampling first."""
    _, groups, channels, filters = kernel.shape
    sizes = (*inputs.shape[1:3], *out_size)
    if groups > 1 or deformable_groups > 1 or not all(isinstance(n, int) for n in sizes):
        return False
    # PyTorch's own gradient makes a table of all products for each of a sample's corners.
    if keras.backend.backend() == "torch":
        return False
    # Reading products of few channels takes longer than the wider product saves.
    enough = channels >= _LEAST_CHANNELS and filters <= channels
    return enough and math.prod(sizes[:2]) <= math.prod(sizes[2:])


def _sampled_products(table: Any, lines: list[Any], weights: Any, kernel: Any) -> Any:
    """The table times every tap's kernel, then sampled: (N, F).

    Both are linear, so either may come first.

    Args:
        table: (pixels, C).
        lines: Four arrays (N, taps, 1).
        weights: Four arrays (N, taps, 1).
        kernel: (taps, C, F).
    """
    taps, channels, filters = kernel.shape
    kernel = ops.reshape(ops.transpose(kernel, (1, 0, 2)), (channels, taps * filters))
    products = ops.reshape(ops.matmul(table, kernel), (-1, filters))
    result = None
    for tap in range(taps):
        for line, weight in zip(lines, weights, strict=True):
            part = _read(products, line[:, tap, 0] * taps + tap)
            part = part * ops.cast(weight[:, tap], part.dtype)
            result = part if result is None else result + part
    return result


def _by_groups(kernel: Any, groups: int) -> Any:
    """Kernel (kh, kw, C / groups, F) as (taps, groups, C / groups, F / groups)."""
    height, width, depth, filters = kernel.shape
    kernel = ops.reshape(kernel, (height * width, depth, groups, filters // groups))
    return ops.transpose(kernel, (0, 2, 1, 3))


def _split(values: Any, groups: int) -> Any:
    """(N, groups * n) as (groups, N, n)."""
    if groups == 1:
        return ops.expand_dims(values, 0)
    values = ops.reshape(values, (-1, groups, values.shape[1] // groups))
    return ops.transpose(values, (1, 0, 2))


def _join(values: Any) -> Any:
    """(groups, N, n) as (N, groups * n)."""
    if values.shape[0] == 1:
        return values[0]
    return ops.reshape(ops.transpose(values, (1, 0, 2)), (-1, values.shape[0] * values.shape[2]))


def _product_gradient(
    table: Any, lines: list[Any], weights: Any, kernel: Any, upstream: Any
) -> tuple[Any, Any, list[Any]]:
    """Gradients of `sampled_product` with respect to table, kernel and the corners' weights.

    Args:
        table: (pixels * G, C / G).
        lines: Four arrays (N, taps, G).
        weights: Four arrays (N, taps, G).
        kernel: (taps, groups, C / groups, F / groups).
        upstream: (N, F).
    """
    taps, groups, depth, filters = kernel.shape
    upstream = _split(upstream, groups)
    # The samples' gradients in one product, (groups, N, taps * depth), then (N, taps, G, C / G).
    transposed = ops.reshape(ops.transpose(kernel, (1, 3, 0, 2)), (groups, filters, taps * depth))
    d_samples = ops.matmul(upstream, transposed)
    if groups > 1:
        d_samples = ops.reshape(d_samples, (groups, -1, taps, depth))
        d_samples = ops.transpose(d_samples, (1, 2, 0, 3))
    d_samples = ops.reshape(d_samples, (-1, taps, lines[0].shape[2], table.shape[1]))
    # All four corners at once, so that the samples' gradients are read once for all of them.
    d_samples = ops.expand_dims(d_samples, 3)
    line, weight = ops.stack(lines, 3), ops.stack(weights, 3)
    d_weight = ops.cast(_row_dots(_read(table, line), d_samples), weight.dtype)
    parts = d_samples * ops.cast(ops.expand_dims(weight, -1), d_samples.dtype)
    parts = ops.reshape(parts, (-1, table.shape[1]))
    d_table = ops.segment_sum(parts, ops.reshape(line, (-1,)), ops.shape(table)[0])
    d_kernel = []
    for tap in range(taps):
        columns = _split(_sample_tap(table, lines, weights, tap), groups)
        d_kernel.append(ops.einsum("gnc,gnf->gcf", columns, upstream))
    return d_table, ops.stack(d_kernel), [d_weight[..., corner] for corner in range(4)]


def _row_dots(a: Any, b: Any) -> Any:
    """Inner products over the last axis.

    XLA adds one number after the other there. Sums over an axis that is not the last are
    vectorized, so that a few of these run side by side; a product with ones adds them up, because
    two sums in a row would be made into one.
    """
    product = a * b
    channels = product.shape[-1]
    lanes = math.gcd(channels, 32)
    if lanes in (1, channels):
        return ops.sum(product, -1)
    partial = ops.sum(ops.reshape(product, (-1, channels // lanes, lanes)), 1)
    total = ops.matmul(partial, ops.ones((lanes, 1), product.dtype))
    return ops.reshape(total, (-1, *product.shape[1:-1]))
