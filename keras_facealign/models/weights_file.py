"""Checks that a weights file belongs to a model before Keras loads it.

Keras finds a variable by the number of its layer, so that the weights of a larger network fill a
smaller one without a word.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.hdf5 import check_hdf5
from keras_facealign.storage.reading import (
    MAX_FILE_BYTES,
    check_memory,
    open_regular,
    parsing,
    read_file,
)

_ATTRIBUTE = "keras_facealign_architecture"
# What a file may hold besides the network's weights, or lack.
_STATE = ("optimizer", "augmentation")
_IN_ARCHIVE = "model.weights.h5"


def note_architecture(path: str | os.PathLike[str], architecture: dict[str, Any]) -> None:
    """Writes the architecture of a model into its weights file.

    Args:
        path: A `.weights.h5` file; any other is left as it is.
        architecture: The fields of the model's `Architecture`.
    """
    import h5py

    if str(path).endswith(".weights.h5") and os.path.isfile(path):
        with h5py.File(path, "r+") as file:
            file.attrs[_ATTRIBUTE] = json.dumps(architecture)


def check_weights_file(
    path: str | os.PathLike[str], weights: list[Any], architecture: dict[str, Any]
) -> None:
    """Checks that a file holds the weights of an architecture, before they are read.

    Args:
        path: A `.weights.h5` or `.keras` file; any other is not checked.
        weights: The model's weights; none to check only that the file can be read.
        architecture: The fields of its `Architecture`.

    Raises:
        FaceAlignError: If the file names another architecture, or its arrays have other shapes.
        OSError: If it is not an HDF5 file.
    """
    with _opened(path) as file:
        if file is None or not weights:
            return
        noted, found = file.attrs.get(_ATTRIBUTE), _shapes(file)
    problem = None
    with contextlib.suppress(TypeError, ValueError):  # an old file, or one of another program
        theirs = dict(json.loads(noted))
        problem = "; ".join(
            f"{name} is {theirs.get(name)!r} in the file and {value!r} in the model"
            for name, value in architecture.items()
            if theirs.get(name) != value
        )
    expected = Counter(tuple(variable.shape) for variable in weights)
    if not problem and found != expected:
        problem = (
            f"{found.total()} arrays in the file and {expected.total()} in the model, of which "
            f"{(found & expected).total()} have the same shape"
        )
    if problem:
        raise FaceAlignError(
            f"{path} holds the weights of another architecture ({problem}); build the model that "
            "they were saved from"
        )


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    import h5py

    if str(path).endswith(".keras") and os.path.exists(path):
        # Opened here, because a pipe would block Keras.
        with open_regular(path) as stream, parsing(path), zipfile.ZipFile(stream) as archive:
            size = archive.getinfo(_IN_ARCHIVE).file_size
            check_memory(path, size, os.path.getsize(path), "its weights")
            content = archive.read(_IN_ARCHIVE)
    elif str(path).endswith(".weights.h5") and os.path.exists(path):
        content = read_file(path, MAX_FILE_BYTES)
    else:
        yield None
        return
    check_hdf5(content, str(path))
    with h5py.File(io.BytesIO(content), "r") as file:
        yield file


def _shapes(file: Any) -> Counter[tuple[int, ...]]:
    """Counts the shapes of the network's arrays."""
    import h5py

    found: Counter[tuple[int, ...]] = Counter()

    def count(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name.partition("/")[0] not in _STATE:
            found[item.shape] += 1

    file.visititems(count)
    return found
