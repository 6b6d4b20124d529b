"""Products of many filters, which the CPU kernels make by Strassen's algorithm."""

import os

import keras
import numpy as np
import pytest

from keras_facealign.ops import native
from tests.ops.native import loops
from tests.ops.native.differentiate import modes, needs_fused, value_and_gradients

BACKEND = keras.backend.backend()
SWITCH = "KERAS_FACEALIGN_STRASSEN"
NAMES = ("outputs", "inputs", "offsets", "mask", "kernel")
ARGUMENTS = {"strides": (1, 1), "pads": (1, 1), "dilation_rate": (1, 1)}

pytestmark = needs_fused


def make_case(groups, deformable_groups, border, batch=1):
    """Just enough pixels and filters for the algorithm, and no multiple of its tile of pixels."""
    rng = np.random.default_rng(10 * groups + deformable_groups)
    size, channels, filters = (batch, 24, 25), 64 * groups, 128 * groups
    points = 9 * deformable_groups
    tensors = [
        rng.normal(size=(*size, channels)),
        np.round(rng.normal(size=(*size, 2 * points)) * 1024) / 1024,  # exact when added to pixels
        rng.uniform(size=(*size, points)),
        rng.normal(size=(3, 3, channels // groups, filters)) / 24,
    ]
    arguments = {"groups": groups, "deformable_groups": deformable_groups, "border": border}
    upstream = rng.normal(size=(*size, filters))
    return [t.astype("float32") for t in tensors], upstream.astype("float32"), arguments


def convolution(arguments):
    def function(inputs, offsets, mask, kernel):
        return native.conv2d(inputs, offsets, mask, kernel, **ARGUMENTS, **arguments)

    return function


def run(tensors, upstream, arguments, mode=None):
    mode = mode or modes()[-1]
    results = value_and_gradients(convolution(arguments), tensors, upstream, mode, 3)
    return dict(zip(NAMES, results, strict=True))


def reference(tensors, upstream, groups, deformable_groups, border):
    """The same in float64, point by point."""
    inputs, offsets, mask, kernel = (t.astype("float64") for t in tensors)
    batch, height, width, channels = inputs.shape
    own = channels // deformable_groups
    columns = np.zeros((batch, height, width, 9, channels))
    found = {name: np.zeros(t.shape) for name, t in zip(NAMES[1:], tensors, strict=True)}

    def points():
        for n, y, x, group, tap in np.ndindex(batch, height, width, deformable_groups, 9):
            point = group * 9 + tap
            dy, dx = offsets[n, y, x, 2 * point : 2 * point + 2]
            at = (y - 1 + tap // 3 + dy, x - 1 + tap % 3 + dx)
            part = slice(group * own, (group + 1) * own)
            yield n, y, x, tap, point, part, loops.corners(border, *at, height, width)

    for n, y, x, tap, point, part, corners in points():
        for row, column, weight, _, _ in corners:
            columns[n, y, x, tap, part] += (
                mask[n, y, x, point] * weight * inputs[n, row, column, part]
            )
    grouped = columns.reshape(batch, height, width, 9, groups, -1)
    kernels = kernel.reshape(9, channels // groups, groups, -1)
    upstreams = upstream.astype("float64").reshape(batch, height, width, groups, -1)
    outputs = np.einsum("nyxtgc,tcgf->nyxgf", grouped, kernels, optimize=True)
    found["kernel"] = np.einsum("nyxtgc,nyxgf->tcgf", grouped, upstreams, optimize=True)
    d_columns = np.einsum("nyxgf,tcgf->nyxtgc", upstreams, kernels, optimize=True)
    d_columns = d_columns.reshape(columns.shape)
    for n, y, x, tap, point, part, corners in points():
        gradient, m = d_columns[n, y, x, tap, part], mask[n, y, x, point]
        for row, column, weight, slope_y, slope_x in corners:
            dot = gradient @ inputs[n, row, column, part]
            found["inputs"][n, row, column, part] += m * weight * gradient
            found["offsets"][n, y, x, 2 * point] += m * slope_y * dot
            found["offsets"][n, y, x, 2 * point + 1] += m * slope_x * dot
            found["mask"][n, y, x, point] += weight * dot
    found["outputs"] = outputs.reshape(upstream.shape)
    found["kernel"] = found["kernel"].reshape(kernel.shape)
    return found


@pytest.mark.parametrize(
    "groups, deformable_groups, border, batch",
    [(1, 1, "zeros", 2), (1, 2, "mxnet", 1), (2, 1, "zeros", 1)],
)
def test_equals_a_reference_in_float64(groups, deformable_groups, border, batch, monkeypatch):
    tensors, upstream, arguments = make_case(groups, deformable_groups, border, batch)
    wanted = reference(tensors, upstream, **arguments)
    mine = run(tensors, upstream, arguments)
    monkeypatch.setenv(SWITCH, "0")
    plain = run(tensors, upstream, arguments)
    for name in NAMES:
        scale = np.abs(wanted[name]).max()
        np.testing.assert_allclose(plain[name], wanted[name], rtol=0, atol=3e-6 * scale)
        np.testing.assert_allclose(mine[name], wanted[name], rtol=0, atol=3e-6 * scale)
        # Other roundings show that it was the other algorithm; gradients take it where no thread
        # gets less than a whole image.
        if name == "outputs" or batch % (os.cpu_count() or 1) == 0:
            assert not np.array_equal(mine[name], plain[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_stays_where_it_belongs(value, monkeypatch):
    """The blocks' sums would carry it, or an overflow, to other pixels and filters."""
    tensors, upstream, arguments = make_case(1, 1, "zeros", batch=2)
    tensors[0][0, 3, 4, 5] = value
    tensors[3][1, 1, 6, 7] = value
    upstream[0, 20, 21, 100] = value
    mine = run(tensors, upstream, arguments)
    monkeypatch.setenv(SWITCH, "0")
    plain = run(tensors, upstream, arguments)
    for name in NAMES:
        np.testing.assert_array_equal(mine[name], plain[name])
    assert 0 < np.isfinite(mine["outputs"]).sum() < mine["outputs"].size


def test_results_are_equal_to_the_bit_from_run_to_run():
    """Whichever thread takes which pixels, and whatever it has had before."""
    case = make_case(1, 1, "zeros", batch=2)
    first = run(*case, "eager")
    for _ in range(20):
        again = run(*case, "eager")
        for name in NAMES:
            np.testing.assert_array_equal(again[name], first[name])


def test_empty_batch_after_a_full_one():
    """Nothing of what earlier calls left in memory."""
    full, empty = make_case(1, 1, "zeros", batch=2), make_case(1, 1, "zeros", batch=0)
    for _ in range(10):
        run(*full, "eager")
        for name, gradient in run(*empty, "eager").items():
            np.testing.assert_array_equal(gradient, np.zeros(gradient.shape), name)


def test_half_precision_is_rounded_once():
    tensors, upstream, arguments = make_case(1, 1, "zeros")
    ops = keras.ops

    def halved(array):
        return ops.convert_to_numpy(ops.cast(ops.cast(array, "bfloat16"), "float32"))

    tensors[0], tensors[3], upstream = (halved(a) for a in (tensors[0], tensors[3], upstream))
    wanted = reference(tensors, upstream, **arguments)

    def function(inputs, offsets, mask, kernel):
        inputs, kernel = ops.cast(inputs, "bfloat16"), ops.cast(kernel, "bfloat16")
        value = convolution(arguments)(inputs, offsets, mask, kernel)
        return ops.cast(value, "float32")

    results = value_and_gradients(function, tensors, upstream, modes()[-1], 3)
    for name, got in zip(NAMES, results, strict=True):
        scale = np.abs(wanted[name]).max()
        np.testing.assert_allclose(got, wanted[name], rtol=1.01 * 2**-8, atol=2e-6 * scale)


def test_double_keeps_its_digits():
    if BACKEND != "tensorflow":
        pytest.skip("JAX computes in float32 unless told otherwise")
    tensors, upstream, arguments = make_case(1, 1, "zeros")
    tensors = [t.astype("float64") for t in tensors]
    mine = run(tensors, upstream.astype("float64"), arguments, "graph")
    wanted = reference(tensors, upstream, **arguments)
    for name in NAMES:
        scale = np.abs(wanted[name]).max()
        np.testing.assert_allclose(mine[name], wanted[name], rtol=0, atol=1e-14 * scale)
