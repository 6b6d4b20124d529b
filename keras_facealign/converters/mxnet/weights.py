"""Copies weights between networks and MXNet arrays.

No table of names is needed: the path of a weight, with underscores for slashes, is the name of the
array in the original code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign._deprecated import deprecated_names
from keras_facealign.converters.mxnet.architecture_of import canonical_arrays, listed
from keras_facealign.converters.mxnet.params_file import read_params
from keras_facealign.errors import FaceAlignError

# By the last part of a weight's path: the MXNet array's prefix and the last part of its name.
_KINDS = {
    "kernel": ("arg", "weight"),
    "bias": ("arg", "bias"),
    "gamma": ("arg", "gamma"),
    "beta": ("arg", "beta"),
    "moving_mean": ("aux", "moving_mean"),
    "moving_variance": ("aux", "moving_var"),
}


def load_mxnet_weights(model: Any, path: str | Path) -> None:
    """Loads the weights of an MXNet checkpoint into a network.

    Weights and arrays must correspond one to one, otherwise the model is left unchanged.

    Args:
        model: A built `keras.Model` made of this library's layers, such as a `FaceAlignModel` with
            the checkpoint's architecture.
        path: The `.params` file.

    Raises:
        FaceAlignError: If the file is invalid (see `read_params`), lacks an array that the model
            needs, or has an unknown array or one of another shape.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> load_mxnet_weights(SATFaceAlign(stacks=2), "sat2-0000.params")  # doctest: +SKIP
    """
    arrays, _ = canonical_arrays(path, read_params(path))
    assign_arrays(model, arrays, path)


def assign_arrays(model: Any, arrays: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Assigns the arrays of the file `path`, by canonical name, to the weights of a network."""
    variables = variables_by_name(model)
    advice = "build the model with the checkpoint's architecture"
    missing = [name for name in variables if name not in arrays]
    if missing:
        raise FaceAlignError(f"{path} lacks {listed(missing)}, which the model needs; {advice}.")
    unknown = [name for name in arrays if name not in variables]
    if unknown:
        raise FaceAlignError(f"{path} has {listed(unknown)}, unknown to the model; {advice}.")
    values = {}
    for name, variable in variables.items():
        values[name] = to_keras_layout(arrays[name], tuple(variable.shape))
        if values[name] is None:
            raise FaceAlignError(
                f"{path}: {name!r} has shape {arrays[name].shape}, which does not fit the model's "
                f"{tuple(variable.shape)} (Keras layout); {advice}."
            )
    for name, variable in variables.items():
        variable.assign(values[name])


def variables_by_name(model: Any) -> dict[str, keras.Variable]:
    """Returns the model's weights by MXNet name.

    Raises:
        FaceAlignError: If two weights have the same MXNet name.
    """
    prefix = f"{model.name}/"
    paths = [variable.path for variable in model.weights]
    # A layer may have the model's name; the model's own name precedes all paths or none.
    if all(path.startswith(prefix) for path in paths):
        paths = [path[len(prefix) :] for path in paths]
    variables: dict[str, Any] = {}
    for path, variable in zip(paths, model.weights, strict=True):
        name = _mxnet_name(path)
        if name in variables:
            raise FaceAlignError(
                f"Two weights of the model are called {name!r} in MXNet, one of them {path!r}; "
                "give its layers names that differ when underscores replace slashes."
            )
        variables[name] = variable
    return variables


def _mxnet_name(path: str) -> str:
    """Returns for example `arg:stack0_ll_conv_weight` for `stack0_ll/conv/kernel`."""
    *layers, kind = path.split("/")
    place, ending = _KINDS.get(kind, ("arg", kind))
    return f"{place}:{'_'.join([*layers, ending])}"


def to_keras_layout(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Converts an array to Keras's layout; returns None if it cannot have the shape.

    Convolutions (out, in, h, w) and transposed ones (in, out, h, w) both reverse their channels;
    depthwise ones (channels, 1, h, w) do not. The shape tells them apart. Dense layers are
    (out, in) in MXNet and (in, out) in Keras.
    """
    return _transposed_to(shape, array, (2, 3, 1, 0), (2, 3, 0, 1))


def to_mxnet_layout(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Converts an array to MXNet's layout; returns None if it cannot have the shape."""
    return _transposed_to(shape, array, (3, 2, 0, 1), (2, 3, 0, 1))


def _transposed_to(
    shape: tuple[int, ...], array: np.ndarray, *orders: tuple[int, ...]
) -> np.ndarray | None:
    """The array with its axes in the first of some orders that gives the shape, or None."""
    if array.ndim != 4:
        orders = (tuple(reversed(range(array.ndim))),)
    candidates = (array.transpose(order) for order in orders)
    return next((candidate for candidate in candidates if candidate.shape == shape), None)


__getattr__ = deprecated_names(__name__)
