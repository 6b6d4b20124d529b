"""Reading untrusted `.npz` files: no pickle, and every size is checked before it is allocated."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.files import one_line
from keras_facealign.errors import FaceAlignError

ArraySpec = tuple[str, tuple[int | None, ...]]
"""NumPy's letters of the allowed kinds of numbers, and the shape, with None for any length."""

# NumPy pads an array's header to a multiple of 64 bytes; no header that is read here is longer.
_MAX_HEADER = 20_000


def read_npz(
    path: str | os.PathLike[str], specs: Mapping[str, ArraySpec], max_bytes: int
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers or texts from an `.npz` file.

    Args:
        path: The file.
        specs: The arrays by name: letters of the kinds allowed (`"f"` real, `"i"` integer, `"U"`
            text ...) and the shape, in which None stands for any length. Other arrays of the file
            are not read.
        max_bytes: Largest array that is read.

    Returns:
        The arrays, with the types that the file gives them.

    Raises:
        FaceAlignError: The file is missing, damaged or not an `.npz` file, or an array is missing,
            too large, or of another kind or shape.

    Example:
        >>> read_npz("face.npz", {"pose": ("f", (None, 3))}, 10_000)  # doctest: +SKIP
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive, name, *specs[name], max_bytes) for name in specs}
    except FaceAlignError as error:
        raise FaceAlignError(f"{path}: {error}") from None
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise FaceAlignError(f"{path}: cannot be opened ({reason}); check the path") from error
    except zipfile.BadZipFile as error:
        raise FaceAlignError(f"{path}: is not a whole .npz file; replace it") from error
    except Exception as error:  # zlib, zipfile and NumPy raise many kinds of error on damage.
        raise FaceAlignError(f"{path}: cannot be read ({one_line(error)}); replace it") from error


def _read(
    archive: zipfile.ZipFile, name: str, kinds: str, shape: tuple[int | None, ...], max_bytes: int
) -> np.ndarray:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise FaceAlignError(f"holds no array {name!r}; replace the file") from None
    with archive.open(member) as stream:
        found, dtype = read_array_header(stream)
    fits = len(found) == len(shape) and all(
        needed in (None, length) for length, needed in zip(found, shape, strict=True)
    )
    if dtype.kind not in kinds or not fits:
        needed = "x".join("N" if length is None else str(length) for length in shape)
        raise FaceAlignError(
            f"{name} is {dtype} {'x'.join(map(str, found))}, where {needed} of kind {kinds!r} is "
            "needed; replace the file"
        )
    size = math.prod(found) * dtype.itemsize
    if size > max_bytes or not size <= member.file_size <= size + _MAX_HEADER:
        raise FaceAlignError(
            f"{name} claims {size} bytes; {member.file_size} are stored, and the limit is "
            f"{max_bytes}; replace the file"
        )
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


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
    return shape, dtype
