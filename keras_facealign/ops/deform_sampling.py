"""Deformable sampling in `keras.ops`, and its product with the kernel: the portable arithmetic.

Every tap of the kernel reads the image at its own position, in pixels, by bilinear interpolation.
There are two rules for positions beyond the border; for an axis of n pixels and a position p:

* "zeros" (torchvision, DCNv1 and DCNv2): pixels beyond the border are 0, so that values fall to 0
  within one pixel from the border. Non-zero for -1 < p < n. At -1 itself the value is 0, and the
  gradient of the position is the right-hand derivative, as at all whole pixels. This is the
  behavior of torchvision: `bilinear_interpolate` gives 0 for p <= -1 and n <= p, while
  `get_coordinate_weight`, its derivative, checks each corner separately
  (torchvision/csrc/ops/cpu/deform_conv2d_kernel.cpp).
* "mxnet" (the original networks): 0 unless 0 <= p < n, and the last pixel is repeated up to n.

A NaN or infinite position is outside under both rules: its value and its gradient are 0.

Measurements under XLA on CPUs decided the structure of this code. The taps are sampled one after
the other, because an array of all of them, reshaped for one matrix product, is compiled to a loop
that divides by the number of channels in every step. Where there are as many samples as pixels,
pixels are multiplied by the kernel before sampling: one wide product instead of many narrow ones,
and no columns in memory. The gradient is explicit, because a sum over the innermost axis is not
vectorized (see `_row_dots`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

# Input channels from which on pixels are multiplied before they are sampled.
_LEAST_CHANNELS = 128

BORDERS = ("zeros", "mxnet")


class _Corners(NamedTuple):
    """Positions and weights of samples, all (N, taps, deformable groups), N = B * Ho * Wo.

    Attributes:
        row: float, row of the upper corners, a whole number; at least -1 and inside the image.
        column: float, column of the left corners.
        weights: float; upper left, upper right, lower left and lower right. They are
            differentiable by offsets and mask, and 0 for corners outside of the image.
    """

    row: Any
    column: Any
    weights: tuple[Any, Any, Any, Any]


def _axis(position: Any, size: Any, border: str) -> tuple[Any, Any, Any, Any]:
    """Interpolates along an axis: (inside, lower pixel, its weight, weight of the next)."""
    lowest_inside = position >= -1.0 if border == "zeros" else position >= 0.0
    inside = ops.logical_and(lowest_inside, position < size)
    # Replaced first, so that NaN reaches neither value nor gradient.
    position = ops.where(inside, position, ops.zeros_like(position))
    low = ops.cast(ops.floor(position), position.dtype)
    # On PyTorch, Keras's floor casts float64 to float32 first, which may round up.
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
    """Computes positions and weights; see `sampled_product` for the arguments."""
    _, height, width, _ = ops.shape(inputs)
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in (inputs, offsets)]
    # Half precision cannot represent all pixels of a large image.
    dtype = "float64" if "float64" in dtypes else "float32"
    taps = kernel_size[0] * kernel_size[1]

    def ordered(values: Any) -> Any:
        """Reorders (B, Ho * Wo, groups * taps) to (N, taps, groups)."""
        values = ops.reshape(values, (-1, deformable_groups, taps))
        return ops.transpose(values, (0, 2, 1))

    # At most four axes, since TFLite's built-in operators have no kernels for more.
    samples = out_size[0] * out_size[1]
    offsets = ops.reshape(ops.cast(offsets, dtype), (-1, samples, deformable_groups * taps, 2))
    positions = []
    for axis in range(2):
        # Positions of the undisplaced taps, (1, Ho * Wo, groups * taps), in pixels. Constants where
        # sizes are known: XLA would compute them, with divisions, wherever a position is used.
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
    """Makes a table with a line per pixel and deformable group, and finds the corners' lines.

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
    """Reads lines of a table; reshaped, since JAX drops an axis where there are no lines."""
    return ops.reshape(ops.take(table, lines, axis=0), (*ops.shape(lines), table.shape[1]))


def _sample_tap(table: Any, lines: list[Any], weights: Any, tap: int) -> Any:
    """Samples one tap: (N, C)."""
    result = None
    for line, weight in zip(lines, weights, strict=True):
        corner = _read(table, line[:, tap])
        corner = corner * ops.cast(ops.expand_dims(weight[:, tap], -1), corner.dtype)
        result = corner if result is None else result + corner
    return ops.reshape(result, (-1, table.shape[1] * lines[0].shape[2]))


def sampled_product(
    inputs: Any, offsets: Any, mask: Any, kernel: Any, groups: int, **geometry: Any
) -> Any:
    """Samples columns and multiplies them by the kernel, without all columns in memory.

    The arguments after `groups` are keyword arguments.

    Args:
        inputs: float (B, H, W, C).
        offsets: float (B, Ho, Wo, G * kh * kw * 2), pixels; dy before dx, taps row by row, G
            deformable groups outermost.
        mask: float (B, Ho, Wo, G * kh * kw), factor of every sample, or None.
        kernel: (kh, kw, C / groups, F) of the inputs' dtype.
        groups: Parts that channels and filters are split into, each convolved separately.
        kernel_size: (kh, kw).
        strides: (vertical, horizontal).
        pads: (top, left), pixels before the image that the undisplaced kernel reaches.
        out_size: (Ho, Wo).
        dilation_rate: (vertical, horizontal).
        deformable_groups: G; each displaces its own C / G channels.
        border: "zeros" or "mxnet", see the module.

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

    # PyTorch's own gradient is better: there, Keras's segment sum makes an index for every element
    # and rounds to float32.
    function = product if keras.backend.backend() == "torch" else with_gradient
    result = function(inputs, kernel, corners.row, corners.column, *corners.weights)
    return ops.reshape(result, (-1, height, width, result.shape[-1]))


def _multiplies_first(inputs: Any, kernel: Any, deformable_groups: int, out_size: Any) -> bool:
    """Returns whether `_sampled_products` is possible and not slower than sampling first."""
    _, groups, channels, filters = kernel.shape
    sizes = (*inputs.shape[1:3], *out_size)
    if groups > 1 or deformable_groups > 1 or not all(isinstance(n, int) for n in sizes):
        return False
    # PyTorch's own gradient makes a table of all products for each corner.
    if keras.backend.backend() == "torch":
        return False
    # With few channels, reading products takes longer than the wide product saves.
    enough = channels >= _LEAST_CHANNELS and filters <= channels
    return enough and math.prod(sizes[:2]) <= math.prod(sizes[2:])


def _sampled_products(table: Any, lines: list[Any], weights: Any, kernel: Any) -> Any:
    """Multiplies the table by every tap's kernel, then samples: (N, F).

    Equal to sampling first, since both are linear.

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
    """Reorders a kernel (kh, kw, C / groups, F) to (taps, groups, C / groups, F / groups)."""
    height, width, depth, filters = kernel.shape
    kernel = ops.reshape(kernel, (height * width, depth, groups, filters // groups))
    return ops.transpose(kernel, (0, 2, 1, 3))


def _split(values: Any, groups: int) -> Any:
    """Reorders (N, groups * n) to (groups, N, n)."""
    if groups == 1:
        return ops.expand_dims(values, 0)
    values = ops.reshape(values, (-1, groups, values.shape[1] // groups))
    return ops.transpose(values, (1, 0, 2))


def _join(values: Any) -> Any:
    """Reorders (groups, N, n) to (N, groups * n)."""
    if values.shape[0] == 1:
        return values[0]
    return ops.reshape(ops.transpose(values, (1, 0, 2)), (-1, values.shape[0] * values.shape[2]))


def _product_gradient(
    table: Any, lines: list[Any], weights: Any, kernel: Any, upstream: Any
) -> tuple[Any, Any, list[Any]]:
    """Computes the gradients of `sampled_product` by table, kernel and the corners' weights.

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
    # All four corners at once, so that the samples' gradients are read only once.
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
    """Computes inner products over the last axis.

    XLA does not vectorize sums over the last axis, but those over other axes. So several partial
    sums are made side by side, and added by a product with ones, because XLA would merge two sums
    into one.
    """
    product = a * b
    channels = product.shape[-1]
    lanes = math.gcd(channels, 32)
    if lanes in (1, channels):
        return ops.sum(product, -1)
    partial = ops.sum(ops.reshape(product, (-1, channels // lanes, lanes)), 1)
    total = ops.matmul(partial, ops.ones((lanes, 1), product.dtype))
    return ops.reshape(total, (-1, *product.shape[1:-1]))
