"""Reading untrusted MATLAB files: version 5 with SciPy, version 7.3 with h5py.

Only plain arrays of numbers are read. Sizes are checked before memory is allocated, objects,
functions and cells are refused, and an HDF5 file must hold its data itself.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.files import import_extra, one_line, read_bytes
from keras_facealign.errors import FaceAlignError

Shape = tuple[int | None, ...]
"""What an array's shape must be; None stands for any length."""

_HEADER_BYTES = 128
_COMPRESSED = 15
_COMPLEX = 0x0800
_NUMERIC_CLASSES = range(6, 16)
# Types that numbers may be stored in: 8 to 64 bits, integer or floating point.
_NUMBER_TYPES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}
_NOT_NUMBERS = {"cell", "struct", "object", "char", "sparse", "function", "opaque", "unknown"}


def read_mat(
    path: str | Path, shapes: Mapping[str, Shape], max_bytes: int = 16_000_000
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers from a MATLAB 5 file.

    Args:
        path: The file.
        shapes: The arrays to read, by name, and the shape each must have. Other arrays of the file
            are not read.
        max_bytes: Limit of the file's size, of its size without compression, and of each array's.

    Returns:
        The arrays, with the types that the file gives them.

    Raises:
        FaceAlignError: The file is missing, damaged, too large or of another format, an array is
            missing, has another shape or holds something other than numbers, or SciPy is missing.

    Example:
        >>> read_mat("image00050.mat", {"Pose_Para": (1, 7)})["Pose_Para"]  # doctest: +SKIP
    """
    path = Path(path)
    content = _decompressed(path, read_bytes(path, max_bytes), max_bytes)
    scipy_io = import_extra("scipy.io")

    def call(function: Callable[..., Any], **options: Any) -> Any:
        try:
            return function(io.BytesIO(content), **options)
        except Exception as error:  # SciPy raises many kinds of error on damage.
            raise _damaged(path, one_line(error)) from error

    found = {name: (shape, kind) for name, shape, kind in call(scipy_io.whosmat)}
    for name, expected in shapes.items():
        if name not in found:
            raise FaceAlignError(f"{path}: holds no array {name!r}; replace the file")
        shape, kind = found[name]
        if kind in _NOT_NUMBERS:
            raise FaceAlignError(f"{path}: {name} is a {kind}, not numbers; replace the file")
        _check_shape(f"{path}: {name}", shape, expected)
        if math.prod(shape) * 8 > max_bytes:
            raise FaceAlignError(f"{path}: {name} has {math.prod(shape)} numbers, too many")
    arrays = call(scipy_io.loadmat, variable_names=list(shapes))
    for name in shapes:
        if getattr(arrays.get(name), "shape", None) != found[name][0]:
            raise _damaged(path, f"{name} cannot be read")
        if arrays[name].dtype.kind not in "iuf":
            raise FaceAlignError(f"{path}: {name} is {arrays[name].dtype}, not real numbers")
    return {name: arrays[name] for name in shapes}


def _decompressed(path: Path, content: bytes, max_bytes: int) -> bytes:
    """The same file without compression, checked so that SciPy can read it safely.

    SciPy allocates as much as compressed data unpack to, and crashes on unknown types of numbers
    (version 1.17).
    """
    if content.startswith(b"MATLAB 7.3"):
        raise FaceAlignError(f"{path}: is a MATLAB 7.3 file, but version 5 is needed; replace it")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER_BYTES])
    if order is None:
        raise FaceAlignError(f"{path}: is not a MATLAB 5 file; replace or remove it")
    parts, left = [content[:_HEADER_BYTES]], max_bytes
    for kind, part in _elements(path, content, _HEADER_BYTES, order):
        if kind == _COMPRESSED:
            try:
                part = zlib.decompressobj().decompress(part[8:], left + 1)
            except zlib.error as error:
                raise _damaged(path, one_line(error)) from error
        left -= len(part)
        if left < 0:
            raise FaceAlignError(f"{path}: unpacks to more than {max_bytes} bytes; check the file")
        parts.append(part)
    content = b"".join(parts)
    for _, part in _elements(path, content, _HEADER_BYTES, order):
        flags = struct.unpack_from(order + "I", part.ljust(20, b"\0"), 16)[0]
        if flags & 0xFF in _NUMERIC_CLASSES:
            # Flags, dimensions, name and numbers, and the imaginary part of complex numbers.
            kinds = [kind for kind, _ in _elements(path, part, 8, order, align=8)]
            if len(kinds) != 4 + bool(flags & _COMPLEX) or not _NUMBER_TYPES.issuperset(kinds):
                raise _damaged(path, f"an array consists of elements of the types {kinds}")
    return content


def _elements(
    path: Path, content: bytes, position: int, order: str, align: int = 1
) -> Iterator[tuple[int, bytes]]:
    """Yields the type of each data element after a position, and its bytes with their tag."""
    while position < len(content):
        tag = content[position : position + 8].ljust(8, b"\0")
        kind, size = struct.unpack(order + "II", tag)
        size += -size % align
        if kind >> 16:  # Up to four bytes are stored inside the tag.
            kind, size = kind & 0xFFFF, 0
        part = content[position : position + 8 + size]
        if len(part) < 8 + size:
            raise _damaged(path, f"{size} bytes are announced, {len(part)} are left")
        yield kind, part
        position += len(part)


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
    try:
        with path.open("rb") as stream:
            if stream.read(10) == b"MATLAB 5.0":
                raise FaceAlignError(
                    f"{path}: is a MATLAB 5 file, but version 7.3 is needed; replace it"
                )
        file = h5py.File(path, "r")
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened as a MATLAB 7.3 file ({one_line(error)}); replace it"
        ) from error
    with file:
        yield Mat73(path, file, h5py)


class Mat73:
    """An open MATLAB 7.3 file; `open_mat73` makes it.

    MATLAB's arrays are transposed in HDF5: what is (29, 1) there is (1, 29) here.

    Args:
        path: What error messages call the file.
        file: The open `h5py.File`.
        h5py: The module.
        max_bytes: Largest array read.
    """

    def __init__(self, path: Path, file: Any, h5py: Any, max_bytes: int = 300_000_000) -> None:
        self._path, self._file, self._h5py, self._max_bytes = path, file, h5py, max_bytes

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
        if self._h5py.check_ref_dtype(dataset.dtype) is not self._h5py.Reference:
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
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise self._error(f"{name} points nowhere ({one_line(error)})") from error
        if not isinstance(target, self._h5py.Dataset):
            raise self._error(f"{name} does not point to an array")
        return self._read(target, name, (None,) * target.ndim)

    def _error(self, problem: str) -> FaceAlignError:
        return FaceAlignError(f"{self._path}: {problem}; replace the file")

    def _named(self, name: str) -> Any:
        link = self._file.get(name, getlink=True) if name in self._file else None
        target = self._file[name] if isinstance(link, self._h5py.HardLink) else None
        if not isinstance(target, self._h5py.Dataset):
            raise self._error(f"holds no array {name!r}")
        return target

    def _read(self, dataset: Any, name: str, shape: Shape) -> np.ndarray:
        if dataset.dtype.kind not in "iuf":
            raise self._error(f"{name} holds {dataset.dtype}, not numbers")
        _check_shape(f"{self._path}: {name}", dataset.shape or (), shape)
        return self._contents(dataset, name)

    def _contents(self, dataset: Any, name: str) -> np.ndarray:
        # Data in other files would let an untrusted file read the user's own.
        if dataset.external or dataset.is_virtual:
            raise self._error(f"{name} points to other files")
        size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
        if size > self._max_bytes:
            raise self._error(f"{name} has {size} bytes, over the limit of {self._max_bytes}")
        try:
            return np.asarray(dataset[()])
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise self._error(f"{name} is damaged ({one_line(error)})") from error
