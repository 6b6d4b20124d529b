"""The native convolution against loops in float64, and against the portable one."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops import deform_conv2d, native
from keras_facealign.ops.deform_sampling import sampled_product
from tests.ops.native import loops
from tests.ops.native.differentiate import modes, needs_fused, value_and_gradients

BACKEND = keras.backend.backend()
GOLDEN = os.environ.get("KERAS_FACEALIGN_GOLDEN")

pytestmark = needs_fused


def arrays(case, dtype="float32"):
    """The tensors of a case that are differentiated, as arrays."""
    names = ["inputs", "offsets", "mask", "kernel"]
    if case["mask"] is None:
        names.remove("mask")
    return names, [case[name].astype(dtype) for name in names]


def fused(case, names):
    def function(*tensors):
        given = dict(zip(names, tensors, strict=True))
        return native.conv2d(
            given["inputs"],
            given["offsets"],
            given.get("mask"),
            given["kernel"],
            **case["arguments"],
        )

    return function


def sampled(case, names, sample):
    """Columns only, by the native or the portable function."""
    arguments = {k: v for k, v in case["arguments"].items() if k != "groups"}

    def function(*tensors):
        given = dict(zip(names, tensors, strict=True))
        return sample(
            given["inputs"],
            given["offsets"],
            given.get("mask"),
            kernel_size=case["kernel"].shape[:2],
            out_size=case["offsets"].shape[1:3],
            **arguments,
        )

    return function


def portable_columns(inputs, offsets, mask, kernel_size, **geometry):
    """What `native.sample` reads, as the product with a kernel that leaves it as it is."""
    count = kernel_size[0] * kernel_size[1] * inputs.shape[3]
    kernel = keras.ops.reshape(keras.ops.eye(count), (*kernel_size, inputs.shape[3], count))
    return sampled_product(inputs, offsets, mask, kernel, 1, kernel_size=kernel_size, **geometry)


def close(got, wanted, tolerance):
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("seed", range(8))
def test_fused_convolution_equals_loops(seed):
    case = loops.random_case(np.random.default_rng(seed))
    wanted = loops.run(case)
    names, tensors = arrays(case)
    mode = modes()[seed % len(modes())]
    upstream = case["upstream"].astype("float32")
    value, *gradients = value_and_gradients(
        fused(case, names), tensors, upstream, mode, len(names) - 1
    )
    close(value, wanted["outputs"], 2e-6)
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient, wanted[name], 5e-6)


@pytest.mark.parametrize("seed", range(20, 24))
def test_columns_equal_loops_and_the_portable_ones(seed):
    case = loops.random_case(np.random.default_rng(seed))
    names, tensors = arrays(case)
    del names[-1], tensors[-1]  # the kernel
    mode = modes()[seed % len(modes())]
    columns = loops.run(case)["columns"]
    upstream = np.random.default_rng(seed).normal(size=columns.shape).astype("float32")
    mine = value_and_gradients(
        sampled(case, names, native.sample), tensors, upstream, mode, len(names)
    )
    theirs = value_and_gradients(
        sampled(case, names, portable_columns), tensors, upstream, mode, len(names)
    )
    close(mine[0], columns, 2e-6)
    for got, wanted in zip(mine, theirs, strict=True):
        close(got, wanted, 5e-6)


@pytest.mark.parametrize("channels, filters", [(7, 5), (48, 40), (260, 33), (128, 128)])
def test_sizes_around_vectors_and_tiles(channels, filters):
    """More pixels than a tile has, more columns too; whole multiples of the panels and not."""
    rng = np.random.default_rng(channels)
    size, points = (2, 11, 13), 9
    tensors = [
        rng.normal(size=(*size, channels)).astype("float32"),
        rng.normal(size=(*size, 2 * points)).astype("float32"),
        rng.uniform(size=(*size, points)).astype("float32"),
        rng.normal(size=(3, 3, channels, filters)).astype("float32") / channels**0.5,
    ]
    upstream = rng.normal(size=(*size, filters)).astype("float32")

    def run(implementation):
        def function(inputs, offsets, mask, kernel):
            if implementation == "fused":
                arguments = {"strides": (1, 1), "pads": (1, 1), "dilation_rate": (1, 1)}
                return native.conv2d(
                    inputs,
                    offsets,
                    mask,
                    kernel,
                    **arguments,
                    groups=1,
                    deformable_groups=1,
                    border="zeros",
                )
            return deform_conv2d(inputs, offsets, kernel, mask, implementation=implementation)

        return value_and_gradients(function, tensors, upstream, modes()[-1], 3)

    wanted = run("portable")
    for implementation in ("fused", "native"):
        for got, reference in zip(run(implementation), wanted, strict=True):
            close(got, reference, 3e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX computes in float32 unless told otherwise")
@pytest.mark.parametrize("seed", range(40, 44))
def test_float64_equals_loops_to_its_precision(seed):
    case = loops.random_case(np.random.default_rng(seed))
    wanted = loops.run(case)
    names, tensors = arrays(case, "float64")
    value, *gradients = value_and_gradients(
        fused(case, names), tensors, case["upstream"], modes()[seed % len(modes())], len(names) - 1
    )
    close(value, wanted["outputs"], 1e-13)
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient, wanted[name], 1e-13)


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_half_precision_is_rounded_once(dtype, tolerance):
    """Products are summed in float32: only the results are rounded."""
    case = loops.random_case(np.random.default_rng(5), "zeros")
    ops = keras.ops
    rounded = {
        n: ops.convert_to_numpy(ops.cast(ops.cast(case[n].astype("float32"), dtype), "float32"))
        for n in ("inputs", "kernel", "upstream")
    }
    offsets = case["offsets"].astype("float32")
    wanted = loops.run({**case, **rounded, "offsets": offsets, "mask": None})

    def function(inputs, offsets, kernel):
        halves = [ops.cast(t, dtype) for t in (inputs, kernel)]
        columns = native.conv2d(halves[0], offsets, None, halves[1], **case["arguments"])
        assert keras.backend.standardize_dtype(columns.dtype) == dtype
        return ops.cast(columns, "float32")

    tensors = [rounded["inputs"], offsets, rounded["kernel"]]
    for mode in modes():
        if mode == "graph":
            continue
        results = value_and_gradients(function, tensors, rounded["upstream"], mode)
        for got, name in zip(results, ("outputs", "inputs", "offsets", "kernel"), strict=True):
            np.testing.assert_allclose(got, wanted[name], rtol=1.01 * tolerance, atol=1e-5)


@pytest.mark.parametrize("border", native.BORDERS)
def test_wild_offsets_sample_nothing(border):
    """NaN, infinite and huge offsets give zeros, and no gradient flows anywhere."""
    wild = np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9, 2**31, 2**63, -(2**63)])
    offsets = np.zeros((1, 4, 5, 2), "float32")
    offsets[..., 0].flat[:10] = wild
    offsets[..., 1].flat[10:] = wild
    rng = np.random.default_rng(0)
    tensors = [rng.normal(size=(1, 4, 5, 19)), offsets, rng.normal(size=(1, 4, 5, 1))]
    tensors = [t.astype("float32") for t in (*tensors, rng.normal(size=(1, 1, 19, 4)))]

    def function(inputs, offsets, mask, kernel):
        arguments = {"strides": (1, 1), "pads": (0, 0), "dilation_rate": (1, 1), "groups": 1}
        return native.conv2d(
            inputs, offsets, mask, kernel, **arguments, deformable_groups=1, border=border
        )

    for mode in modes():
        results = value_and_gradients(function, tensors, np.ones((1, 4, 5, 4), "float32"), mode, 3)
        for result in results:
            np.testing.assert_array_equal(result, 0)


@pytest.mark.parametrize("border", native.BORDERS)
def test_the_rule_at_the_border(border):
    """One pixel of value 1 and its neighborhood, sampled at telling positions along y."""
    positions = np.float32([-1.5, -1, -0.75, -0.001, 0, 0.5, 0.999, 1])
    fades = np.float32([0, 0, 0.25, 0.999, 1, 0.5, 0.001, 0])
    cuts = np.float32([0, 0, 0, 0, 1, 1, 1, 0])
    slopes = np.float32([0, 1, 1, 1, -1, -1, -1, 0])  # at -1 that to the right
    offsets = np.zeros((1, 1, 8, 2), "float32")
    offsets[0, 0, :, 0] = positions
    offsets[0, 0, :, 1] = -np.arange(8)  # every output pixel looks at column 0

    def function(inputs, offsets):
        return native.sample(
            inputs,
            offsets,
            kernel_size=(1, 1),
            strides=(1, 1),
            pads=(0, 0),
            out_size=(1, 8),
            dilation_rate=(1, 1),
            deformable_groups=1,
            border=border,
        )

    inputs = np.ones((1, 1, 1, 1), "float32")
    value, _, slope = value_and_gradients(
        function, [inputs, offsets], np.ones((1, 1, 8, 1), "float32"), "eager"
    )
    np.testing.assert_allclose(value.ravel(), fades if border == "zeros" else cuts, atol=1e-6)
    wanted = slopes if border == "zeros" else np.zeros(8)
    np.testing.assert_allclose(slope[..., 0].ravel(), wanted, atol=1e-6)


def test_empty_batch():
    case = loops.random_case(np.random.default_rng(1))
    for name in ("inputs", "offsets", "upstream"):
        case[name] = case[name][:0]
    case["mask"] = None
    names, tensors = arrays(case)
    upstream = case["upstream"].astype("float32")
    for mode in modes():
        value, *gradients = value_and_gradients(
            fused(case, names), tensors, upstream, mode, len(names) - 1
        )
        assert value.shape == upstream.shape
        for tensor, gradient in zip(tensors, gradients, strict=True):
            np.testing.assert_array_equal(gradient, np.zeros(tensor.shape))


def test_gradients_are_equal_to_the_bit_from_run_to_run():
    rng = np.random.default_rng(0)
    tensors = [
        rng.normal(size=(3, 16, 16, 32)).astype("float32"),
        rng.normal(scale=3, size=(3, 16, 16, 18)).astype("float32"),
        rng.normal(size=(3, 3, 32, 8)).astype("float32"),
    ]
    upstream = rng.normal(size=(3, 16, 16, 8)).astype("float32")

    def function(inputs, offsets, kernel):
        arguments = {"strides": (1, 1), "pads": (1, 1), "dilation_rate": (1, 1), "groups": 1}
        return native.conv2d(
            inputs, offsets, None, kernel, **arguments, deformable_groups=1, border="zeros"
        )

    first = value_and_gradients(function, tensors, upstream, "eager")
    for _ in range(5):
        for a, b in zip(
            first, value_and_gradients(function, tensors, upstream, "eager"), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_bias_and_its_gradient():
    case = loops.random_case(np.random.default_rng(2))
    wanted = loops.run(case)["outputs"]
    filters = wanted.shape[3]
    bias = np.random.default_rng(3).normal(size=filters).astype("float32")
    fixed = [case[n].astype("float32") for n in ("inputs", "offsets", "kernel")]

    def function(bias):
        inputs, offsets, kernel = map(keras.ops.convert_to_tensor, fixed)
        mask = None if case["mask"] is None else case["mask"].astype("float32")
        return native.conv2d(inputs, offsets, mask, kernel, bias, **case["arguments"])

    upstream = case["upstream"].astype("float32")
    value, gradient = value_and_gradients(function, [bias], upstream, "eager")
    close(value, wanted + bias, 2e-6)
    close(gradient, upstream.sum((0, 1, 2)), 2e-6)


def test_unknown_geometry_is_refused():
    tensors = [np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 2, 2, 2), "float32")]
    arguments = {"kernel_size": (1, 1), "strides": (1, 1), "out_size": (2, 2)}
    arguments |= {"dilation_rate": (1, 1), "deformable_groups": 1}
    with pytest.raises(FaceAlignError, match="pads must be known integers"):
        native.sample(*tensors, pads=(None, 0), border="zeros", **arguments)
    with pytest.raises(FaceAlignError, match="border must be one of"):
        native.sample(*tensors, pads=(0, 0), border="mirror", **arguments)


@pytest.mark.parametrize("wrong", ["offsets", "mask", "kernel", "bias"])
def test_shapes_that_do_not_fit_are_refused_by_the_library_itself(wrong):
    """Whoever calls: nothing is read beyond a tensor's end."""
    shapes = {
        "inputs": (1, 4, 4, 6),
        "offsets": (1, 4, 4, 18),
        "mask": (1, 4, 4, 9),
        "kernel": (3, 3, 6, 2),
        "bias": (2,),
    }
    shapes[wrong] = (*shapes[wrong][:-1], shapes[wrong][-1] + 2)
    if wrong == "kernel":
        shapes[wrong] = (3, 3, 5, 2)
    tensors = [keras.ops.ones(shape) for shape in shapes.values()]
    arguments = {"strides": (1, 1), "pads": (1, 1), "dilation_rate": (1, 1), "groups": 1}
    with pytest.raises(Exception, match="deformable convolution: "):
        result = native.conv2d(*tensors, **arguments, deformable_groups=1, border="zeros")
        keras.ops.convert_to_numpy(result)


def golden_cases():
    if not GOLDEN:
        return {}
    path = Path(GOLDEN) / "mxnet" / "deformable_convolution.npz"
    return json.loads(str(np.load(path)["meta_json"]))["cases"]


@pytest.mark.skipif(not GOLDEN, reason="KERAS_FACEALIGN_GOLDEN is not set")
@pytest.mark.parametrize("mode", modes() or ("none",))
@pytest.mark.parametrize("implementation", ["fused", "native"])
def test_original_operator(mode, implementation):
    """MXNet's own values and gradients, all cases, channels second in the file."""
    path = Path(GOLDEN) / "mxnet" / "deformable_convolution.npz"
    file = np.load(path)
    for name, meta in golden_cases().items():

        def read(key, name=name):
            value = file[f"{name}/{key}"]
            if value.ndim == 4:
                value = value.transpose((2, 3, 1, 0) if "weight" in key else (0, 2, 3, 1))
            return np.ascontiguousarray(value)

        keys = ["data", "offset", "weight"] + ([] if meta["no_bias"] else ["bias"])

        def function(inputs, offsets, kernel, bias=None, meta=meta):
            shared = {
                "strides": tuple(meta["stride"]),
                "dilation_rate": tuple(meta["dilate"]),
                "groups": meta["num_group"],
                "deformable_groups": meta["num_deformable_group"],
                "border": "mxnet",
            }
            pads = tuple(meta["pad"])
            if implementation == "fused":
                return native.conv2d(inputs, offsets, None, kernel, bias, pads=pads, **shared)
            return deform_conv2d(
                inputs, offsets, kernel, bias=bias, padding=pads, implementation="native", **shared
            )

        tensors = [read(key) for key in keys]
        results = value_and_gradients(function, tensors, read("head_grad"), mode)
        for key, got in zip(["out", *(f"grad_{k}" for k in keys)], results, strict=True):
            np.testing.assert_allclose(got, read(key), rtol=0, atol=1e-4, err_msg=f"{name}/{key}")
