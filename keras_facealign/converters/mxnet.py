"""MXNet `.params` files: reading them without MXNet, and filling networks with them.

A file holds a list of arrays and then the list of their names, all little endian. It may come from
anywhere, so nothing in it is believed before it is checked against the file's own size.

A network of this library needs no table of names: the path of a weight, with its slashes read as
underscores, is the name that the original code gave the array.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["load_weights", "read_params"]

_LIST_MAGIC = 0x112
_ARRAY_MAGIC = 0xF993FAC9
_DENSE = 0
_MAX_DIMENSIONS = 8
# Bytes of one element by MXNet's type code; only code 0, float32, is accepted in the end.
_ITEM_SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8}

# Last part of a weight's path: where MXNet stores the array, and the ending of its name.
_KINDS = {
    "kernel": ("arg", "weight"),
    "bias": ("arg", "bias"),
    "gamma": ("arg", "gamma"),
    "beta": ("arg", "beta"),
    "moving_mean": ("aux", "moving_mean"),
    "moving_variance": ("aux", "moving_var"),
}
# The scale aggregation grid was called `dla`, then `sta`, then `sat` in the original code.
_GRID_PREFIX = re.compile(r"^(arg|aux):(?:sat|sta|dla)(?=\d+_)")


class _Reader:
    """Takes values off the front of a byte string that may end too early."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = memoryview(path.read_bytes())
        except OSError as error:
            raise FaceAlignError(f"{path} cannot be read: {error.strerror or error}.") from error
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

    The file is treated as untrusted: it is parsed, never unpickled, and no size in it is acted on
    before the file is known to be that large.

    Args:
        path: The file, as `mxnet.model.save_checkpoint` writes it.

    Returns:
        float32 arrays by MXNet name, `arg:...` or `aux:...`, in the file's order and in MXNet's
        layouts. They are read-only views of one buffer.

    Raises:
        FaceAlignError: If the file cannot be read, is truncated or has bytes left over, or an array
            is not dense float32, has a bad shape or values that are not finite, or two arrays have
            the same name.

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
    # Names follow the arrays, so a malformed array can only be told by its number.
    found = [_read_array(reader, f"array {i + 1} of {count}") for i in range(count)]
    names = _read_names(reader, len(found))
    left = len(reader.data) - reader.position
    if left:
        raise reader.fail(f"{left} bytes follow the end of the list")
    arrays: dict[str, np.ndarray] = {}
    for name, (code, shape, data) in zip(names, found, strict=True):
        if name in arrays:
            raise reader.fail(f"array {name!r} occurs twice")
        if code != 0:
            raise reader.fail(f"array {name!r} has type code {code} instead of 0, float32")
        arrays[name] = np.frombuffer(data, "<f4").reshape(shape)
        if not np.isfinite(arrays[name]).all():
            raise reader.fail(f"array {name!r} has values that are not finite")
    return arrays


def _read_array(reader: _Reader, what: str) -> tuple[int, tuple[int, ...], memoryview]:
    """Type code, shape and bytes of the array at the reader's position."""
    magic, storage, dimensions = reader.numbers("IiI", what)
    if magic != _ARRAY_MAGIC:
        raise reader.fail(f"{what} begins with {magic:#x} instead of {_ARRAY_MAGIC:#x}")
    if storage != _DENSE:
        raise reader.fail(f"{what} has storage type {storage} instead of {_DENSE}, dense")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise reader.fail(f"{what} has {dimensions} dimensions instead of 1 to {_MAX_DIMENSIONS}")
    shape = reader.numbers(f"{dimensions}q", what)
    if min(shape) < 1:
        raise reader.fail(f"{what} has shape {shape}, whose sides are not all positive")
    _, _, code = reader.numbers("iii", what)  # the device it was on does not matter
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


def load_weights(model: Any, path: str | Path) -> None:
    """Fills a network with the weights of an MXNet checkpoint.

    Every weight of the model gets one array and every array goes to one weight; if that cannot be,
    the model is left as it was.

    Args:
        model: A built `keras.Model` made of this library's layers, such as a `FaceAlignModel` whose
            architecture is the checkpoint's.
        path: The `.params` file.

    Raises:
        FaceAlignError: If the file is bad (see `read_params`), lacks an array that the model needs,
            has one that the model does not, or one of another shape.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> load_weights(SATFaceAlign(stacks=2), "sat2-0000.params")  # doctest: +SKIP
    """
    arrays: dict[str, np.ndarray] = {}
    for name, array in read_params(path).items():
        canonical = _GRID_PREFIX.sub(r"\1:sat", name)
        if canonical in arrays:
            raise FaceAlignError(f"{path}: {name!r} and another array are both {canonical!r}.")
        arrays[canonical] = array
    variables = _variables_by_name(model)
    advice = "build the model with the checkpoint's architecture"
    missing = [name for name in variables if name not in arrays]
    if missing:
        raise FaceAlignError(f"{path} lacks {_listed(missing)}, which the model needs; {advice}.")
    unknown = [name for name in arrays if name not in variables]
    if unknown:
        raise FaceAlignError(f"{path} has {_listed(unknown)}, unknown to the model; {advice}.")
    values = {}
    for name, variable in variables.items():
        values[name] = _to_keras_layout(arrays[name], tuple(variable.shape))
        if values[name] is None:
            raise FaceAlignError(
                f"{path}: {name!r} has shape {arrays[name].shape}, which does not fit the model's "
                f"{tuple(variable.shape)} (Keras layout); {advice}."
            )
    for name, variable in variables.items():
        variable.assign(values[name])


def _variables_by_name(model: Any) -> dict[str, Any]:
    """The model's weights by the names that their paths stand for."""
    prefix = f"{model.name}/"
    paths = [variable.path for variable in model.weights]
    # A layer may bear the model's name; the model's own is in front of all paths or of none.
    if all(path.startswith(prefix) for path in paths):
        paths = [path[len(prefix) :] for path in paths]
    variables: dict[str, Any] = {}
    for path, variable in zip(paths, model.weights, strict=True):
        name = _mxnet_name(path)
        if name in variables:
            raise FaceAlignError(
                f"Two weights of the model stand for {name!r}, one of them {path!r}; give its "
                "layers names that differ when slashes are read as underscores."
            )
        variables[name] = variable
    return variables


def _mxnet_name(path: str) -> str:
    """For example `arg:stack0_ll_conv_weight` for `stack0_ll/conv/kernel`."""
    *layers, kind = path.split("/")
    place, ending = _KINDS.get(kind, ("arg", kind))
    return f"{place}:{'_'.join([*layers, ending])}"


def _to_keras_layout(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array as Keras lays it out, or None if it cannot have the wanted shape.

    Convolutions (out, in, h, w) and transposed ones (in, out, h, w) both reverse their channels;
    depth-wise ones (channels, 1, h, w) do not. The shapes tell which is meant.
    """
    if array.ndim == 4:
        plain = array.transpose(2, 3, 1, 0)
        array = plain if plain.shape == shape else array.transpose(2, 3, 0, 1)
    return array if array.shape == shape else None


def _listed(names: Sequence[str], limit: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more
