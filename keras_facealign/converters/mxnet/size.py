"""Computes the size of an architecture's checkpoint without writing it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.networks.architecture import Architecture

# Bytes of the list's header with its two counts, and per array, dimension and name.
_LIST_BYTES, _ARRAY_BYTES, _DIMENSION_BYTES, _NAME_BYTES = 32, 24, 8, 8


@dataclass(frozen=True)
class CheckpointSize:
    """Size of a `.params` file of the original code.

    Attributes:
        arguments: Number of learned values.
        statistics: Number of running means and variances.
        file_bytes: Size of the file in bytes, with float32 values.
    """

    arguments: int
    statistics: int
    file_bytes: int


def checkpoint_size(arch: Architecture) -> CheckpointSize:
    """Computes the size of the checkpoint that the original code writes for an architecture.

    Args:
        arch: An architecture with the original stem.

    Returns:
        The sizes.

    Example:
        >>> from keras_facealign.networks import Architecture
        >>> checkpoint_size(Architecture("sat", stacks=2, depth=3)).arguments
        10094728
    """
    counts = {"arg": 0, "aux": 0}
    total = _LIST_BYTES
    for name, shape in expected_arrays(arch):
        counts[name[:3]] += math.prod(shape)
        total += _ARRAY_BYTES + _DIMENSION_BYTES * len(shape) + 4 * math.prod(shape)
        total += _NAME_BYTES + len(name)
    return CheckpointSize(counts["arg"], counts["aux"], total)
