"""Reads and writes MXNet's `.params` files without MXNet.

A file holds a list of arrays and then the list of their names, all little endian. Files are
untrusted: every size in them is checked against the size of the file before it is used.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.reading import read_file

_LIST_MAGIC = 0x112
_ARRAY_MAGIC = 0xF993FAC9
_DENSE = 0
_CPU = (1, 0)  # device type and number
_FLOAT32 = 0
_MAX_DIMENSIONS = 8
# Bytes per element by MXNet's type code; only float32 is accepted.
_ITEM_SIZES = {_FLOAT32: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8}
# The largest network of the original code has 132 MB.
_MAX_BYTES = 2**31
# The largest has two thousand.
_MAX_ARRAYS = 100_000


class _Reader:
    """Reads values from a file that may be truncated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = memoryview(read_file(path, _MAX_BYTES))
        self.position = 0

    def fail(self, reason: str) -> FaceAlignError:
        return FaceAlignError(f"{self.path}: {reason}; give a complete MXNet .params file.")

    def take(self, count: int, what: str) -> memoryview:
        left = len(self.data) - self.position
        if count > left:
            raise self.fail(f"{what} needs {count} bytes where the file has {left} left")
        self.position += count
        return self.data[self.position - count : self.position]

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        layout = f"<{layout}"
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def number(self, layout: str, what: str) -> int:
        return self.numbers(layout, what)[0]


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an MXNet `.params` file.

    The file may be untrusted: it is parsed, never unpickled, and memory is only allocated for what
    the file really holds.

    Args:
        path: The file, as `mxnet.model.save_checkpoint` writes it.

    Returns:
        float32 arrays by MXNet name, `arg:...` or `aux:...`, in the file's order and in MXNet's
        layouts. They are read-only views of one buffer.

    Raises:
        FaceAlignError: If the file cannot be read, is truncated or has bytes left over, or an array
            is not dense float32, has an invalid shape or values that are not finite, or two arrays
            have the same name.

    Example:
        >>> arrays = read_params("model-0000.params")  # doctest: +SKIP
        >>> arrays["arg:conv0_weight"].shape  # doctest: +SKIP
        (64, 3, 3, 3)
    """
    reader = _Reader(Path(path))
    magic, _ = reader.numbers("QQ", "the header")
    if magic != _LIST_MAGIC:
        raise reader.fail(f"it begins with {magic:#x} instead of {_LIST_MAGIC:#x}")
    count = reader.number("Q", "the number of arrays")
    if count > _MAX_ARRAYS:
        raise reader.fail(f"it has {count} arrays, more than any network")
    # Names follow the arrays, so messages can only give the number of a malformed array.
    found = [_read_array(reader, f"array {i + 1} of {count}") for i in range(count)]
    names = _read_names(reader, len(found))
    left = len(reader.data) - reader.position
    if left:
        raise reader.fail(f"{left} bytes follow the end of the list")
    arrays: dict[str, np.ndarray] = {}
    for name, (code, shape, data) in zip(names, found, strict=True):
        if name in arrays:
            raise reader.fail(f"array {name!r} occurs twice")
        if code != _FLOAT32:
            raise reader.fail(f"array {name!r} has type code {code} instead of 0, float32")
        arrays[name] = np.frombuffer(data, "<f4").reshape(shape)
        if not np.isfinite(arrays[name]).all():
            raise reader.fail(f"array {name!r} has values that are not finite")
    return arrays


def _read_array(reader: _Reader, what: str) -> tuple[int, tuple[int, ...], memoryview]:
    """Returns type code, shape and bytes of the array at the reader's position."""
    magic, storage, dimensions = reader.numbers("IiI", what)
    if magic != _ARRAY_MAGIC:
        raise reader.fail(f"{what} begins with {magic:#x} instead of {_ARRAY_MAGIC:#x}")
    if storage != _DENSE:
        raise reader.fail(f"{what} has storage type {storage} instead of {_DENSE}, dense")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise reader.fail(f"{what} has {dimensions} dimensions instead of 1 to {_MAX_DIMENSIONS}")
    shape = reader.numbers(f"{dimensions}q", what)
    if min(shape) < 1:
        raise reader.fail(f"{what} has shape {shape}, which is not positive")
    _, _, code = reader.numbers("iii", what)  # the device it was on is irrelevant
    if code not in _ITEM_SIZES:
        raise reader.fail(f"{what} has the unknown type code {code}")
    return code, shape, reader.take(math.prod(shape) * _ITEM_SIZES[code], f"{what}, {shape},")


def _read_names(reader: _Reader, count: int) -> list[str]:
    number = reader.number("Q", "the number of names")
    if number != count:
        raise reader.fail(f"it has {number} names for {count} arrays")
    names = []
    for i in range(count):
        what = f"the name of array {i + 1} of {count}"
        raw = bytes(reader.take(reader.number("Q", what), what))
        try:
            names.append(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise reader.fail(f"{what} is not UTF-8") from error
    return names


def write_params(path: str | Path, arrays: Mapping[str, Any]) -> Path:
    """Writes arrays as an MXNet `.params` file.

    The file is written atomically.

    Args:
        path: The file; an existing one is replaced.
        arrays: Arrays of finite numbers by MXNet name, in the file's order; stored as float32.

    Returns:
        The path.

    Raises:
        FaceAlignError: If an array has no or too many dimensions, no elements, or values that are
            not finite, or the file cannot be written.

    Example:
        >>> write_params("two.params", {"arg:a": [1.0, 2.0]})  # doctest: +SKIP
    """
    path = Path(path)
    ready = {name: _checked(path, name, value) for name, value in arrays.items()}
    return atomic_write(path, lambda file: _write(file, ready))


def _checked(path: Path, name: str, value: Any) -> np.ndarray:
    array = np.asarray(value, "<f4")
    if not 1 <= array.ndim <= _MAX_DIMENSIONS or not array.size:
        raise FaceAlignError(
            f"{path}: {name!r} has shape {array.shape}, which the format does not support."
        )
    if not np.isfinite(array).all():
        raise FaceAlignError(f"{path}: {name!r} has values that are not finite.")
    return array


def _write(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    file.write(struct.pack("<QQQ", _LIST_MAGIC, 0, len(arrays)))
    for array in arrays.values():
        file.write(struct.pack("<IiI", _ARRAY_MAGIC, _DENSE, array.ndim))
        file.write(struct.pack(f"<{array.ndim}qiii", *array.shape, *_CPU, _FLOAT32))
        file.write(np.ascontiguousarray(array).tobytes())
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        raw = name.encode("utf-8")
        file.write(struct.pack("<Q", len(raw)) + raw)
