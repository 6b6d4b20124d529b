"""Checkpoints with bytes changed, cut and claimed at random: a network, or one clear error."""

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_facealign.converters import load_mxnet
from keras_facealign.converters.mxnet import read_checkpoint
from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.errors import FaceAlignError
from keras_facealign.networks import Architecture
from tests.converters.mxnet.file_bytes import array_bytes, file_bytes, name_bytes, random

ARCHITECTURE = Architecture("sat", 1, 1, "resnet", width=0.03125)
ARRAYS = {
    name: random(shape, seed) for seed, (name, shape) in enumerate(expected_arrays(ARCHITECTURE))
}
CONTENT = file_bytes(list(ARRAYS), list(ARRAYS.values()))
# Where the list of names begins: most of the structure is behind it.
NAMES_AT = CONTENT.rindex(struct.pack("<Q", len(ARRAYS)))
LENGTHS = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]

positions = st.one_of(
    st.integers(0, len(CONTENT) - 1),
    st.integers(NAMES_AT, len(CONTENT) - 1),
    st.integers(0, 100),
)


@st.composite
def changed_bytes(draw):
    """A few bytes replaced anywhere."""
    content = bytearray(CONTENT)
    for _ in range(draw(st.integers(1, 4))):
        content[draw(positions)] = draw(st.integers(0, 255))
    return bytes(content)


@st.composite
def claimed_lengths(draw):
    """A number of eight bytes replaced anywhere: counts, sides, lengths of names, or weights."""
    content = bytearray(CONTENT)
    start = draw(positions)
    content[start : start + 8] = struct.pack("<Q", draw(st.sampled_from(LENGTHS)))
    return bytes(content)


@st.composite
def cut_and_joined(draw):
    """A piece left out, doubled, or put elsewhere."""
    start, end = sorted(draw(st.tuples(positions, positions)))
    piece = draw(st.sampled_from([b"", CONTENT[start:end], CONTENT[:end], CONTENT[start:]]))
    return CONTENT[:start] + piece + CONTENT[draw(st.sampled_from([start, end])) :]


@st.composite
def edited_arrays(draw):
    """A well-formed file whose arrays are renamed, left out, reshaped, retyped or repeated."""
    names = [name_bytes(name) for name in ARRAYS]
    arrays = [array_bytes(array) for array in ARRAYS.values()]
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, min(len(names), len(arrays)) - 1))
        array = list(ARRAYS.values())[i % len(ARRAYS)]
        kind = draw(st.sampled_from(["name", "drop", "shape", "type", "repeat", "value", "other"]))
        if kind == "name":
            names[i] = name_bytes(draw(st.text(max_size=30)))
        elif kind == "drop":
            del names[i], arrays[i]
        elif kind == "shape":
            shape = draw(st.lists(st.sampled_from([0, 1, 3, 8, 32, *LENGTHS[:-2]]), max_size=9))
            arrays[i] = array_bytes(array, shape=tuple(shape))
        elif kind == "type":
            arrays[i] = array_bytes(array, code=draw(st.integers(-1, 9)))
        elif kind == "repeat":
            names.append(names[i])
            arrays.append(arrays[i])
        elif kind == "value":
            value = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e-45, 3e38]))
            arrays[i] = array_bytes(np.full(array.shape, value, "<f4"))
        else:
            names.append(name_bytes(draw(st.sampled_from(OTHERS))))
            arrays.append(array_bytes(random(draw(st.sampled_from([(1,), (8, 8, 1, 1)])))))
    return file_bytes(names, arrays)


OTHERS = [
    "arg:heatmap0_weight",
    "arg:heatmap999999999_weight",
    "arg:stack0_hg_99_up1_0_bn1_gamma",
    "arg:sta0_w1_h1_4_bn_gamma",
    "arg:sat0_w99_h99_1_w3_h4_1_bn_gamma",
    "arg:sat0_w1_h1_z_conv_weight",
    "arg:sat0_upsampling_w1_h1_weight",
    "arg:loc_net_half_weight",
    "arg:stn_conv1_weight",
    "arg:stack0_out3_weight",
    "arg:stack0_ll_conv_offset_weight",
    "arg:stack0_unit0_block35_conv_conv_weight",
    "aux:",
    "",
]

bounded = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


def test_the_file_itself_is_good(write):
    found, arrays = read_checkpoint(write(CONTENT))
    assert found == ARCHITECTURE
    assert list(arrays) == list(ARRAYS)


@pytest.mark.parametrize(
    "contents, examples",
    [
        (changed_bytes(), 150),
        (claimed_lengths(), 150),
        (cut_and_joined(), 150),
        (edited_arrays(), 250),
        (st.binary(max_size=200), 50),
    ],
    ids=["bytes", "lengths", "pieces", "arrays", "noise"],
)
def test_mutated_checkpoints(write, contents, examples):
    ends = []

    @settings(bounded, max_examples=examples)
    @given(content=contents)
    def run(content):
        path = write(content)
        tracemalloc.start()
        try:
            read_checkpoint(path)
        except FaceAlignError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 2000
            ends.append("error")
        else:
            ends.append("network")
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        # The file once, and small change for names and shapes; never what a number in it claims.
        assert peak < 2 * len(content) + 1_000_000

    run()
    assert "error" in ends
    print(f"{ends.count('error')} errors, {ends.count('network')} networks")


def test_networks_of_mutated_checkpoints(write):
    """The same to the end, for a few: what passes the checks also becomes a model."""
    ends = []

    @settings(bounded, max_examples=6)
    @given(content=changed_bytes())
    def run(content):
        try:
            model = load_mxnet(write(content))
        except FaceAlignError:
            ends.append("error")
        else:
            ends.append("network")
            assert all(np.isfinite(np.asarray(weight)).all() for weight in model.get_weights())

    run()
    assert "network" in ends


@pytest.mark.parametrize(
    "count, reason", [(10, "recognized as 11 x SAT"), (20_000, "stacks is 20001; it must be")]
)
def test_stacks_that_exist_by_name_only_cost_no_memory(write, count, reason):
    """Twenty thousand stacks would have five million arrays."""
    heads = [f"arg:heatmap{i}_weight" for i in range(count)]
    small = array_bytes(random((1,)))
    content = file_bytes(
        [*ARRAYS, *heads], [*(array_bytes(a) for a in ARRAYS.values()), *([small] * count)]
    )
    path = write(content)
    tracemalloc.start()
    with pytest.raises(FaceAlignError, match=reason):
        read_checkpoint(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # An array of one number takes 37 bytes in the file and 30 times as much as a NumPy array.
    assert peak < 40 * len(content) + 1_000_000
