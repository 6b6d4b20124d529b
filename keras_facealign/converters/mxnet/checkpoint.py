"""Converts checkpoints of the original code to models and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.converters.mxnet.architecture_of import (
    GRID_PREFIXES,
    canonical_arrays,
    listed,
    recognize,
    with_prefix,
)
from keras_facealign.converters.mxnet.files import symbol_has_gate
from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.converters.mxnet.params_file import read_params, write_params
from keras_facealign.converters.mxnet.weights import (
    assign_arrays,
    to_mxnet_layout,
    variables_by_name,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import scheme_of_size
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture

# The name of the grids in each released code base.
_PREFIXES = {"dfa": "sat", "insightface": "sta", "insightface_2018": "dla"}


def load_mxnet(
    path: str | Path, gate: bool | None = None, scheme: str | None = None
) -> FaceAlignModel:
    """Builds the network of an MXNet checkpoint and loads its weights.

    The architecture is recognized from the names and shapes of the arrays: topology, stacks, depth,
    block, width, landmarks, size of the input, deformable convolutions and their variant, and
    spatial transformer. Properties that leave no trace in them are decided as follows.

    * The gate of some grids (`net_sat` 2) has no parameters: see `gate`.
    * The heatmaps are taken to be 64 pixels wide, unless a spatial transformer shows their width.
    * Where variants do not differ, as with one stack and no deformable convolutions, the simplest
      is taken.

    Args:
        path: The file, `PREFIX-0000.params`.
        gate: Whether the network has the gate. None reads it from `PREFIX-symbol.json` in the same
            folder; without that file there is none.
        scheme: Name of the landmark scheme. None uses the scheme with as many points as the
            network, or unnamed points ("points10") if there is none.

    Returns:
        The model, ready for prediction.

    Raises:
        FaceAlignError: If the file is invalid (see `read_params`) or its arrays are not exactly
            those of a network of the original code; the message names the array.

    Example:
        >>> model = load_mxnet("model-0000.params")  # doctest: +SKIP
        >>> model.architecture.topology  # doctest: +SKIP
        'sat'
    """
    arch, arrays = read_checkpoint(path, gate)
    known = scheme_of_size(arch.num_landmarks)
    default = f"points{arch.num_landmarks}" if known is None else known.name
    model = FaceAlignModel(arch, scheme or default)
    assign_arrays(model, arrays, path)
    return model


def read_checkpoint(
    path: str | Path, gate: bool | None = None
) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Reads and checks a checkpoint like `load_mxnet`, without building the network.

    Returns:
        The architecture, and all arrays by canonical name (with grids named `sat{i}`).
    """
    arrays, prefix = canonical_arrays(path, read_params(path))
    arch = recognize(path, {name: array.shape for name, array in arrays.items()}, prefix)
    if gate is None and can_have_gate(arch):
        gate = symbol_has_gate(Path(path))
    return (replace(arch, gate=True) if gate else arch), arrays


def can_have_gate(arch: Architecture) -> bool:
    """Returns whether networks of this kind can have the gate, which has no arrays."""
    return arch.topology == "sat" and arch.depth >= 3


def save_mxnet(model: FaceAlignModel, path: str | Path, grid_prefix: str | None = None) -> Path:
    """Writes a model as an MXNet checkpoint in the layout of the original code.

    Names, shapes and order of the arrays are MXNet's. Loading a file that was written on a CPU and
    saving it again gives the same bytes.

    Args:
        model: A model with the original stem.
        path: The file, `PREFIX-0000.params`; an existing file is replaced.
        grid_prefix: Name of the grids: "sat", "sta" or "dla". None uses the name in the code base
            of the architecture's variant.

    Returns:
        The path.

    Raises:
        FaceAlignError: If the original code has no such network, a weight is not finite, or the
            file cannot be written.

    Example:
        >>> save_mxnet(model, "model-0000.params")  # doctest: +SKIP
    """
    arch = getattr(model, "architecture", None)
    if not isinstance(arch, Architecture):
        raise FaceAlignError(
            f"save_mxnet got a {type(model).__name__}; give a FaceAlignModel, whose architecture "
            "determines the arrays of a checkpoint."
        )
    if arch.stem != "full":
        raise FaceAlignError(
            f"{path}: a model with stem={arch.stem!r} has no counterpart in MXNet; only the "
            'original stem, "full", does.'
        )
    if grid_prefix is None:
        grid_prefix = _PREFIXES[str(arch.variant)]
    if grid_prefix not in GRID_PREFIXES:
        raise FaceAlignError(
            f"Unknown grid_prefix {grid_prefix!r}; choose one of: {', '.join(GRID_PREFIXES)}."
        )
    return write_params(path, _arrays_of(model, arch, grid_prefix))


def _arrays_of(model: Any, arch: Architecture, grid_prefix: str) -> dict[str, np.ndarray]:
    """Returns the model's weights as MXNet arrays, in MXNet's order."""
    variables = variables_by_name(model)
    arrays = {}
    for name, shape in expected_arrays(arch):
        value = None
        if name in variables:
            # NumPy has no bfloat16.
            exact = keras.ops.cast(variables.pop(name).value, "float32")
            value = to_mxnet_layout(keras.ops.convert_to_numpy(exact), shape)
        if value is None:
            raise FaceAlignError(
                f"The model has no weight for {name!r} of shape {shape}; give a model as its "
                "architecture builds it."
            )
        arrays[with_prefix(name, grid_prefix)] = value
    if variables:
        raise FaceAlignError(
            f"The model has weights that a checkpoint lacks, {listed(list(variables))}; give a "
            "model as its architecture builds it."
        )
    return arrays
