"""Deformable convolution against loops in float64, MXNet, torchvision and Conv2D."""

import contextlib
import contextvars
import json
import threading

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops import deform_conv as module
from keras_facealign.ops import (
    deform_conv2d,
    deform_conv2d_output_size,
    deform_implementation,
    deform_sampling,
    from_torchvision,
    to_torchvision,
)
from tests.ops import deform_reference
from tests.paths import TESTS

GOLDEN = TESTS / "data" / "mxnet" / "deformable_convolution.npz"
BACKEND = keras.backend.backend()


@pytest.fixture(autouse=True)
def portable():
    """What is tested here is the arithmetic in keras.ops."""
    with deform_implementation("portable"):
        yield


def value_and_gradients(function, arrays, upstream, jit=False):
    """function(*arrays), and the gradients of sum(function * upstream), as NumPy."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def both(*arrays):
            with tf.GradientTape() as tape:
                tape.watch(arrays)
                value = function(*arrays)
            return value, tape.gradient(value, arrays, output_gradients=tf.constant(upstream))

        # A graph of its own would take longer than the arithmetic.
        called = tf.function(both, jit_compile=True, autograph=False) if jit else both
        value, found = called(*(tf.constant(a) for a in arrays))
    elif BACKEND == "jax":
        import jax

        def both(*arrays):
            value, pullback = jax.vjp(function, *arrays)
            return value, pullback(jax.numpy.asarray(upstream))

        # Compiled or not: one compilation takes less time than one for each operation.
        value, found = jax.jit(both)(*map(jax.numpy.asarray, arrays))
    else:
        import torch

        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        value = function(*tensors)
        found = torch.autograd.grad(value, tensors, torch.tensor(upstream))
    return ops.convert_to_numpy(value), [ops.convert_to_numpy(g) for g in found]


def draw(
    batch=2,
    size=(6, 7),
    channels=4,
    filters=6,
    kernel_size=(3, 3),
    spread=1.5,
    modulated=True,
    groups=1,
    deformable_groups=1,
    dtype="float32",
    seed=0,
    **geometry,
):
    """Random arrays: inputs, offsets, kernel, mask, bias."""
    rng = np.random.default_rng(seed)
    out = deform_conv2d_output_size(size, kernel_size, **geometry)
    samples = deformable_groups * kernel_size[0] * kernel_size[1]
    arrays = (
        rng.normal(size=(batch, *size, channels)),
        rng.normal(size=(batch, *out, 2 * samples)) * spread,
        rng.normal(size=(*kernel_size, channels // groups, filters)),
        rng.uniform(0, 2, (batch, *out, samples)) if modulated else None,
        rng.normal(size=filters),
    )
    return [None if a is None else a.astype(dtype) for a in arrays]


def run(*arrays, **arguments):
    return ops.convert_to_numpy(deform_conv2d(*arrays, **arguments))


def compare(arrays, upstream_seed=9, tolerance=2e-5, jit=False, pads=None, **arguments):
    """Output and all gradients against the loops; returns the reference's."""
    inputs, offsets, kernel, mask, bias = arrays
    names = [n for n, a in zip(("mask", "bias"), (mask, bias), strict=True) if a is not None]
    out = (*offsets.shape[:3], kernel.shape[3])
    upstream = np.random.default_rng(upstream_seed).normal(size=out).astype(inputs.dtype)

    def function(inputs, offsets, kernel, *rest):
        return deform_conv2d(
            inputs, offsets, kernel, **dict(zip(names, rest, strict=True)), **arguments
        )

    value, gradients = value_and_gradients(
        function, [a for a in arrays if a is not None], upstream, jit
    )
    plain = {n: a for n, a in arguments.items() if n != "padding"}
    for name in ("strides", "dilation_rate"):
        plain[name] = module.pair(name, plain.get(name, 1))
    if pads is None:
        pads = module.pair("padding", arguments["padding"], 0)
    expected, exact = deform_reference.deform_conv2d(*arrays, upstream, pads=pads, **plain)
    np.testing.assert_allclose(value, expected, atol=tolerance * max(1, np.abs(expected).max()))
    for name, found in zip(("inputs", "offsets", "kernel", *names), gradients, strict=True):
        limit = tolerance * max(1, np.abs(exact[name]).max())
        np.testing.assert_allclose(found, exact[name], atol=limit, err_msg=name)
    return expected, exact


CASES = {
    "plain": dict(padding=1, modulated=False),
    "modulated": dict(padding=1),
    "stride and dilation": dict(padding=(2, 1), strides=(2, 1), dilation_rate=(2, 1)),
    "groups": dict(padding=1, groups=2, filters=4),
    "deformable groups": dict(padding=0, deformable_groups=2),
    "all": dict(padding=2, strides=2, dilation_rate=2, groups=2, deformable_groups=4, channels=8),
    "kernel 1x2": dict(padding=0, kernel_size=(1, 2), filters=3),
    "wide": dict(padding=1, channels=128, filters=2, batch=1, size=(3, 4)),
}


def case(name, **more):
    arguments = {**CASES[name], **more}
    geometry = {n: arguments[n] for n in ("padding", "strides", "dilation_rate") if n in arguments}
    other = {n: arguments[n] for n in ("groups", "deformable_groups") if n in arguments}
    return draw(**arguments), {**geometry, **other}


BORDERS = {"modulated": ("zeros", "mxnet"), "groups": ("mxnet",), "all": ("zeros", "mxnet")}


@pytest.mark.parametrize(
    "name, border", [(name, border) for name in CASES for border in BORDERS.get(name, ("zeros",))]
)
def test_value_and_gradients_against_loops(name, border):
    arrays, arguments = case(name)
    expected, exact = compare(arrays, border=border, **arguments)
    assert np.abs(expected).max() > 1
    # Some samples must lie outside, or the border rule has not been tested.
    offsets = exact["offsets"]
    assert (offsets == 0).any() and (offsets != 0).any()


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch always samples first")
@pytest.mark.parametrize(
    "name, border", [("plain", "zeros"), ("modulated", "mxnet"), ("kernel 1x2", "zeros")]
)
def test_multiplying_before_sampling_changes_nothing(monkeypatch, name, border):
    """What is taken for many channels, here at sizes that the loops can follow."""
    taken = []
    whole = deform_sampling._sampled_products
    monkeypatch.setattr(deform_sampling, "_LEAST_CHANNELS", 1)
    monkeypatch.setattr(
        deform_sampling, "_sampled_products", lambda *a: taken.append(1) or whole(*a)
    )
    more = {"filters": 3, "channels": 4, "padding": 1}
    arrays, arguments = case(name, **more)
    compare(arrays, border=border, **arguments)
    assert taken


def test_groups_are_sampled_first_however_many_channels_there_are(monkeypatch):
    monkeypatch.setattr(deform_sampling, "_LEAST_CHANNELS", 1)
    arrays, arguments = case("groups")
    compare(arrays, border="zeros", **arguments)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX always compiles, PyTorch has no XLA")
@pytest.mark.parametrize("name", ["plain", "all", "wide"])
def test_compiled_by_xla(name):
    arrays, arguments = case(name)
    compare(arrays, jit=True, border="zeros", **arguments)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX rounds to float32 unless told otherwise")
@pytest.mark.parametrize("name", ["plain", "all", "wide"])
def test_float64_is_exact(name):
    arrays, arguments = case(name, dtype="float64")
    assert run(*arrays, **arguments).dtype == np.float64
    compare(arrays, tolerance=1e-13, **arguments)


@pytest.mark.parametrize("border", ["zeros", "mxnet"])
def test_the_loops_gradients_are_those_of_finite_differences(border):
    """The reference itself, at positions that stay clear of whole pixels."""
    arrays, _ = case("modulated", batch=1, size=(4, 4), channels=2, filters=2)
    arrays = [a.astype(np.float64) for a in arrays]
    fraction = np.random.default_rng(1).uniform(0.1, 0.9, arrays[1].shape)
    arrays[1] = np.floor(arrays[1]) + fraction
    upstream = np.random.default_rng(2).normal(size=(1, 4, 4, 2))
    plain = dict(pads=(1, 1), border=border)
    _, exact = deform_reference.deform_conv2d(*arrays, upstream, **plain)
    rng = np.random.default_rng(3)
    for n, name in enumerate(("inputs", "offsets", "kernel", "mask", "bias")):
        for _ in range(6):
            index = tuple(rng.integers(s) for s in arrays[n].shape)
            values = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in arrays]
                moved[n][index] += step
                values.append((deform_reference.deform_conv2d(*moved, **plain) * upstream).sum())
            difference = (values[0] - values[1]) / 2e-5
            assert abs(difference - exact[name][index]) < 1e-7, (name, index)


# ---- MXNet --------------------------------------------------------------------------------------


def golden_cases():
    with np.load(GOLDEN) as archive:
        arrays = {n: archive[n] for n in archive.files}
    cases = json.loads(str(arrays.pop("meta_json")))["cases"]
    return [
        (name, what, {n[len(name) + 1 :]: a for n, a in arrays.items() if n.startswith(name + "/")})
        for name, what in cases.items()
    ]


@pytest.mark.parametrize("name, what, stored", golden_cases(), ids=lambda v: v if v is str else "")
def test_numbers_of_mxnet(name, what, stored):
    """MXNet 1.9.1: values and four gradients of 16 cases."""
    arrays = from_torchvision(
        input=stored["data"], offset=stored["offset"], weight=stored["weight"]
    )
    arrays = [ops.convert_to_numpy(arrays[n]) for n in ("inputs", "offsets", "kernel")]
    if not what["no_bias"]:
        arrays.append(stored["bias"])
    upstream = stored["head_grad"].transpose(0, 2, 3, 1)

    def function(inputs, offsets, kernel, bias=None):
        return deform_conv2d(
            inputs,
            offsets,
            kernel,
            bias=bias,
            strides=tuple(what["stride"]),
            padding=tuple(what["pad"]),
            dilation_rate=tuple(what["dilate"]),
            groups=what["num_group"],
            deformable_groups=what["num_deformable_group"],
            border="mxnet",
        )

    value, gradients = value_and_gradients(function, arrays, upstream)
    np.testing.assert_allclose(value, stored["out"].transpose(0, 2, 3, 1), atol=1e-4)
    for key, axes, found in zip(
        ("grad_data", "grad_offset", "grad_weight", "grad_bias"),
        ((0, 2, 3, 1), (0, 2, 3, 1), (2, 3, 1, 0), (0,)),
        gradients,
        strict=False,
    ):
        np.testing.assert_allclose(found, stored[key].transpose(axes), atol=1e-4, err_msg=key)


# ---- torchvision --------------------------------------------------------------------------------


def torchvision_ops():
    try:
        import torchvision.ops
    except Exception as error:  # a torchvision for another torch fails in its own ways
        pytest.skip(f"torchvision cannot be imported: {error}")
    return torchvision.ops


@pytest.mark.skipif(BACKEND != "torch", reason="torchvision's numbers are compared under PyTorch")
@pytest.mark.parametrize("name", CASES)
def test_same_as_torchvision(name):
    reference = torchvision_ops().deform_conv2d
    arrays, arguments = case(name)
    inputs, offsets, kernel, mask, bias = arrays
    found = run(*arrays, **arguments)
    theirs = to_torchvision(inputs=inputs, offsets=offsets, kernel=kernel, mask=mask)
    expected = reference(
        **{n: t.contiguous() for n, t in theirs.items()},
        bias=ops.convert_to_tensor(bias),
        stride=arguments.get("strides", 1),
        padding=arguments["padding"],
        dilation=arguments.get("dilation_rate", 1),
    )
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-4)


def test_layouts_go_there_and_back():
    (inputs, offsets, kernel, mask, _), _ = case("all")
    theirs = to_torchvision(inputs=inputs, offsets=offsets, kernel=kernel, mask=mask)
    assert tuple(theirs["weight"].shape) == (6, 4, 3, 3)
    assert tuple(theirs["offset"].shape[:2]) == (2, 72)
    ours = from_torchvision(**theirs)
    for name, array in dict(inputs=inputs, offsets=offsets, kernel=kernel, mask=mask).items():
        np.testing.assert_array_equal(ops.convert_to_numpy(ours[name]), array)
    assert set(to_torchvision(offsets=offsets)) == {"offset"}


# ---- Conv2D -------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides, dilation_rate", [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_zero_offsets_are_an_ordinary_convolution(padding, strides, dilation_rate):
    geometry = dict(padding=padding, strides=strides, dilation_rate=dilation_rate)
    for border in ("zeros", "mxnet"):
        inputs, offsets, kernel, _, bias = draw(size=(9, 8), spread=0, modulated=False, **geometry)
        expected = ops.conv(
            inputs,
            kernel,
            strides,
            padding,
            data_format="channels_last",
            dilation_rate=dilation_rate,
        )
        found = run(inputs, offsets, kernel, None, bias, border=border, **geometry)
        np.testing.assert_allclose(found, ops.convert_to_numpy(expected) + bias, atol=1e-4)


@pytest.mark.parametrize("border", ["zeros", "mxnet"])
def test_whole_pixel_offsets_are_a_shifted_convolution(border):
    inputs, offsets, kernel, _, _ = draw(size=(8, 8), modulated=False, padding="same")
    offsets[..., 0::2], offsets[..., 1::2] = 2, -1
    shifted = np.zeros_like(inputs)
    shifted[:, :-2, 1:] = inputs[:, 2:, :-1]
    found = run(inputs, offsets, kernel, border=border)
    expected = ops.convert_to_numpy(ops.conv(shifted, kernel, 1, "same", "channels_last"))
    # At the rim the shifted picture's padding lies where the offset taps find pixels.
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-4)


# ---- border, strange offsets, strange sizes -----------------------------------------------------


def one_tap(positions, border):
    """What a 1x1 kernel reads at some x of the row 1, 2, 3 (a picture of a single row)."""
    row = np.float32([1, 2, 3]).reshape(1, 1, 3, 1)
    result = []
    for x in positions:
        offsets = np.zeros((1, 1, 3, 2), np.float32)
        offsets[..., 1] = x
        result.append(
            run(row, offsets, np.ones((1, 1, 1, 1), "float32"), border=border)[0, 0, 0, 0]
        )
    return result


def test_the_two_borders():
    positions = [-1, -0.5, -0.001, 0, 0.5, 2, 2.25, 2.999, 3, 4]
    zeros = [0, 0.5, 0.999, 1, 1.5, 3, 2.25, 0.003, 0, 0]
    np.testing.assert_allclose(one_tap(positions, "zeros"), zeros, atol=1e-5)
    mxnet = [0, 0, 0, 1, 1.5, 3, 3, 3, 0, 0]
    np.testing.assert_allclose(one_tap(positions, "mxnet"), mxnet, atol=1e-5)


@pytest.mark.parametrize("border", ["zeros", "mxnet"])
def test_offsets_that_lead_nowhere(border):
    arrays, arguments = case("modulated")
    nowhere = np.float32([np.nan, np.inf, -np.inf, 1e9, -1e30, 3e38])
    arrays[1][0, :, 2, 5] = nowhere  # one of the two coordinates of a tap
    arrays[1][1, 3] = np.append(nowhere, np.nan)[:, None]  # all taps
    expected, exact = compare(arrays, border=border, **arguments)
    assert np.isfinite(expected).all()
    assert (exact["offsets"][1, 3] == 0).all() and (exact["mask"][1, 3] == 0).all()
    np.testing.assert_allclose(
        run(*arrays, border=border, **arguments)[1, 3], np.tile(arrays[4], (7, 1)), atol=1e-6
    )


@pytest.mark.parametrize("name", ["modulated", "all"])
def test_empty_batch(name):
    arrays, arguments = case(name)
    arrays = [a[:0] if a.ndim == 4 and n != 2 else a for n, a in enumerate(arrays)]
    upstream = np.zeros((0, *arrays[1].shape[1:3], arrays[2].shape[3]), np.float32)
    value, gradients = value_and_gradients(
        lambda *a: deform_conv2d(*a, **arguments), arrays, upstream
    )
    assert value.shape == upstream.shape
    assert [g.shape for g in gradients] == [a.shape for a in arrays]
    assert np.abs(gradients[2]).max() == 0


def test_sizes_beyond_32_bits_are_refused():
    """The arrays are views of one number; nothing of that size is ever made."""
    inputs = np.broadcast_to(np.float32(0), (2**9, 512, 512, 32))
    offsets = np.broadcast_to(np.float32(0), (2**9, 512, 512, 18))
    kernel = np.zeros((3, 3, 32, 1), "float32")
    with pytest.raises(FaceAlignError, match=r"inputs of shape .*4294967296 elements"):
        deform_conv2d(inputs, offsets, kernel)
    with pytest.raises(FaceAlignError, match=r"columns of shape .*smaller batch"):
        deform_conv2d(inputs[:64], offsets[:64], kernel)


@pytest.mark.parametrize("dtype, tolerance", [("float16", 0.01), ("bfloat16", 0.08)])
def test_half_precision(dtype, tolerance):
    arrays, arguments = case("modulated")
    low = [ops.cast(a, dtype) for a in arrays]
    found = deform_conv2d(*low, **arguments)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    rounded = [ops.convert_to_numpy(ops.cast(a, "float32")) for a in low]
    expected = run(*rounded, **arguments)
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_positions_of_half_precision_images_are_precise():
    """float16 knows no pixel between 2048 and 2050, bfloat16 none between 256 and 258."""
    row = np.zeros((1, 1, 2400, 1), np.float32)
    row[..., 2051, 0] = 1
    offsets = np.zeros((1, 1, 2400, 2), np.float32)
    offsets[..., 1] = 0.5
    for dtype in ("float16", "bfloat16"):
        found = deform_conv2d(
            ops.cast(row, dtype), ops.cast(offsets, dtype), np.ones((1, 1, 1, 1), "float32")
        )
        found = ops.convert_to_numpy(ops.cast(found, "float32"))[0, 0, :, 0]
        assert np.flatnonzero(found).tolist() == [2050, 2051]
        np.testing.assert_array_equal(found[[2050, 2051]], 0.5)


def test_integer_images_become_floats():
    image = np.random.default_rng(0).integers(0, 256, (1, 5, 5, 3)).astype(np.uint8)
    _, offsets, kernel, _, _ = draw(batch=1, size=(5, 5), channels=3, padding="same")
    found = run(image, offsets, kernel)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run(image.astype("float32"), offsets, kernel), rtol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow traces unknown sizes")
@pytest.mark.parametrize("padding, strides", [("same", 1), ("same", 2), ("valid", 1), (1, 2)])
def test_unknown_sizes(padding, strides):
    import tensorflow as tf

    geometry = dict(padding=padding, strides=strides)
    arrays = draw(size=(7, 8), **geometry)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, n], "float32") for n in (4, 18, 9)],
        autograph=False,
    )
    def function(inputs, offsets, mask):
        return deform_conv2d(inputs, offsets, arrays[2], mask, **geometry)

    found = function(arrays[0], arrays[1], arrays[3])
    np.testing.assert_allclose(found, run(*arrays[:4], **geometry), atol=1e-5)


@pytest.mark.parametrize(
    "size, kernel, strides, padding, dilation, expected",
    [
        ((64, 65), 3, 2, 1, 1, (32, 33)),
        ((64, 65), 3, 2, "same", 1, (32, 33)),
        ((9, 9), (3, 5), 1, "valid", 2, (5, 1)),
        ((None, 8), 3, 1, "same", 1, (None, 8)),
    ],
)
def test_output_size(size, kernel, strides, padding, dilation, expected):
    assert deform_conv2d_output_size(size, kernel, strides, padding, dilation) == expected


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(offsets=np.zeros((2, 6, 7, 9))), r"offsets must have the shape \(2, 6, 7, 18\)"),
        (dict(offsets=np.zeros((2, 5, 7, 18))), r"offsets must have the shape"),
        (dict(mask=np.zeros((2, 6, 7, 18))), r"mask must have the shape \(2, 6, 7, 9\)"),
        (dict(bias=np.zeros(3)), r"bias must have the shape \(6,\)"),
        (dict(kernel=np.zeros((3, 3, 2, 6))), r"kernel must have the shape \(3, 3, 4, 6\)"),
        (dict(inputs=np.zeros((6, 7, 4))), r"inputs must have 4 axes"),
        (dict(groups=3), r"4 channels and 6 filters cannot be split into 3 groups"),
        (dict(deformable_groups=3), r"3 deformable groups"),
        (dict(groups=0), r"groups .* at least 1"),
        (dict(strides=0), r"strides must be an integer of at least 1"),
        (dict(strides=(1, 2, 3)), r"strides must be"),
        (dict(dilation_rate=1.5), r"dilation_rate must be"),
        (dict(padding=-1), r"padding must be an integer of at least 0"),
        (dict(padding="full"), r"padding must be one of 'same', 'valid', got 'full'"),
        (dict(padding="valid", dilation_rate=4), r"spans 9 pixels does not fit into 6 pixels"),
        (dict(border="reflect"), r"border must be one of 'zeros', 'mxnet'"),
    ],
)
def test_bad_arguments(change, message):
    names = ("inputs", "offsets", "kernel", "mask", "bias")
    arguments = {**dict(zip(names, draw(padding="same"), strict=True)), **change}
    with pytest.raises(FaceAlignError, match=message):
        deform_conv2d(**arguments)


# ---- choice of the implementation ---------------------------------------------------------------


class FakeNative:
    """Stands in for the compiled package; says which of its functions was called."""

    def __init__(self, fused=True, available=True):
        self.calls, self._fused, self._available = [], fused, available

    def available(self, backend):
        return self._available

    def fused(self, backend):
        return self._fused

    def conv2d(self, inputs, offsets, mask, kernel, bias, **arguments):
        self.calls.append("conv2d")
        return ops.zeros((*offsets.shape[:3], kernel.shape[3]))

    def sample(self, inputs, offsets, mask, **arguments):
        self.calls.append("sample")
        return ops.zeros((*offsets.shape[:3], arguments["kernel_size"][0] ** 2 * inputs.shape[3]))


def called(monkeypatch, native, implementation="auto", forced=None):
    """What is called of a compiled package under an argument, and under the switch."""
    import keras_facealign.ops as package

    monkeypatch.setitem(module.sys.modules, "keras_facealign.ops.native", native)
    monkeypatch.setattr(package, "native", native, raising=False)
    monkeypatch.setattr(module, "_forced", contextvars.ContextVar("none", default=None))
    with deform_implementation(forced) if forced else contextlib.nullcontext():
        deform_conv2d(*draw(padding="same"), implementation=implementation)
    return native.calls


def test_the_compiled_code_is_chosen_where_it_is_available(monkeypatch):
    assert called(monkeypatch, FakeNative()) == ["conv2d"]
    assert called(monkeypatch, FakeNative(fused=False)) == ["sample"]
    assert called(monkeypatch, FakeNative(available=False)) == []
    assert called(monkeypatch, FakeNative(), "portable") == []
    assert called(monkeypatch, FakeNative(), "native") == ["conv2d"]
    assert called(monkeypatch, FakeNative(), "native", "portable") == []
    with pytest.raises(FaceAlignError, match="no native deformable convolution"):
        called(monkeypatch, FakeNative(available=False), "native")


def test_broken_compiled_code_does_no_harm(monkeypatch):
    class Broken(FakeNative):
        def available(self, backend):
            raise OSError("bad ELF")

    assert called(monkeypatch, Broken()) == []
    with pytest.raises(OSError, match="bad ELF"):
        called(monkeypatch, Broken(), "native")


def test_the_switch_holds_in_its_own_thread_alone():
    seen = {}

    def look():
        seen["other"] = module._forced.get()

    with deform_implementation("native"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        seen["own"] = module._forced.get()
    assert seen == {"other": None, "own": "native"}
    assert module._forced.get() == "portable"  # the fixture's
    with (
        pytest.raises(FaceAlignError, match="implementation must be one of"),
        deform_implementation("fast"),
    ):
        pass


def test_export_is_recognized():
    exporter = {"__name__": "keras.src.export.saved_model", "look": module._exporting}
    assert eval("look()", exporter)
    assert not module._exporting()
