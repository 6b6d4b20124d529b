"""Moves weights between networks and arrays of MXNet.

A network of this library needs no table of names: the path of a weight, with its slashes read as
underscores, is the name that the original code gave the array.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.converters.mxnet.detection import canonical_arrays, listed
from keras_facealign.converters.mxnet.params_file import read_params
from keras_facealign.errors import FaceAlignError

__all__ = ["fill", "load_weights", "to_mxnet_layout", "variables_by_name"]

# Last part of a weight's path: where MXNet stores the array, and the ending of its name.
_KINDS = {
    "kernel": ("arg", "weight"),
    "bias": ("arg", "bias"),
    "gamma": ("arg", "gamma"),
    "beta": ("arg", "beta"),
    "moving_mean": ("aux", "moving_mean"),
    "moving_variance": ("aux", "moving_var"),
}


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
    arrays, _ = canonical_arrays(path, read_params(path))
    fill(model, arrays, path)


def fill(model: Any, arrays: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Does the work of `load_weights` with the arrays, by canonical name, of the file `path`."""
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
        values[name] = _to_keras_layout(arrays[name], tuple(variable.shape))
        if values[name] is None:
            raise FaceAlignError(
                f"{path}: {name!r} has shape {arrays[name].shape}, which does not fit the model's "
                f"{tuple(variable.shape)} (Keras layout); {advice}."
            )
    for name, variable in variables.items():
        variable.assign(values[name])


def variables_by_name(model: Any) -> dict[str, keras.Variable]:
    """The model's weights by the MXNet names that their paths stand for.

    Raises:
        FaceAlignError: If two weights stand for one name.
    """
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
    depth-wise ones (channels, 1, h, w) do not. The shapes tell which is meant. Dense layers are
    (out, in) there and (in, out) here.
    """
    if array.ndim == 4:
        plain = array.transpose(2, 3, 1, 0)
        array = plain if plain.shape == shape else array.transpose(2, 3, 0, 1)
    elif array.ndim == 2:
        array = array.T
    return array if array.shape == shape else None


def to_mxnet_layout(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array as MXNet lays it out, or None if it cannot have the wanted shape."""
    if array.ndim == 4:
        plain = array.transpose(3, 2, 0, 1)
        array = plain if plain.shape == shape else array.transpose(2, 3, 0, 1)
    elif array.ndim == 2:
        array = array.T
    return array if array.shape == shape else None
