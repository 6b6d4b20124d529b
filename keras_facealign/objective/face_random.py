"""Random numbers for the faces of a batch, which do not depend on how many devices share it.

A replica that has a part of a batch draws the numbers of the whole batch, and takes those of its
own faces: a face gets the numbers that its place in the whole batch has at this step. The
generators' states then advance equally on all replicas, and as they would on one.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.ops.replicas import replica_count, replica_index


def uniform_per_face(count: Any, shape: tuple[int, ...], low: float, high: float, seed: Any) -> Any:
    """Draws uniform numbers.

    Args:
        count: Faces of the batch (B), or of this replica's part of it: int or scalar tensor.
        shape: Numbers for each of them.
        low: Smallest number.
        high: Bound of the largest.
        seed: A `keras.random.SeedGenerator`.

    Returns:
        float32 (B, *shape).

    Example:
        >>> uniform_per_face(4, (2,), 0.0, 1.0, keras.random.SeedGenerator(0)).shape
        (4, 2)
    """
    shape = (_total(count), *shape)
    return _own(keras.random.uniform(shape, low, high, dtype="float32", seed=seed), count)


def normal_per_face(count: Any, shape: tuple[int, ...], seed: Any) -> Any:
    """Draws standard normal numbers, float32 (B, *shape); arguments as of `uniform_per_face`."""
    return _own(keras.random.normal((_total(count), *shape), dtype="float32", seed=seed), count)


def _total(count: Any) -> Any:
    """Number of faces of the whole batch."""
    replicas = replica_count()
    return count if replicas == 1 else count * replicas


def _own(values: Any, count: Any) -> Any:
    """This replica's rows of those for the whole batch."""
    if replica_count() == 1:
        return values
    first = replica_index() * count
    return values[first : first + count]
