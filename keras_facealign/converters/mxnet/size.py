"""How large an architecture's checkpoint is, without writing one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.networks.architecture import Architecture

__all__ = ["CheckpointSize", "checkpoint_size"]

# The list's header with its two counts; what the format spends on an array, on each of its
# dimensions, and on its name's length.
_LIST_BYTES, _ARRAY_BYTES, _DIMENSION_BYTES, _NAME_BYTES = 32, 24, 8, 8


@dataclass(frozen=True)
class CheckpointSize:
    """Size of a `.params` file of the original code.

    Attributes:
        arguments: Learned numbers.
        statistics: Running means and variances.
        file_bytes: Size of the file, all numbers float32.
    """

    arguments: int
    statistics: int
    file_bytes: int


def checkpoint_size(arch: Architecture) -> CheckpointSize:
    """Sizes of the checkpoint that the original code writes for an architecture.

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
