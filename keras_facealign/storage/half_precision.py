"""Stores a preset's weights as 16-bit floats; loading widens them to 32 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path
from keras_facealign.storage.hdf5 import check_hdf5
from keras_facealign.storage.preset_folders import WEIGHTS
from keras_facealign.storage.reading import MAX_FILE_BYTES, parsing, read_file

# Compression adds a header that makes smaller arrays larger.
_LEAST_COMPRESSED_BYTES = 4096
# HDF5's file layout of 2016 stores groups and small arrays in less space than the default.
_LAYOUT = ("v110", "v110")
_PRECISIONS = ("float16", "bfloat16", "int8")
# Bits of float16's significand that bfloat16 does not have.
_EXTRA_BITS = 3
# The largest multiple under "int8"; and float16's smallest number, the smallest possible step.
_LARGEST_MULTIPLE, _SMALLEST_STEP = 127, 2.0**-24


def store_half_precision(folder: str | Path, precision: str = "float16") -> Path:
    """Rewrites a preset's weights as 16-bit floats, which `from_preset` widens again.

    Only kernels are narrowed, and compressed. The vectors (biases and the statistics of batch
    normalization) make up a hundredth of the file, and some of their values are out of range of 16
    bits. The new file replaces the old one when it is complete.

    Args:
        folder: A folder that `save_to_preset` wrote.
        precision: "float16" keeps 11 significant bits. "bfloat16" keeps 8 of them, all that a
            network trained under Keras's policy "mixed_bfloat16" has computed with; such kernels
            compress to four fifths of the space. "int8" rounds each output channel to
            multiples, -127 to 127, of its own power of two: half the space, for an error of about
            2 % of the weights' standard deviation; measure how far the landmarks move. In the file
            all are 16-bit floats, which HDF5 and Keras read as usual.

    Returns:
        The weights file.

    Raises:
        FaceAlignError: If the folder has no weights, or a kernel has values too large for 16 bits.
        ValueError: For another `precision`.

    Example:
        >>> store_half_precision(save_to_preset(model, "my_preset"))  # doctest: +SKIP
    """
    import h5py

    if precision not in _PRECISIONS:
        raise ValueError(f"precision is {precision!r}; choose one of: {', '.join(_PRECISIONS)}.")
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FaceAlignError(f"{path}: there is no such file; save the preset first.")
    check_hdf5(read_file(path, MAX_FILE_BYTES), str(path))
    with (
        parsing(path, "restore the file"),
        atomic_path(path) as part,
        h5py.File(path, "r") as source,
        h5py.File(part, "w", libver=_LAYOUT) as target,
    ):

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                target.require_group(name).attrs.update(item.attrs)
            elif isinstance(item, h5py.Dataset):
                values = item[()]
                if item.ndim >= 2 and item.dtype in (np.float32, np.float16):
                    values = _narrow(values, precision, f"{path}: {name}")
                # One chunk, since gzip finds more in a whole kernel than in parts.
                packing = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                packing["chunks"] = values.shape
                if values.nbytes < _LEAST_COMPRESSED_BYTES:
                    packing = {}
                target.create_dataset(name, data=values, **packing).attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return path


def _narrow(values: np.ndarray, precision: str, name: str) -> np.ndarray:
    if precision == "int8":
        values = _round_channels(values)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if precision == "bfloat16":
        # Round to nearest, ties to even; a carry into the exponent gives the next larger number.
        bits = narrow.view(np.uint16)
        half = (1 << (_EXTRA_BITS - 1)) - 1
        bits = bits + np.uint16(half) + (bits >> _EXTRA_BITS & np.uint16(1))
        narrow = (bits >> _EXTRA_BITS << _EXTRA_BITS).view(np.float16)
    if not np.isfinite(narrow).all():
        raise FaceAlignError(f"{name} has values beyond 16-bit floats; keep the preset as it is.")
    return narrow


def _round_channels(kernel: np.ndarray) -> np.ndarray:
    """Rounds each output channel (last axis) to multiples of the smallest sufficient power of 2."""
    kernel = kernel.astype(np.float64)
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    step = np.exp2(np.ceil(np.log2(np.maximum(largest / _LARGEST_MULTIPLE, _SMALLEST_STEP))))
    return np.rint(kernel / step) * step
