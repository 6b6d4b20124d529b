"""What the builders' tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

__all__ = ["assert_same_files", "build", "read"]


def build(
    name: str, manual_dir: Path, data_dir: Path, beam_options: Any = None, **kwargs: Any
) -> Any:
    """A builder of `manual_dir`'s files, built in `data_dir`."""
    builder = tfds.builder(name, data_dir=data_dir, **kwargs)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=beam_options)
    builder.download_and_prepare(download_config=config)
    return builder


def read(builder: Any, split: str, key: str = "file_name") -> dict[str, dict[str, np.ndarray]]:
    """The examples of a split by one of their texts, which must tell them apart."""
    rows = list(tfds.as_numpy(builder.as_dataset(split=split)))
    found = {row[key].decode(): row for row in rows}
    assert len(found) == len(rows)
    return found


def assert_same_files(main: Callable[[Path], None], new: Path, kept: Path) -> None:
    """Asserts that a script draws the files in `kept`, up to rounding by the image codec."""
    main(new)
    drawn = sorted(path.relative_to(new) for path in new.rglob("*") if path.is_file())
    assert drawn == sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file())
    for path in drawn:
        if path.suffix in (".jpg", ".png"):
            pictures = [np.asarray(Image.open(root / path)).astype(int) for root in (new, kept)]
            assert np.abs(pictures[0] - pictures[1]).mean() < 1, path
        elif path.suffix == ".mat":
            _assert_same_arrays(new / path, kept / path)
        else:
            assert (new / path).read_bytes() == (kept / path).read_bytes(), path


def _assert_same_arrays(new: Path, kept: Path) -> None:
    """Compressed files depend on the version of the library that packs them; arrays do not."""
    with new.open("rb") as first, kept.open("rb") as second:
        header = first.read(128)
        assert header == second.read(128)
    if header.startswith(b"MATLAB 5.0"):
        import scipy.io

        arrays = [scipy.io.loadmat(path) for path in (new, kept)]
        assert arrays[0].keys() == arrays[1].keys()
        for name in arrays[0]:
            if not name.startswith("__"):
                np.testing.assert_array_equal(arrays[0][name], arrays[1][name])
        return
    import h5py

    with h5py.File(new, "r") as first, h5py.File(kept, "r") as second:
        names: list[str] = []
        first.visit(names.append)
        others: list[str] = []
        second.visit(others.append)
        assert names == others
        for name in names:
            if isinstance(first[name], h5py.Dataset) and first[name].dtype.kind != "O":
                np.testing.assert_array_equal(first[name][()], second[name][()])
