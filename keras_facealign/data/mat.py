"""MATLAB files from strangers: version 5 read with SciPy, version 7.3 with h5py.

Neither format is trusted. What a file claims is checked before memory is set aside for it: the
file's size, the sizes of compressed parts, the shapes and classes of arrays, and that an HDF5 file
keeps its data to itself. Only plain arrays of numbers are read; objects, functions and cells are
named and refused.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["Mat73", "open_mat73", "read_mat"]

Shape = tuple[int | None, ...]
"""What an array's shape must be; None stands for any length."""

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
# Bytes of a number by the type that its data element is stored in.
_STORED_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_CLASSES = {
    **{1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse matrix"},
    **{16: "function", 17: "opaque object"},
}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x0800


def read_mat(
    path: str | Path, shapes: Mapping[str, Shape], max_bytes: int = 16_000_000
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers from a MATLAB 5 file.

    Args:
        path: The file.
        shapes: The arrays wanted, by name, and the shape each must have. Others are passed over
            unread.
        max_bytes: Limit of the file's size, and of each array's.

    Returns:
        The arrays, with the types that the file gives them.

    Raises:
        FaceAlignError: The file is missing, damaged, too large or of another format, or an array is
            missing, has another shape or holds something other than numbers.

    Example:
        >>> read_mat("image00050.mat", {"Pose_Para": (1, 7)})["Pose_Para"]  # doctest: +SKIP
    """
    path = Path(path)
    content = _content(path, max_bytes)
    order = _byte_order(path, content)
    wanted = bytearray(content[:_HEADER_BYTES])
    seen = set()
    for element, limit in _elements(path, content, order, max_bytes):
        name = _check_array(path, element, order, shapes, limit)
        if name is not None:
            seen.add(name)
            wanted += element
    for name in shapes:
        if name not in seen:
            raise FaceAlignError(f"{path}: holds no array {name!r}; get the file anew")
    import scipy.io

    try:
        arrays = scipy.io.loadmat(io.BytesIO(bytes(wanted)), variable_names=list(shapes))
    except Exception as error:  # SciPy's reader raises many kinds of error on damage.
        raise FaceAlignError(
            f"{path}: is damaged ({_one_line(error)}); get the file anew"
        ) from error
    return {name: arrays[name] for name in shapes}


def _content(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror}); check the path and its permissions"
        ) from error
    if not content:
        raise FaceAlignError(f"{path}: the file is empty; replace or remove it")
    if len(content) > max_bytes:
        raise FaceAlignError(f"{path}: is larger than {max_bytes} bytes; check the file")
    return content


def _byte_order(path: Path, content: bytes) -> str:
    if content.startswith(b"MATLAB 7.3"):
        raise FaceAlignError(f"{path}: is a MATLAB 7.3 file where version 5 is due; get it anew")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER_BYTES])
    if order is None:
        raise FaceAlignError(f"{path}: is not a MATLAB 5 file; replace or remove it")
    return order


def _damaged(path: Path, reason: str) -> FaceAlignError:
    return FaceAlignError(f"{path}: is damaged ({reason}); get the file anew")


def _elements(
    path: Path, content: bytes, order: str, max_bytes: int
) -> Iterator[tuple[bytes, int]]:
    """The file's arrays, unpacked, each with the number of bytes that it may claim."""
    position = _HEADER_BYTES
    while position < len(content):
        if position + 8 > len(content):
            raise _damaged(path, "it is cut off")
        kind, size = struct.unpack_from(order + "II", content, position)
        end = position + 8 + size
        if end > len(content):
            raise _damaged(path, f"it is cut off: {size} bytes are announced, fewer are there")
        if kind == _COMPRESSED:
            try:
                unpacker = zlib.decompressobj()
                element = unpacker.decompress(content[position + 8 : end], max_bytes + 1)
            except zlib.error as error:
                raise _damaged(path, _one_line(error)) from error
            if len(element) > max_bytes:
                raise FaceAlignError(
                    f"{path}: a part unpacks to more than {max_bytes} bytes; check the file"
                )
            yield element, max_bytes
        elif kind == _MATRIX:
            yield content[position:end], max_bytes
        position = end


def _subelement(path: Path, data: bytes, position: int, order: str) -> tuple[int, bytes, int]:
    """Type, content and end of the data element at a place."""
    if position + 8 > len(data):
        raise _damaged(path, "an array is cut off")
    kind, size = struct.unpack_from(order + "II", data, position)
    if kind >> 16:  # up to four bytes are stored within the tag
        kind, size = kind & 0xFFFF, kind >> 16
        start, end = position + 4, position + 8
    else:
        start = position + 8
        end = start + size + (-size % 8)
    if start + size > len(data) or size > end - start:
        raise _damaged(path, "an array is cut off")
    return kind, data[start : start + size], end


def _check_array(
    path: Path, element: bytes, order: str, shapes: Mapping[str, Shape], limit: int
) -> str | None:
    """The array's name if it is wanted and sound, None if it is not wanted."""
    flags = _subelement(path, element, 8, order)
    if len(flags[1]) != 8:
        raise _damaged(path, "an array has no flags")
    word = struct.unpack(order + "II", flags[1])[0]
    array_class = word & 0xFF
    second = _subelement(path, element, flags[2], order)
    if array_class == 17:  # has no dimensions, its name comes at once
        name, dimensions, end = second[1], (), second[2]
    else:
        third = _subelement(path, element, second[2], order)
        name, end = third[1], third[2]
        dimensions = struct.unpack(f"{order}{len(second[1]) // 4}i", second[1])
    text = name.decode("latin-1")
    if text not in shapes:
        return None
    if array_class not in _NUMERIC_CLASSES or word & _COMPLEX:
        kind = _CLASSES.get(array_class, "complex array")
        raise FaceAlignError(f"{path}: {text} is a {kind}, not numbers; get the file anew")
    _check_shape(f"{path}: {text}", dimensions, shapes[text])
    count = math.prod(dimensions)
    stored, data, _ = _subelement(path, element, end, order)
    if count * 8 > limit:
        raise FaceAlignError(f"{path}: {text} has {count} numbers, too many; check the file")
    if stored not in _STORED_BYTES or count * _STORED_BYTES[stored] != len(data):
        raise _damaged(path, f"{text} holds {len(data)} bytes for {count} numbers")
    return text


def _check_shape(what: str, shape: tuple[int, ...], expected: Shape) -> None:
    if len(shape) != len(expected) or any(
        length < 0 or (wanted is not None and length != wanted)
        for length, wanted in zip(shape, expected, strict=True)
    ):
        due = "x".join("N" if wanted is None else str(wanted) for wanted in expected)
        raise FaceAlignError(f"{what} is {'x'.join(map(str, shape))} where {due} is due")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def open_mat73(path: str | Path) -> Iterator[Mat73]:
    """Opens a MATLAB 7.3 file, which is HDF5.

    Args:
        path: The file.

    Yields:
        What reads its arrays.

    Raises:
        FaceAlignError: The file is missing or of another format.

    Example:
        >>> with open_mat73("COFW_test_color.mat") as file:  # doctest: +SKIP
        ...     picture = file.follow(file.references("IsT")[0], "IsT 1")
    """
    import h5py

    path = Path(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(10)
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror}); check the path and its permissions"
        ) from error
    if start == b"MATLAB 5.0":
        raise FaceAlignError(f"{path}: is a MATLAB 5 file where version 7.3 is due; get it anew")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FaceAlignError(
            f"{path}: is not a MATLAB 7.3 file ({_one_line(error)}); get it anew"
        ) from error
    with file:
        yield Mat73(path, file)


class Mat73:
    """An open MATLAB 7.3 file; `open_mat73` makes it.

    MATLAB's arrays lie transposed in HDF5: what is (29, 1) there is (1, 29) here.

    Args:
        path: What error messages call the file.
        file: The open `h5py.File`.
        max_bytes: Largest array read.
    """

    def __init__(self, path: Path, file: Any, max_bytes: int = 300_000_000) -> None:
        self._path, self._file, self._max_bytes = path, file, max_bytes

    def array(self, name: str, shape: Shape) -> np.ndarray:
        """Reads an array of numbers.

        Args:
            name: Its name in the file.
            shape: Shape that it must have, as HDF5 stores it.

        Raises:
            FaceAlignError: There is no such array, it is no array of numbers, or its shape differs.
        """
        return self._read(self._named(name), name, shape)

    def references(self, name: str) -> list[Any]:
        """The object references of a cell array, in order; see `follow`."""
        import h5py

        dataset = self._named(name)
        if h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference:
            raise FaceAlignError(f"{self._path}: {name} is no cell array; get the file anew")
        return list(self._contents(dataset, name).ravel())

    def follow(self, reference: Any, name: str) -> np.ndarray:
        """Reads the array of numbers that a reference points to.

        Args:
            reference: One of `references`.
            name: What error messages call the array.

        Raises:
            FaceAlignError: The reference points nowhere, or not to an array of numbers.
        """
        import h5py

        target: Any = None
        try:
            if reference:
                target = self._file[reference]
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise FaceAlignError(
                f"{self._path}: {name} points nowhere ({_one_line(error)}); get the file anew"
            ) from error
        if not isinstance(target, h5py.Dataset):
            raise FaceAlignError(f"{self._path}: {name} points to no array; get the file anew")
        return self._read(target, name, (None,) * target.ndim)

    def _named(self, name: str) -> Any:
        import h5py

        link = self._file.get(name, getlink=True) if name in self._file else None
        target = self._file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(target, h5py.Dataset):
            raise FaceAlignError(f"{self._path}: holds no array {name!r}; get the file anew")
        return target

    def _read(self, dataset: Any, name: str, shape: Shape) -> np.ndarray:
        if dataset.dtype.kind not in "iuf":
            raise FaceAlignError(
                f"{self._path}: {name} holds {dataset.dtype}, not numbers; get the file anew"
            )
        _check_shape(f"{self._path}: {name}", dataset.shape or (), shape)
        return self._contents(dataset, name)

    def _contents(self, dataset: Any, name: str) -> np.ndarray:
        # Data that lies in other files would let a stranger's file read the user's own.
        if dataset.external or dataset.is_virtual:
            raise FaceAlignError(f"{self._path}: {name} points to other files; get it anew")
        size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
        if size > self._max_bytes:
            raise FaceAlignError(
                f"{self._path}: {name} has {size} bytes, over the limit of {self._max_bytes}; "
                "check the file"
            )
        try:
            return np.asarray(dataset[()])
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise FaceAlignError(
                f"{self._path}: {name} is damaged ({_one_line(error)}); get the file anew"
            ) from error
