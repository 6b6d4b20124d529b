"""MXNet's `.params` files: what is read, what is refused, and what is written."""

import os
import struct
import tracemalloc

import numpy as np
import pytest

from keras_facealign.converters import read_params, write_params
from keras_facealign.converters.mxnet import params_file
from keras_facealign.errors import FaceAlignError
from tests.converters.mxnet.file_bytes import array_bytes, file_bytes, name_bytes, random


def test_reads_back_what_was_written(write):
    rng = np.random.default_rng(0)
    shapes = [(4,), (2, 3), (5, 1, 3, 3), (1, 2, 1, 2, 3), (1,)]
    arrays = {f"arg:a{i}": rng.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}
    arrays["aux:überall"] = np.arange(6, dtype=np.float32)
    found = read_params(write(file_bytes(list(arrays), list(arrays.values()))))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_reads_arrays_saved_on_a_gpu(write):
    content = file_bytes(["arg:a"], [array_bytes(random(3), device=(2, 1))])
    np.testing.assert_array_equal(read_params(write(content))["arg:a"], random(3))


def test_an_empty_list_is_no_error(write):
    assert read_params(write(file_bytes([], []))) == {}


GOOD = random((2, 3))
BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "text": (b'{"nodes": [], "arg_nodes": []}', "begins with"),
    "list magic": (file_bytes(["arg:a"], [GOOD], magic=0x113), "begins with 0x113"),
    "array magic": (
        file_bytes(["arg:a"], [array_bytes(GOOD, magic=0xF993FAC8)]),
        "array 1 of 1 begins with 0xf993fac8",
    ),
    "sparse": (file_bytes(["arg:a"], [array_bytes(GOOD, storage=1)]), "storage type 1"),
    "no dimensions": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=())]), "0 dimensions"),
    "nine dimensions": (
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(1,) * 9)]),
        "9 dimensions instead of 1 to 8",
    ),
    "a wealth of dimensions": (
        file_bytes(["arg:a"], [struct.pack("<IiI", 0xF993FAC9, 0, 0xFFFFFFFF)]),
        "4294967295 dimensions",
    ),
    "negative side": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=(-2, -3))]), "(-2, -3)"),
    "no side": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=(0, 3))]), "(0, 3)"),
    "sides too large": (
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2**40, 2**40))]),
        "needs 4835703278458516698824704 bytes",
    ),
    "sides that overflow 64 bits to 24 bytes": (
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2**62 + 6, 2**62 + 1))]),
        "where the file has",
    ),
    "a side too small": (file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2, 2))]), "names"),
    "unknown type": (file_bytes(["arg:a"], [array_bytes(GOOD, code=99)]), "unknown type code 99"),
    "float64": (
        file_bytes(["arg:a", "arg:b"], [GOOD, array_bytes(np.zeros((2, 3)), code=1)]),
        "array 'arg:b' has type code 1",
    ),
    "float16": (
        file_bytes(["arg:a"], [array_bytes(np.zeros((2, 3), np.float16), code=2)]),
        "array 'arg:a' has type code 2",
    ),
    "NaN": (
        file_bytes(["arg:a", "arg:b"], [GOOD, np.array([1, np.nan])]),
        "array 'arg:b' has values that are not finite",
    ),
    "infinity": (file_bytes(["arg:a"], [[-np.inf]]), "array 'arg:a' has values"),
    "twice": (file_bytes(["arg:a", "arg:a"], [GOOD, GOOD]), "array 'arg:a' occurs twice"),
    "too few names": (file_bytes(["arg:a"], [GOOD, GOOD]), "1 names for 2 arrays"),
    "too many names": (file_bytes(["arg:a", "arg:b"], [GOOD]), "2 names for 1 arrays"),
    "fewer arrays than claimed": (file_bytes(["arg:a"], [GOOD], count=2), "array 2 of 2"),
    "a wealth of arrays": (
        file_bytes(["arg:a"], [GOOD], count=2**64 - 1),
        "arrays, more than any",
    ),
    "a wealth of names": (file_bytes(["arg:a"], [GOOD], name_count=2**63), "names for 1 arrays"),
    "name too long": (
        file_bytes([name_bytes("arg:a", length=2**63)], [GOOD]),
        "the name of array 1 of 1 needs 9223372036854775808 bytes",
    ),
    "name not UTF-8": (file_bytes([name_bytes(b"arg:\xff")], [GOOD]), "not UTF-8"),
    "trailing bytes": (file_bytes(["arg:a"], [GOOD]) + b"\0" * 7, "7 bytes follow"),
}


@pytest.mark.parametrize("content, message", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_named_with_what_is_wrong(write, content, message):
    path = write(content)
    with pytest.raises(FaceAlignError) as caught:
        read_params(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_an_error(write):
    content = file_bytes(["arg:a", "aux:b"], [GOOD, random((2, 1, 3))])
    for length in range(len(content)):
        with pytest.raises(FaceAlignError):
            read_params(write(content[:length]))


def test_mutated_files_end_in_arrays_or_in_a_clear_error(write):
    content = file_bytes(["arg:a", "aux:b", "arg:c"], [GOOD, random((2, 1, 3)), random(5)])
    rng = np.random.default_rng(1)
    ends = {True: 0, False: 0}
    for _ in range(1500):
        spoilt = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            spoilt[rng.integers(len(spoilt))] = rng.integers(256)
        try:
            arrays = read_params(write(bytes(spoilt)))
        except FaceAlignError:
            ends[False] += 1
        else:
            ends[True] += 1
            assert sum(a.nbytes for a in arrays.values()) < len(content)
            assert all(np.isfinite(a).all() for a in arrays.values())
    # Most bytes are values, where a change is mostly legal; the others are structure.
    assert min(ends.values()) > 300


def test_claimed_sizes_allocate_nothing(write):
    contents = [
        file_bytes(["arg:a"], [array_bytes(GOOD, shape=(2**31, 2**10))]),
        file_bytes(["arg:a"], [GOOD], count=2**40),
        file_bytes([name_bytes("arg:a", length=2**40)], [GOOD]),
    ]
    read_params(write(file_bytes(["arg:a"], [GOOD])))  # imports what it needs
    for content in contents:
        path = write(content)
        tracemalloc.start()
        with pytest.raises(FaceAlignError):
            read_params(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e6


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(FaceAlignError, match=r"nowhere.params: cannot be opened \(No such file"):
        read_params(tmp_path / "nowhere.params")
    with pytest.raises(FaceAlignError, match="is not a regular file"):
        read_params(tmp_path)


def test_a_file_larger_than_any_network_is_refused_unread(write, monkeypatch):
    content = file_bytes(["arg:a"], [GOOD])
    monkeypatch.setattr(params_file, "_MAX_BYTES", len(content) - 1)
    with pytest.raises(FaceAlignError, match=r"net-0000\.params: is larger than"):
        read_params(write(content))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.params")
    with pytest.raises(FaceAlignError, match="is not a regular file"):
        read_params(tmp_path / "pipe.params")


def test_written_bytes_are_the_formats(tmp_path):
    arrays = {"arg:a": random((2, 3)), "aux:überall": random((4, 1, 2, 2), 1)}
    path = write_params(tmp_path / "a-0000.params", arrays)
    assert path.read_bytes() == file_bytes(list(arrays), list(arrays.values()))


def test_written_arrays_read_back_equal_whatever_their_layout_in_memory(tmp_path):
    arrays = {
        "arg:turned": random((2, 3, 4, 5)).transpose(3, 2, 0, 1),
        "arg:stepped": random(9)[::2],
        "arg:big endian": random(3).astype(">f4"),
        "arg:double": np.array([1, 2**-20], np.float64),
        "arg:list": [1, 2, 3],
    }
    found = read_params(write_params(str(tmp_path / "a.params"), arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "array, message",
    [
        ([np.nan], "not finite"),
        ([1e39], "not finite"),
        (1.0, r"shape \(\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        (np.zeros((1,) * 9), "does not support"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_what_could_not_be_read_back_is_not_written(tmp_path, array, message):
    path = tmp_path / "a.params"
    path.write_bytes(b"before")
    with pytest.raises(FaceAlignError, match=f"'arg:b'.*{message}"):
        write_params(path, {"arg:a": GOOD, "arg:b": array})
    assert path.read_bytes() == b"before"


def test_a_file_appears_complete_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.params"
    path.write_bytes(b"before")

    def full(file, arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(params_file, "_write", full)
    with pytest.raises(FaceAlignError, match="a.params: cannot be written .No space left"):
        write_params(path, {"arg:a": GOOD})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FaceAlignError, match="a.params: cannot be written .No such file"):
        write_params(tmp_path / "nowhere" / "a.params", {"arg:a": GOOD})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_a_new_file_has_the_rights_of_any_other(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    path = write_params(tmp_path / "a.params", {"arg:a": GOOD})
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
