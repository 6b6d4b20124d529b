"""Weights in half the space: 16-bit floats in a preset's file, 32-bit ones in its network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.presets.folders import UNFINISHED_WEIGHTS, WEIGHTS

__all__ = ["store_half_precision"]


def store_half_precision(folder: str | Path) -> Path:
    """Rewrites a preset's weights as 16-bit floats, which `from_preset` widens again.

    Kernels alone are narrowed. The vectors, which are biases and what batch normalisation knows,
    are a hundredth of the file, and some of their values lie outside what 16 bits can say. The new
    file takes the place of the old one when it is whole.

    Args:
        folder: A folder that `save_to_preset` wrote.

    Returns:
        The weights' file.

    Raises:
        FaceAlignError: If the folder has no weights, or a kernel has values too large for 16 bits.

    Example:
        >>> store_half_precision(save_to_preset(model, "my_preset"))  # doctest: +SKIP
    """
    import h5py

    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FaceAlignError(f"{path}: there is no such file; save the preset first.")
    part = path.with_name(UNFINISHED_WEIGHTS)
    try:
        with h5py.File(path, "r") as source, h5py.File(part, "w") as target:

            def copy(name: str, item: Any) -> None:
                if isinstance(item, h5py.Group):
                    target.require_group(name).attrs.update(item.attrs)
                elif isinstance(item, h5py.Dataset):
                    values = item[()]
                    if item.ndim >= 2 and item.dtype == np.float32:
                        values = _narrow(values, f"{path}: {name}")
                    target.create_dataset(name, data=values).attrs.update(item.attrs)

            target.attrs.update(source.attrs)
            source.visititems(copy)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _narrow(values: np.ndarray, name: str) -> np.ndarray:
    if not np.abs(values).max(initial=0.0) <= np.finfo(np.float16).max:
        raise FaceAlignError(f"{name} has values beyond 16-bit floats; keep the preset as it is.")
    return values.astype(np.float16)
