"""Checks of untrusted HDF5 files before their arrays are read."""

from __future__ import annotations

import io
import math
import os
import zlib
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.child_process import check_in_child, limit_process
from keras_facealign.storage.reading import check_memory, parsing

# Filters that HDF5 has itself: others are programs that it would load.
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_MAX_OBJECTS, _MAX_PATH = 20_000, 2000


def check_dataset(dataset: Any, name: str, file_bytes: int) -> int:
    """Checks that reading an array takes no more memory than it should, and no other file.

    Args:
        dataset: An `h5py.Dataset`.
        name: What error messages call it.
        file_bytes: Size of the file that it is in.

    Returns:
        Bytes that it takes in memory.

    Raises:
        FaceAlignError: If it points to other files, uses filters that are no part of HDF5, or
            claims or unpacks to much more memory than the file's size.
    """
    with parsing(name):
        # Data in other files would let an untrusted file read the user's own.
        elsewhere = dataset.external or dataset.is_virtual
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
        chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if elsewhere:
        raise FaceAlignError(f"{name} points to other files; replace the file")
    if unknown := set(filters) - {_DEFLATE, _SHUFFLE, _CHECKSUM}:
        raise FaceAlignError(f"{name} is packed by the unknown filter {min(unknown)}")
    check_memory(name, size, file_bytes, "the array")
    check_memory(name, chunk, file_bytes, "a part of the array")
    if _DEFLATE in filters:
        _check_unpacked(dataset, name, filters, chunk)
    return size


def _check_unpacked(dataset: Any, name: str, filters: list[int], chunk: int) -> None:
    """Checks that no part unpacks to more than it should: HDF5 unpacks without a limit."""
    with parsing(name):
        for i in range(dataset.id.get_num_chunks()):
            part = dataset.id.get_chunk_info(i)
            skipped, content = dataset.id.read_direct_chunk(part.chunk_offset)
            if skipped & (1 << filters.index(_DEFLATE)):
                continue
            checksum = 4 if _CHECKSUM in filters else 0
            unpacking = zlib.decompressobj()
            if len(unpacking.decompress(content, chunk + checksum + 1)) > chunk + checksum:
                raise FaceAlignError(f"{name} unpacks to more than its size; replace the file")


def check_hdf5(content: bytes, name: str) -> None:
    """Reads an HDF5 file of arrays in another process, because damaged ones crash HDF5.

    Args:
        content: The file.
        name: What error messages call it.

    Raises:
        FaceAlignError: If it is damaged, or its arrays are refused; see `check_arrays`.
    """
    check_in_child("keras_facealign.storage.hdf5.read_all", content, name)


def read_all(content: bytes, name: str) -> None:
    """Reads all arrays and attributes of a file; raises what `check_arrays` and HDF5 do."""
    import h5py

    limit_process(len(content))
    with parsing(name, "restore the file"), h5py.File(io.BytesIO(content), "r") as file:
        check_arrays(file, name, len(content))

        def read(_: str, item: Any) -> None:
            dict(item.attrs)
            if isinstance(item, h5py.Dataset):
                item[()]

        read("/", file)
        file.visititems(read)


def check_arrays(file: Any, name: str | os.PathLike[str], file_bytes: int) -> None:
    """Checks all arrays of an open file as `check_dataset` does for one, and their sum.

    Args:
        file: An open `h5py.File`.
        name: What error messages call it.
        file_bytes: Its size.

    Raises:
        FaceAlignError: If an array is refused, or the file has links to other places.
    """
    import h5py

    total, count, groups = 0, 0, [("", file)]
    while groups:
        prefix, group = groups.pop()
        for key in group:
            place, count = f"{prefix}/{key}", count + 1
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise FaceAlignError(f"{name}: {place} is a link; save the file again")
            item = group[key]
            if isinstance(item, h5py.Dataset):
                total += check_dataset(item, f"{name}: {place}", file_bytes)
            elif isinstance(item, h5py.Group):
                groups.append((place, item))
            check_memory(name, total, file_bytes, "its arrays")
            if count > _MAX_OBJECTS or len(place) > _MAX_PATH:
                # Groups that contain themselves have no end.
                raise FaceAlignError(f"{name}: has too many objects; save the file again")
