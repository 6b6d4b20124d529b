"""Reading `.npz` files from strangers, without pickle, every size known before memory is taken;
and writing files so that nobody meets half of one."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["Wanted", "read_npz"]

Wanted = tuple[str, tuple[int | None, ...]]
"""Kinds of number that an array may hold, as NumPy's letters, and the shape it must have."""


def read_npz(
    path: str | os.PathLike[str], wanted: Mapping[str, Wanted], max_bytes: int
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers or texts from an `.npz` file.

    Args:
        path: The file.
        wanted: The arrays by name: letters of the kinds allowed (`"f"` real, `"i"` whole, `"U"`
            text ...) and the shape, in which None stands for any length. Other arrays are passed
            over unread.
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
            return {
                name: _read(path, archive, name, kinds, shape, max_bytes)
                for name, (kinds, shape) in wanted.items()
            }
    except FaceAlignError:
        raise
    except zipfile.BadZipFile as error:
        raise FaceAlignError(f"{path}: is not an .npz file; get it anew") from error
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror or error}); check the path"
        ) from error
    except Exception as error:  # zlib, the header's parser and zipfile raise many kinds on damage.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FaceAlignError(f"{path}: is damaged ({reason}); get it anew") from error


def _read(
    path: Path,
    archive: zipfile.ZipFile,
    name: str,
    kinds: str,
    shape: tuple[int | None, ...],
    max_bytes: int,
) -> np.ndarray:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise FaceAlignError(f"{path}: holds no array {name!r}; get the file anew") from None
    with archive.open(member) as stream:
        found, dtype = _header(stream)
    due = "x".join("N" if length is None else str(length) for length in shape)
    fits = len(found) == len(shape) and all(
        wanted in (None, length) for length, wanted in zip(found, shape, strict=True)
    )
    if dtype.kind not in kinds or not fits:
        raise FaceAlignError(
            f"{path}: {name} is {dtype} {'x'.join(map(str, found))}, where {due} of kind "
            f"{kinds!r} is due; get the file anew"
        )
    size = math.prod(found) * dtype.itemsize
    if size > max_bytes:
        raise FaceAlignError(f"{path}: {name} has {size} bytes, over {max_bytes}; check the file")
    if not size <= member.file_size <= size + 20_000:
        raise FaceAlignError(
            f"{path}: {name} stores {member.file_size} bytes for {size}; get the file anew"
        )
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"array format {version}")
    return shape, dtype
