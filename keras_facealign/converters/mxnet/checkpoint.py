"""Whole networks: a checkpoint of the original code in, a model out, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.converters.mxnet.detection import (
    GRID_PREFIXES,
    canonical_arrays,
    listed,
    recognize,
    with_prefix,
)
from keras_facealign.converters.mxnet.files import symbol_has_gate
from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.converters.mxnet.params_file import read_params, write_params
from keras_facealign.converters.mxnet.weights import fill, to_mxnet_layout, variables_by_name
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import scheme_of_size
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture

__all__ = ["can_have_gate", "load_mxnet", "read_checkpoint", "save_mxnet"]

# What each code base called its grids.
_PREFIXES = {"dfa": "sat", "insightface": "sta", "insightface_2018": "dla"}


def load_mxnet(
    path: str | Path, gate: bool | None = None, scheme: str | None = None
) -> FaceAlignModel:
    """Builds the network that an MXNet checkpoint belongs to and gives it the weights.

    The architecture is recognized from the names and shapes of the arrays: topology, stacks, depth,
    block, width, landmarks, size of the input, deformable convolutions and their variant, and
    spatial transformer. What leaves no trace in them is decided as follows.

    * The gate of some grids (`net_sat` 2) has no parameters: see `gate`.
    * The maps are taken to be 64 pixels wide, unless a spatial transformer tells.
    * Networks whose variants are the same, such as all of one stack without deformable
      convolutions, come as the simplest.

    Args:
        path: The file, `PREFIX-0000.params`.
        gate: Whether the network has the gate. None looks at `PREFIX-symbol.json` beside the file,
            and without it means no.
        scheme: Name of the landmark scheme. None takes the one with as many points as the network,
            or nameless points ("points10") if there is none.

    Returns:
        The model, ready for prediction.

    Raises:
        FaceAlignError: If the file is bad (see `read_params`) or is not, array by array, a network
            of the original code; the message names the array.

    Example:
        >>> model = load_mxnet("model-0000.params")  # doctest: +SKIP
        >>> model.architecture.topology  # doctest: +SKIP
        'sat'
    """
    arch, arrays = read_checkpoint(path, gate)
    model = FaceAlignModel(arch, scheme or _scheme_of(arch.num_landmarks))
    fill(model, arrays, path)
    return model


def read_checkpoint(
    path: str | Path, gate: bool | None = None
) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Reads and checks a checkpoint as `load_mxnet` does, without building its network.

    Returns:
        The architecture, and all its arrays by canonical name (grids called `sat{i}`).
    """
    arrays, prefix = canonical_arrays(path, read_params(path))
    arch = recognize(path, {name: array.shape for name, array in arrays.items()}, prefix)
    if gate is None and can_have_gate(arch):
        gate = symbol_has_gate(Path(path))
    return (replace(arch, gate=True) if gate else arch), arrays


def can_have_gate(arch: Architecture) -> bool:
    """Whether the original code has the gate in networks of this kind; the arrays do not tell."""
    return arch.topology == "sat" and arch.depth >= 3


def save_mxnet(model: FaceAlignModel, path: str | Path, grid_prefix: str | None = None) -> Path:
    """Writes a model as an MXNet checkpoint, laid out as the original code lays its own out.

    Names, shapes and order of the arrays are MXNet's. Of a file that `load_mxnet` read, the result
    is the same bytes, if it was written on a CPU.

    Args:
        model: A model with the original stem.
        path: Where to write, `PREFIX-0000.params`; a file that is there is replaced.
        grid_prefix: What grids are called: "sat", "sta" or "dla". None takes the name in the code
            that the architecture's variant stands for.

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
            "says which arrays a checkpoint has."
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
    """The model's weights as MXNet's arrays, in MXNet's order."""
    variables = variables_by_name(model)
    arrays = {}
    for name, shape in expected_arrays(arch):
        value = None
        if name in variables:
            # NumPy has no bfloat16 of its own.
            exact = keras.ops.cast(variables.pop(name).value, "float32")
            value = to_mxnet_layout(keras.ops.convert_to_numpy(exact), shape)
        if value is None:
            raise FaceAlignError(
                f"The model has no weight that can be {name!r} of shape {shape}; save_mxnet takes "
                "models as their architecture builds them."
            )
        arrays[with_prefix(name, grid_prefix)] = value
    if variables:
        raise FaceAlignError(
            f"The model has {listed(list(variables))} besides what a checkpoint holds; save_mxnet "
            "takes models as their architecture builds them."
        )
    return arrays


def _scheme_of(num_landmarks: int) -> str:
    """Name of the scheme with that number of points, or of nameless ones."""
    scheme = scheme_of_size(num_landmarks)
    return f"points{num_landmarks}" if scheme is None else scheme.name
