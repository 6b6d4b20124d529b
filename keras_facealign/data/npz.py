"""Reading untrusted NumPy files: no pickle, and every size is checked before it is allocated."""

from __future__ import annotations

import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import check_memory, open_regular, parsing

ArraySpec = tuple[str, tuple[int | None, ...]]
"""NumPy's letters of the allowed kinds of numbers, and the shape, with None for any length."""

# NumPy pads an array's header to a multiple of 64 bytes; no header that is read here is longer.
_MAX_HEADER = 20_000
_MAX_MEMBERS = 1000
_MANY = 10**18
_MAX_EMPTY = 20_000
# Kinds of arrays without objects: numbers and text.
_PLAIN = "biufUS"
# Numbers are computed with in 64 bits, however few they are stored in.
_WIDE = 8


def read_npz(
    path: str | os.PathLike[str], specs: Mapping[str, ArraySpec], max_bytes: int
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers or texts from an `.npz` file.

    Args:
        path: The file.
        specs: The arrays by name: letters of the kinds allowed (`"f"` real, `"i"` integer, `"U"`
            text ...) and the shape, in which None stands for any length. Other arrays of the file
            are not read.
        max_bytes: Largest array that is read; together they are limited by the file's size, too.

    Returns:
        The arrays, with the types that the file gives them.

    Raises:
        FaceAlignError: The file is missing, damaged or not an `.npz` file, or an array is missing,
            too large, or of another kind or shape.

    Example:
        >>> read_npz("face.npz", {"pose": ("f", (None, 3))}, 10_000)  # doctest: +SKIP
    """
    arrays, total = {}, 0
    with _archive(path) as (archive, size):
        for name, (kinds, shape) in specs.items():
            try:
                member = archive.getinfo(f"{name}.npy")
            except KeyError:
                raise FaceAlignError(f"{path}: holds no array {name!r}; replace the file") from None
            with parsing(path), archive.open(member) as stream:
                found, dtype = read_array_header(stream)
            if dtype.kind not in kinds or not _fits(found, shape):
                needed = _by(shape)
                raise FaceAlignError(
                    f"{path}: {name} is {dtype} {_by(found)}, where {needed} of kind {kinds!r} is "
                    "needed; replace the file"
                )
            claimed = _check_claim(f"{path}: {name}", found, dtype, member.file_size, max_bytes)
            total += claimed
            check_memory(path, total, size, "its arrays")
            with parsing(path), archive.open(member) as stream:
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
            _check_text(arrays[name], f"{path}: {name}")
    return arrays


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all arrays of an `.npz` file, or the one of an `.npy` file.

    Args:
        path: The file.

    Returns:
        The arrays by name; that of an `.npy` file by the name "".

    Raises:
        FaceAlignError: The file is missing, damaged or of another format, holds anything but plain
            numbers and text, or would take much more memory than its size.
    """
    with open_regular(path) as stream:
        if stream.read(6) == b"\x93NUMPY":
            size = os.fstat(stream.fileno()).st_size
            stream.seek(0)
            return {"": _read_array(stream, str(path), size, size)}
    arrays, total = {}, 0
    with _archive(path) as (archive, size):
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS:
            raise FaceAlignError(f"{path}: holds {len(members)} members, over {_MAX_MEMBERS}")
        for member in members:
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            with parsing(path):
                stream = archive.open(member)
            with stream:
                array = _read_array(stream, f"{path}: {name}", member.file_size, size)
            total += array.size * max(_WIDE, array.itemsize)
            check_memory(path, total, size, "its arrays")
            arrays[name] = array
    return arrays


def read_array_header(stream: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Reads the shape and the type of an array from the start of its `.npy` file.

    Raises:
        ValueError: It is not the start of an array.
    """
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"array format {version}")
    if math.prod(shape) > sys.maxsize:
        raise ValueError("its shape is larger than any memory")
    return shape, dtype


@contextmanager
def _archive(path: str | os.PathLike[str]) -> Iterator[tuple[zipfile.ZipFile, int]]:
    """Opens an archive; yields it and the size of its file."""
    with open_regular(path) as stream:
        try:
            with parsing(path):
                archive = zipfile.ZipFile(stream)
        except FaceAlignError as error:
            if isinstance(error.__cause__, zipfile.BadZipFile):
                raise FaceAlignError(f"{path}: is not a whole .npz file; replace it") from error
            raise
        yield archive, os.fstat(stream.fileno()).st_size


def _read_array(stream: Any, name: str, stored: int, file_bytes: int) -> np.ndarray:
    """Reads an array of any shape from its `.npy` file of `stored` bytes."""
    with parsing(name):
        shape, dtype = read_array_header(stream)
    if dtype.kind not in _PLAIN:
        raise FaceAlignError(f"{name}: holds {dtype}, not plain numbers or text; save it again")
    _check_claim(name, shape, dtype, stored, stored)
    check_memory(name, math.prod(shape) * max(_WIDE, dtype.itemsize), file_bytes, "its numbers")
    with parsing(name):
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    _check_text(array, name)
    return array


def _check_text(array: np.ndarray, name: str) -> None:
    """Checks that text consists of characters: others make broken Python strings."""
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        codes = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)
        if codes.view(np.uint32).max() > sys.maxunicode:
            raise FaceAlignError(f"{name}: holds text that is none; save it again")


def _check_claim(
    name: str, shape: tuple[int, ...], dtype: np.dtype, stored: int, max_bytes: int
) -> int:
    """Checks that an array of this shape and type is stored; returns its bytes."""
    count = math.prod(shape)
    size = count * dtype.itemsize
    # Nothing is stored of an array with a length of zero, whatever its other lengths are.
    lengths = math.prod(filter(None, shape))
    empty = (not dtype.itemsize and count > 1) or lengths > max(_MAX_EMPTY, count)
    if min(shape, default=0) < 0 or empty or size > max_bytes:
        size = max(size, count)
    elif size <= stored <= size + _MAX_HEADER:
        return size
    # The product of many lengths may have more digits than Python writes.
    claimed = f"{size} bytes" if abs(size) < _MANY else "an impossible number of bytes"
    raise FaceAlignError(
        f"{name} claims {claimed}; {stored} are stored, and the limit is {max_bytes}; replace "
        "the file"
    )


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(
        needed in (None, length) for length, needed in zip(found, shape, strict=True)
    )


def _by(shape: tuple[int | None, ...]) -> str:
    return "x".join("N" if length is None else str(length) for length in shape)
