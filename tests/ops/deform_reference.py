"""Deformable convolution as loops over samples in float64, with its gradients; slow and plain."""

import math

import numpy as np


def corners(y, x, height, width, border):
    """The pixels that a position reads: (row, column, weight, d weight / dy, d weight / dx)."""
    if not (math.isfinite(y) and math.isfinite(x)):
        return []
    if border == "mxnet" and not (0 <= y < height and 0 <= x < width):
        return []
    row, column = math.floor(y), math.floor(x)
    found = []
    for i in (0, 1):
        for j in (0, 1):
            r, c = row + i, column + j
            if border == "mxnet":
                r, c = min(r, height - 1), min(c, width - 1)
            elif not (0 <= r < height and 0 <= c < width):
                continue
            wy, wx = abs(1 - i - (y - row)), abs(1 - j - (x - column))
            found.append((r, c, wy * wx, (2 * i - 1) * wx, (2 * j - 1) * wy))
    # At n the rule of zeros has no pixel of weight, nor to the right of it; at -1 it has a slope.
    if border == "zeros" and not (-1 <= y < height and -1 <= x < width):
        return []
    return found


def deform_conv2d(
    inputs,
    offsets,
    kernel,
    mask=None,
    bias=None,
    upstream=None,
    *,
    strides=(1, 1),
    pads=(0, 0),
    dilation_rate=(1, 1),
    groups=1,
    deformable_groups=1,
    border="zeros",
):
    """The output (B, Ho, Wo, F) and, given d loss / d output, a dict of gradients."""
    arrays = (inputs, offsets, kernel, mask, bias, upstream)
    inputs, offsets, kernel, mask, bias, upstream = (
        None if a is None else np.asarray(a, np.float64) for a in arrays
    )
    batch, height, width, channels = inputs.shape
    kh, kw, depth, filters = kernel.shape
    _, out_height, out_width, _ = offsets.shape
    per_group = filters // groups
    per_deformable = channels // deformable_groups
    output = np.zeros((batch, out_height, out_width, filters))
    if bias is not None:
        output += bias
    named = {"inputs": inputs, "offsets": offsets, "kernel": kernel, "mask": mask, "bias": bias}
    gradients = {n: np.zeros_like(a) for n, a in named.items() if a is not None}
    if upstream is not None and bias is not None:
        gradients["bias"] = upstream.sum((0, 1, 2))
    for b, oy, ox in np.ndindex(batch, out_height, out_width):
        for g, i, j in np.ndindex(deformable_groups, kh, kw):
            tap = (g * kh + i) * kw + j
            y = oy * strides[0] - pads[0] + i * dilation_rate[0] + offsets[b, oy, ox, 2 * tap]
            x = ox * strides[1] - pads[1] + j * dilation_rate[1] + offsets[b, oy, ox, 2 * tap + 1]
            factor = 1.0 if mask is None else mask[b, oy, ox, tap]
            found = corners(y, x, height, width, border)
            for channel in range(g * per_deformable, (g + 1) * per_deformable):
                group = channel // depth
                wanted = slice(group * per_group, (group + 1) * per_group)
                weights = kernel[i, j, channel % depth, wanted]
                value = sum(w * inputs[b, r, c, channel] for r, c, w, _, _ in found)
                output[b, oy, ox, wanted] += factor * value * weights
                if upstream is None:
                    continue
                d_sample = upstream[b, oy, ox, wanted] @ weights
                gradients["kernel"][i, j, channel % depth, wanted] += (
                    factor * value * upstream[b, oy, ox, wanted]
                )
                if mask is not None:
                    gradients["mask"][b, oy, ox, tap] += value * d_sample
                for r, c, w, dy, dx in found:
                    pixel = inputs[b, r, c, channel]
                    gradients["inputs"][b, r, c, channel] += factor * w * d_sample
                    gradients["offsets"][b, oy, ox, 2 * tap] += factor * dy * pixel * d_sample
                    gradients["offsets"][b, oy, ox, 2 * tap + 1] += factor * dx * pixel * d_sample
    return output if upstream is None else (output, gradients)
