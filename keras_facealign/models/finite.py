"""Checks that weights are finite numbers, before they are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError


def first_not_finite(tensors: Iterable[Any]) -> int | None:
    """Returns the index of the first tensor that has a NaN or infinite element, None without one.

    Args:
        tensors: Tensors or arrays; those of integers are finite.

    Example:
        >>> first_not_finite([np.ones(3, "float32"), np.array([1.0, np.nan], "float32")])
        1
    """
    for index, tensor in enumerate(tensors):
        if keras.backend.standardize_dtype(tensor.dtype).startswith(("float", "bfloat")):
            finite = keras.ops.all(keras.ops.isfinite(keras.ops.stop_gradient(tensor)))
            if not keras.ops.convert_to_numpy(finite):
                return index
    return None


def check_finite_state(model: keras.Model) -> None:
    """Raises `FaceAlignError` if a weight of a model or its optimizer is NaN or infinite."""
    variables = list(model.weights)
    optimizer: Any = getattr(model, "optimizer", None)
    variables += getattr(optimizer, "variables", [])
    index = first_not_finite(variable.value for variable in variables)
    if index is not None:
        raise FaceAlignError(
            f"{variables[index].path} has values that are not finite, so the model is not saved; "
            "go back to an earlier checkpoint, or train again with a lower learning rate."
        )
