"""Runs a network over any number of crops: checks, batches, padding and the flip test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_facealign.errors import check_batch_size
from keras_facealign.landmarks import LandmarkScheme
from keras_facealign.prediction.flip_test import average_flipped, check_flip_pairs
from keras_facealign.prediction.outputs import LandmarkOutputs, check_crops

# From the number of images left to the number for the next call, and the size that the batch is
# padded to.
BatchPlan = Callable[[int], tuple[int, int]]


def any_size(batch_size: int) -> BatchPlan:
    """Batches of `batch_size` images and a smaller one at the end, for networks that take any."""
    check_batch_size(batch_size)
    return lambda left: (min(left, batch_size), max(1, min(left, batch_size)))


def power_of_two(batch_size: int) -> BatchPlan:
    """As `any_size`, padded to powers of two: XLA compiles once for every size that it meets."""
    check_batch_size(batch_size)

    def plan(left: int) -> tuple[int, int]:
        count = min(left, batch_size)
        return count, 1 << (max(count, 1) - 1).bit_length()

    return plan


def fixed_size(size: int) -> BatchPlan:
    """Batches of exactly `size` images, the last one padded."""
    return lambda left: (min(left, size), size)


def one_or_many(many: int) -> BatchPlan:
    """Batches of `many` images while there are so many, then single ones: two sizes in all."""
    return lambda left: (many, many) if left >= many else (min(left, 1), 1)


def predict_outputs(
    run: Callable[[np.ndarray], Mapping[str, Any]],
    images: Any,
    plan: BatchPlan,
    *,
    input_size: int,
    flip_test: bool = False,
    scheme: LandmarkScheme | None = None,
    landmark_offset: Sequence[float] = (0.0, 0.0),
) -> LandmarkOutputs:
    """Predicts the landmarks of crops, batch by batch.

    Args:
        run: The network: from a batch of images as they are given here, (N, S, S, 3), to arrays
            (N, ...) by the names of `LandmarkOutputs`.
        images: (B, S, S, 3), RGB 0 to 255, uint8 or float, S = `input_size`.
        plan: The sizes of the batches, such as `any_size(32)`.
        input_size: Side of the network's input in pixels.
        flip_test: Whether to average the predictions for every image and its mirror image.
        scheme: The landmark scheme, which the flip test needs.
        landmark_offset: The offset that `run` has added to all landmarks, (dx, dy) in pixels.

    Returns:
        float32 arrays (B, ...) by name. For no images they are empty.

    Raises:
        FaceAlignError: If the images have another shape or range, or the flip test is asked for
            and the scheme does not define flip pairs.

    Example:
        >>> run = lambda batch: {"landmarks": np.zeros((len(batch), 5, 2), np.float32)}
        >>> crops = np.zeros((3, 8, 8, 3), np.uint8)
        >>> predict_outputs(run, crops, any_size(2), input_size=8)["landmarks"].shape
        (3, 5, 2)
    """
    images = np.asarray(images)
    check_crops(images, input_size)
    if flip_test:
        order = check_flip_pairs(scheme).flip_permutation
        # Both images of a face share a batch.
        both = np.stack([images, images[:, :, ::-1]], axis=1).reshape(-1, *images.shape[1:])
        outputs = run_batches(run, both, plan)
        return average_flipped(outputs, order, input_size, landmark_offset)
    return run_batches(run, images, plan)


def run_batches(
    run: Callable[[np.ndarray], Mapping[str, Any]], images: np.ndarray, plan: BatchPlan
) -> dict[str, np.ndarray]:
    """Runs a network over images batch by batch.

    Args:
        run: From a batch (N, ...) to arrays (N, ...) by name.
        images: (B, ...).
        plan: The sizes of the batches.

    Returns:
        float32 arrays (B, ...) by name.
    """
    parts, start = [], 0
    # A batch of padding alone still tells the names and shapes of the outputs.
    while start < len(images) or not parts:
        count, size = plan(len(images) - start)
        batch = images[start : start + count]
        if size > count:
            padding = np.zeros((size - count, *images.shape[1:]), images.dtype)
            batch = np.concatenate([batch, padding])
        outputs = run(batch)
        parts.append({name: np.asarray(v, np.float32)[:count] for name, v in outputs.items()})
        start += count
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
