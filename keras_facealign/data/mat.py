"""Reading untrusted MATLAB files: version 5 here, version 7.3 with h5py.

Only plain arrays of numbers are read. Sizes are checked before memory is allocated, objects,
functions and cells are refused, and an HDF5 file must hold its data itself. SciPy reads version 5
too, but damaged files crash it (version 1.17).
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_facealign.data.files import import_extra
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.child_process import check_in_child, limit_process
from keras_facealign.storage.hdf5 import check_dataset
from keras_facealign.storage.reading import one_line, open_regular, parsing, read_file

Shape = tuple[int | None, ...]
"""What an array's shape must be; None stands for any length."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x0800
# Kinds of arrays by MATLAB's number of their class; 6 to 15 are numbers.
_NOT_NUMBERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse"}
_NUMERIC_CLASSES = range(6, 16)
# Types that numbers are stored in, by MATLAB's number.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_TYPES |= {12: "i8", 13: "u8"}
_MAX_ARRAYS = 10_000
# Memory that a version 7.3 file may take to be opened, besides some times its size.
_OPEN_BYTES = 150_000_000


class _Array(NamedTuple):
    """An array of the file: what its tags say, and the element that holds its numbers."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    type: int
    numbers: bytes


def read_mat(
    path: str | Path, shapes: Mapping[str, Shape], max_bytes: int = 16_000_000
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers from a MATLAB 5 file.

    Args:
        path: The file.
        shapes: The arrays to read, by name, and the shape each must have. Other arrays of the file
            are not read.
        max_bytes: Limit of the file's size, and of its size without compression.

    Returns:
        The arrays, with the types that the file gives them.

    Raises:
        FaceAlignError: The file is missing, damaged, too large or of another format, or an array is
            missing, has another shape or holds something other than numbers.

    Example:
        >>> read_mat("image00050.mat", {"Pose_Para": (1, 7)})["Pose_Para"]  # doctest: +SKIP
    """
    path = Path(path)
    content = read_file(path, max_bytes)
    if content.startswith(b"MATLAB 7.3"):
        raise FaceAlignError(f"{path}: is a MATLAB 7.3 file, but version 5 is needed; replace it")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER_BYTES])
    if order is None:
        raise FaceAlignError(f"{path}: is not a MATLAB 5 file; replace or remove it")
    found: dict[str, _Array] = {}
    for matrix in _matrices(path, content, order, max_bytes):
        name, array = _parse(path, matrix, order)
        if name in shapes and name in found:
            raise _damaged(path, f"{name} occurs twice")
        if name in shapes:
            found[name] = array
    missing = next((name for name in shapes if name not in found), None)
    if missing is not None:
        raise FaceAlignError(f"{path}: holds no array {missing!r}; replace the file")
    return {name: _values(path, name, found[name], order, shapes[name]) for name in shapes}


def _matrices(path: Path, content: bytes, order: str, max_bytes: int) -> Iterator[bytes]:
    """Yields the content of each array, without compression."""
    left = max_bytes
    for number, (kind, part) in enumerate(_elements(path, content, _HEADER_BYTES, order)):
        if number >= _MAX_ARRAYS:
            raise FaceAlignError(f"{path}: holds more than {_MAX_ARRAYS} arrays; check the file")
        if kind == _COMPRESSED:
            with parsing(path, "replace the file"):
                part = zlib.decompressobj().decompress(part, left + 1)
            left -= len(part)
            if left < 0:
                raise FaceAlignError(
                    f"{path}: unpacks to more than {max_bytes} bytes; check the file"
                )
            kind, part = next(_elements(path, part, 0, order), (0, b""))
        if kind != _MATRIX:
            raise _damaged(path, f"an element has the type {kind}")
        yield part


def _parse(path: Path, matrix: bytes, order: str) -> tuple[str, _Array]:
    """Parses an array's tags; those of other kinds than numbers only as far as all have them."""
    elements = _elements(path, matrix, 0, order, align=8)
    header = [content for _, content in (next(elements, (0, b"")) for _ in range(3))]
    flags = int.from_bytes(header[0][:4], "little" if order == "<" else "big")
    shape = tuple(np.frombuffer(header[1][: len(header[1]) // 4 * 4], f"{order}i4").tolist())
    name, kind = header[2].decode("latin-1"), flags & 0xFF
    stored, numbers = next(elements, (0, b"")) if kind in _NUMERIC_CLASSES else (0, b"")
    return name, _Array(kind, bool(flags & _COMPLEX), shape, stored, numbers)


def _values(path: Path, name: str, array: _Array, order: str, expected: Shape) -> np.ndarray:
    if array.kind not in _NUMERIC_CLASSES:
        kind = _NOT_NUMBERS.get(array.kind, "object")
        raise FaceAlignError(f"{path}: {name} is a {kind}, not numbers; replace the file")
    if array.is_complex:
        raise FaceAlignError(f"{path}: {name} is complex, not real numbers; replace the file")
    _check_shape(f"{path}: {name}", array.shape, expected)
    if array.type not in _TYPES:
        raise _damaged(path, f"{name} is stored as numbers of the type {array.type}")
    dtype = np.dtype(order + _TYPES[array.type])
    if math.prod(array.shape) * dtype.itemsize != len(array.numbers):
        size = "x".join(map(str, array.shape))
        raise _damaged(path, f"{name} is {size} {dtype.name} in {len(array.numbers)} bytes")
    values = np.frombuffer(array.numbers, dtype).reshape(array.shape, order="F")
    return np.ascontiguousarray(values, dtype.newbyteorder("="))


def _elements(
    path: Path, content: bytes, position: int, order: str, align: int = 1
) -> Iterator[tuple[int, bytes]]:
    """Yields the type and the content of each data element after a position."""
    while position < len(content):
        tag = content[position : position + 8].ljust(8, b"\0")
        kind, size = struct.unpack(order + "II", tag)
        if kind >> 16:  # Up to four bytes are stored inside the tag.
            kind, size = kind & 0xFFFF, min(kind >> 16, 4)
            yield kind, tag[4 : 4 + size]
            position += 8
            continue
        part = content[position + 8 : position + 8 + size]
        if len(part) < size:
            raise _damaged(path, f"{size} bytes are announced, {len(part)} are left")
        yield kind, part
        position += 8 + size + -size % align


def _damaged(path: Path, reason: str) -> FaceAlignError:
    return FaceAlignError(f"{path}: is damaged ({reason}); replace the file")


def _check_shape(what: str, shape: tuple[int, ...], expected: Shape) -> None:
    if len(shape) != len(expected) or any(
        length < 0 or needed not in (None, length)
        for length, needed in zip(shape, expected, strict=True)
    ):
        needed = "x".join("N" if length is None else str(length) for length in expected)
        raise FaceAlignError(f"{what} is {'x'.join(map(str, shape))}, but {needed} is needed")


@contextmanager
def open_mat73(path: str | Path) -> Iterator[Mat73]:
    """Opens a MATLAB 7.3 file, which is HDF5.

    Args:
        path: The file.

    Yields:
        The open file, a `Mat73`.

    Raises:
        FaceAlignError: The file is missing or of another format, or h5py is missing.

    Example:
        >>> with open_mat73("COFW_test_color.mat") as file:  # doctest: +SKIP
        ...     image = file.follow(file.references("IsT")[0], "IsT 1")
    """
    path = Path(path)
    h5py = import_extra("h5py")
    with open_regular(path) as stream:
        if stream.read(10) == b"MATLAB 5.0":
            raise FaceAlignError(
                f"{path}: is a MATLAB 5 file, but version 7.3 is needed; replace it"
            )
    state = path.stat()
    # The outcome is remembered by this, and so holds until the file is changed.
    key = f"{state.st_size} {state.st_mtime_ns} {path.absolute()}"
    check_in_child("keras_facealign.data.mat.try_mat73", os.fsencode(key), str(path))
    with _open(path, path, h5py) as file:
        yield Mat73(path, file, h5py)


def try_mat73(key: bytes, name: str) -> None:
    """Opens a file in a process for it: damage lets HDF5 take hundreds of megabytes.

    Args:
        key: The file's size, when it was changed, and its path, with spaces between.
        name: What error messages call it.

    Raises:
        FaceAlignError: If it cannot be opened.
    """
    import h5py

    size, _, path = os.fsdecode(key).split(" ", 2)
    limit_process(int(size), _OPEN_BYTES)
    with _open(path, name, h5py) as file:
        list(file)


def _open(path: str | Path, name: str | Path, h5py: Any) -> Any:
    try:
        return h5py.File(path, "r")
    except Exception as error:  # h5py meets damage with errors of every kind
        raise FaceAlignError(
            f"{name}: cannot be opened as a MATLAB 7.3 file ({one_line(error)}); replace it"
        ) from error


class Mat73:
    """An open MATLAB 7.3 file; `open_mat73` makes it.

    MATLAB's arrays are transposed in HDF5: what is (29, 1) there is (1, 29) here.

    Args:
        path: What error messages call the file.
        file: The open `h5py.File`.
        h5py: The module.
    """

    def __init__(self, path: Path, file: Any, h5py: Any) -> None:
        self._path, self._file, self._h5py = path, file, h5py

    def array(self, name: str, shape: Shape) -> np.ndarray:
        """Reads an array of numbers.

        Args:
            name: Its name in the file.
            shape: Shape that it must have, as HDF5 stores it.

        Raises:
            FaceAlignError: There is no such array, it does not hold numbers, or its shape differs.
        """
        return self._read(self._named(name), name, shape)

    def references(self, name: str) -> list[Any]:
        """The object references of a cell array, in order; see `follow`."""
        dataset = self._named(name)
        with self._parsing(name):
            kind = self._h5py.check_ref_dtype(dataset.dtype)
        if kind is not self._h5py.Reference:
            raise self._error(f"{name} is not a cell array")
        return list(self._contents(dataset, name).ravel())

    def follow(self, reference: Any, name: str) -> np.ndarray:
        """Reads the array of numbers that a reference points to.

        Args:
            reference: One of `references`.
            name: What error messages call the array.

        Raises:
            FaceAlignError: The reference points nowhere, or not to an array of numbers.
        """
        target: Any = None
        try:
            if reference:
                target = self._file[reference]
        except Exception as error:  # h5py meets damage with errors of every kind
            raise self._error(f"{name} points nowhere ({one_line(error)})") from error
        if not isinstance(target, self._h5py.Dataset):
            raise self._error(f"{name} does not point to an array")
        return self._read(target, name)

    def _error(self, problem: str) -> FaceAlignError:
        return FaceAlignError(f"{self._path}: {problem}; replace the file")

    def _parsing(self, name: str) -> Any:
        return parsing(f"{self._path}: {name}", "replace the file")

    def _named(self, name: str) -> Any:
        with self._parsing(name):
            link = self._file.get(name, getlink=True) if name in self._file else None
            target = self._file[name] if isinstance(link, self._h5py.HardLink) else None
        if not isinstance(target, self._h5py.Dataset):
            raise self._error(f"holds no array {name!r}")
        return target

    def _read(self, dataset: Any, name: str, shape: Shape | None = None) -> np.ndarray:
        with self._parsing(name):
            dtype, found = dataset.dtype, dataset.shape or ()
        if dtype.kind not in "iuf":
            raise self._error(f"{name} holds {dtype}, not numbers")
        if shape is not None:
            _check_shape(f"{self._path}: {name}", found, shape)
        return self._contents(dataset, name)

    def _contents(self, dataset: Any, name: str) -> np.ndarray:
        check_dataset(dataset, f"{self._path}: {name}", self._path.stat().st_size)
        with self._parsing(name):
            return np.asarray(dataset[()])
