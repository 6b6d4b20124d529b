"""Untrusted files: only regular ones are opened, and damage is one clear error."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import (
    check_memory,
    csv_rows,
    open_regular,
    parse_json,
    parsing,
    read_file,
)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pts")
    with pytest.raises(FaceAlignError, match=r"pipe\.pts: is not a regular file"):
        open_regular(tmp_path / "pipe.pts")


def test_other_things_than_files_are_named(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path, message in (
        (tmp_path, "is not a regular file"),
        (tmp_path / "loop", "loop: cannot be opened"),
        (tmp_path / "none", "none: cannot be opened"),
        ("a\0b", "cannot be opened"),
        (os.devnull, "is not a regular file"),
    ):
        with pytest.raises(FaceAlignError, match=message):
            read_file(path, 100)


def test_sizes_are_limited_and_allocate_nothing(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    tracemalloc.start()
    assert read_file(path, 2**31) == b"abc"
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    with pytest.raises(FaceAlignError, match="a: is larger than 2 bytes"):
        read_file(path, 2)
    path.write_bytes(b"")
    with pytest.raises(FaceAlignError, match="a: the file is empty"):
        read_file(path, 2)


def test_a_parser_error_becomes_one_line_with_its_cause():
    with (
        pytest.raises(FaceAlignError, match=r"x.mat: cannot be read \(a b\); replace it") as caught,
        parsing("x.mat"),
    ):
        raise RuntimeError("a\nb")
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(FaceAlignError, match="^ours$"), parsing("x.mat"):
        raise FaceAlignError("ours")


def test_memory_is_in_proportion_to_the_file():
    check_memory("a", 64_000_400, 100)
    with pytest.raises(FaceAlignError, match="a: its content would take 64000401 bytes"):
        check_memory("a", 64_000_401, 100)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"1" * 5000, b"\xff"])
def test_other_json_is_named(content):
    with pytest.raises(FaceAlignError, match=r"^a\.json: cannot be read [^\n]*; correct it$"):
        parse_json(content, "a.json")


def test_json_that_unfolds_is_refused():
    """Ten million empty lists take two bytes each in the file, and 64 in memory."""
    content = b"[" + b"[]," * 10_000_000 + b"[]]"
    with pytest.raises(FaceAlignError, match="10000000 values would take"):
        parse_json(content, "a.json")


def test_csv_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfimage, x\r\n\r\n"a\nb",1\n')
    assert list(csv_rows(path)) == [["image", "x"], ["a\nb", "1"]]
    for content in (b"\xff\xfe\x00", b"a" * 200_000):
        path.write_bytes(content)
        with pytest.raises(FaceAlignError, match=r"a\.csv: cannot be read"):
            list(csv_rows(path))
    path.write_bytes(b"\n" * 2_000_000)
    with pytest.raises(FaceAlignError, match="2000000 rows would take"):
        list(csv_rows(path))
