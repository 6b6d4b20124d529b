"""Deformable convolution as its definition reads: one loop an index, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def corners(border: str, y: float, x: float, height: int, width: int) -> list[Any]:
    """(row, column, weight, d weight / dy, d weight / dx) of the pixels that count at a point."""
    if not (math.isfinite(y) and math.isfinite(x)):
        return []
    if border == "mxnet" and not (0 <= y < height and 0 <= x < width):
        return []
    if border == "zeros" and not (-1 <= y < height and -1 <= x < width):
        return []  # at -1 itself nothing has weight, but a slope to the right
    top, left = math.floor(y), math.floor(x)
    found = []
    for row, weight_y, slope_y in ((top, top + 1 - y, -1.0), (top + 1, y - top, 1.0)):
        for column, weight_x, slope_x in ((left, left + 1 - x, -1.0), (left + 1, x - left, 1.0)):
            r, c = row, column
            if border == "mxnet":  # beyond the last row lies a copy of it
                r, c = min(row, height - 1), min(column, width - 1)
            if 0 <= r < height and 0 <= c < width:
                found.append((r, c, weight_y * weight_x, slope_y * weight_x, weight_y * slope_x))
    return found


def deform_conv2d(
    inputs: Any,
    offsets: Any,
    kernel: Any,
    mask: Any,
    upstream: Any,
    *,
    strides: tuple[int, int],
    pads: tuple[int, int],
    dilation_rate: tuple[int, int],
    groups: int,
    deformable_groups: int,
    border: str,
) -> dict[str, np.ndarray]:
    """The result and, for an `upstream` gradient of its shape, the gradients of all tensors."""
    inputs, offsets, kernel, upstream = (
        np.asarray(a, np.float64) for a in (inputs, offsets, kernel, upstream)
    )
    batch, height, width, channels = inputs.shape
    kernel_height, kernel_width, in_group, filters = kernel.shape
    taps = kernel_height * kernel_width
    _, out_height, out_width, _ = offsets.shape
    shape = (batch, out_height, out_width, deformable_groups * taps)
    mask = np.ones(shape) if mask is None else np.asarray(mask, np.float64)
    result = {
        "outputs": np.zeros((batch, out_height, out_width, filters)),
        "columns": np.zeros((batch, out_height, out_width, taps * channels)),
        "inputs": np.zeros(inputs.shape),
        "offsets": np.zeros(offsets.shape),
        "mask": np.zeros(shape),
        "kernel": np.zeros(kernel.shape),
    }
    filters_in_group = filters // groups
    for n, oy, ox in np.ndindex(batch, out_height, out_width):
        for i, j, c in np.ndindex(kernel_height, kernel_width, channels):
            tap = i * kernel_width + j
            point = c // (channels // deformable_groups) * taps + tap
            y = oy * strides[0] - pads[0] + i * dilation_rate[0] + offsets[n, oy, ox, 2 * point]
            x = ox * strides[1] - pads[1] + j * dilation_rate[1] + offsets[n, oy, ox, 2 * point + 1]
            m = mask[n, oy, ox, point]
            first = c // in_group * filters_in_group
            own = slice(first, first + filters_in_group)
            weights, gradients = kernel[i, j, c % in_group, own], upstream[n, oy, ox, own]
            to_column = float(weights @ gradients)
            value = 0.0
            for row, column, weight, slope_y, slope_x in corners(border, y, x, height, width):
                pixel = inputs[n, row, column, c]
                value += weight * pixel
                result["inputs"][n, row, column, c] += m * weight * to_column
                result["offsets"][n, oy, ox, 2 * point] += m * slope_y * pixel * to_column
                result["offsets"][n, oy, ox, 2 * point + 1] += m * slope_x * pixel * to_column
            result["mask"][n, oy, ox, point] += value * to_column
            result["columns"][n, oy, ox, tap * channels + c] = m * value
            result["outputs"][n, oy, ox, own] += m * value * weights
            result["kernel"][i, j, c % in_group, own] += m * value * gradients
    return result


def random_case(rng: np.random.Generator, border: str | None = None) -> dict[str, Any]:
    """Tensors and arguments of a small deformable convolution of random geometry, in float64."""
    kernel_size = tuple(int(v) for v in rng.integers(1, 4, 2))
    strides = tuple(int(v) for v in rng.integers(1, 3, 2))
    dilation_rate = tuple(int(v) for v in rng.integers(1, 3, 2))
    pads = tuple(int(v) for v in rng.integers(0, 3, 2))
    groups, deformable_groups = (int(v) for v in rng.integers(1, 4, 2))
    channels = groups * deformable_groups * int(rng.integers(1, 8))
    filters = groups * int(rng.integers(1, 12))
    batch, height, width, out_height, out_width = (int(v) for v in rng.integers(1, 6, 5))
    points = deformable_groups * kernel_size[0] * kernel_size[1]
    out = (batch, out_height, out_width)
    offsets = rng.normal(scale=2, size=(*out, 2 * points))
    offsets.flat[:: int(rng.integers(2, 9))] = rng.integers(-2, 3)  # whole pixels among them
    return {
        "inputs": rng.normal(size=(batch, height, width, channels)),
        "offsets": offsets,
        "mask": rng.uniform(size=(*out, points)) if rng.uniform() < 0.7 else None,
        "kernel": rng.normal(size=(*kernel_size, channels // groups, filters)),
        "upstream": rng.normal(size=(*out, filters)),
        "arguments": {
            "strides": strides,
            "pads": pads,
            "dilation_rate": dilation_rate,
            "groups": groups,
            "deformable_groups": deformable_groups,
            "border": border or str(rng.choice(["zeros", "mxnet"])),
        },
    }


def run(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """The reference of a `random_case`."""
    tensors = (case[k] for k in ("inputs", "offsets", "kernel", "mask", "upstream"))
    return deform_conv2d(*tensors, **case["arguments"])
