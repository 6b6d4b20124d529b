"""Losses on heatmaps: prediction against ground truth, and prediction against prediction.

Equation 1 of Stacked Dense U-Nets: the two views of a face give L(p-g1) + L(p-g2) + lambda L(p-p).
L(p-g) compares a view's heatmaps with those drawn from the ground truth; L(p-p), the coherent loss,
compares the heatmaps of the transformed view with the transformed heatmaps of the first view.

The paper's terms are the sigmoid cross-entropy and the mean squared error. The original MXNet code
has other terms, which are here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.replicas import all_sum
from keras_facealign.ops.warp import inside_mask, warp_affine

Elementwise = Callable[[Any, Any], Any]


def sigmoid_crossentropy(targets: Any, logits: Any) -> Any:
    """Returns the cross-entropy of one probability per pixel, element by element."""
    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def mean_squared_error(targets: Any, logits: Any) -> Any:
    """Returns the squared difference, element by element."""
    return ops.square(logits - targets)


def smooth_l1(targets: Any, logits: Any) -> Any:
    """Returns half the squared difference up to 1, beyond it the distance minus 0.5, by element."""
    distance = ops.abs(logits - targets)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)


def spatial_softmax_crossentropy(targets: Any, logits: Any) -> Any:
    """Returns the cross-entropy of probabilities that sum to 1 over the pixels of each map.

    Source: `alignment/heatmap` of InsightFace, whose label is a single 1 a map.

    Args:
        targets: float (B, H, W, K).
        logits: float (B, H, W, K).

    Returns:
        float (B, H, W, K), -g log p of every pixel.

    Example:
        >>> even = ops.zeros((1, 2, 2, 1))
        >>> round(float(ops.sum(spatial_softmax_crossentropy(even + 0.25, even))), 4)  # log 4
        1.3863
    """
    logits = ops.convert_to_tensor(logits)
    # Subtracting the maximum only avoids overflow, so it needs no gradient.
    shifted = logits - ops.stop_gradient(ops.max(logits, axis=(1, 2), keepdims=True))
    total = ops.sum(ops.exp(shifted), axis=(1, 2), keepdims=True)
    return ops.multiply(targets, ops.log(total) - shifted)


HEATMAP_LOSSES: dict[str, Elementwise] = {
    "sigmoid_crossentropy": sigmoid_crossentropy,
    "mean_squared_error": mean_squared_error,
    "spatial_softmax_crossentropy": spatial_softmax_crossentropy,
}

COHERENT_ERRORS: dict[str, Elementwise] = {
    "mean_squared_error": mean_squared_error,
    "smooth_l1": smooth_l1,
}


def get_heatmap_loss(identifier: str | Elementwise) -> Elementwise:
    """Returns an element-wise heatmap loss by its name; a callable is returned as it is.

    Args:
        identifier: A key of `HEATMAP_LOSSES`, or a function of (targets, logits), each
            (B, H, W, K), that returns the loss of every element.

    Returns:
        The function.

    Raises:
        FaceAlignError: If the name is unknown.
    """
    if callable(identifier):
        return identifier
    if identifier not in HEATMAP_LOSSES:
        raise FaceAlignError(
            f"Unknown heatmap loss {identifier!r}; choose one of: {', '.join(HEATMAP_LOSSES)}, or "
            "give a function of (targets, logits)."
        )
    return HEATMAP_LOSSES[identifier]


def heatmap_mean(values: Any, mask: Any) -> Any:
    """Returns the mean over the elements that a mask keeps.

    Replicas that share a batch each get their part: the sum of the parts is the mean over the
    elements of the whole batch.

    Args:
        values: float (B, H, W, K).
        mask: float with four axes, each of them 1 or that of `values`.

    Returns:
        Scalar; 0 if the mask keeps nothing.
    """
    total = ops.sum(values * mask)
    count = all_sum(ops.sum(mask) * _repeats(values, mask))
    return total / ops.maximum(count, 1.0)


def _repeats(values: Any, mask: Any) -> Any:
    """Counts the elements of `values` for each element of `mask`; float32 scalar.

    Summing the mask broadcast to full size would be slower.
    """
    repeats = 1.0
    for axis, side in enumerate(mask.shape):
        if side == 1:
            size = values.shape[axis]
            size = ops.shape(values)[axis] if size is None else size
            repeats = repeats * ops.cast(size, "float32")
    return repeats


def sum_of_image_means(values: Any, mask: Any) -> Any:
    """Returns the sum over the batch of every image's `heatmap_mean`.

    Args:
        values: float (B, H, W, K).
        mask: float, as for `heatmap_mean`.

    Returns:
        Scalar. It grows with the batch, as does its gradient.
    """
    axes = (1, 2, 3)
    total = ops.sum(values * mask, axis=axes)
    count = ops.sum(ops.broadcast_to(mask, ops.shape(values)), axis=axes)
    return ops.sum(total / ops.maximum(count, 1.0))


HEATMAP_REDUCTIONS: dict[str, Elementwise] = {
    "mean": heatmap_mean,
    "sum_of_image_means": sum_of_image_means,
}


def transform_heatmaps(heatmaps: Any, matrix: Any, flip: Any, flip_permutation: Any) -> Any:
    """Returns T . H: transforms heatmaps like the image, and swaps landmarks where T flips.

    Args:
        heatmaps: float (B, H, W, K).
        matrix: float (B, 2, 3) in map pixels, flip included.
        flip: float (B,), 1 where the matrix flips, else 0.
        flip_permutation: int (K,), see `LandmarkScheme.flip_permutation`.

    Returns:
        float (B, H, W, K).
    """
    moved = warp_affine(heatmaps, matrix)
    swapped = ops.take(moved, ops.convert_to_tensor(flip_permutation, dtype="int32"), axis=-1)
    return ops.where(ops.reshape(flip, (-1, 1, 1, 1)) > 0.5, swapped, moved)


def coherent_loss(
    first: Any,
    second: Any,
    matrix: Any,
    flip: Any,
    flip_permutation: Any,
    visible: Any = None,
    error: str = "mean_squared_error",
    whole: bool = False,
    present: Any = None,
) -> Any:
    """Returns the mean error between H(T . I) and T . H(I) where T stays inside the first view.

    As from `heatmap_mean`, replicas that share a batch each get their part.

    Args:
        first: float (B, H, W, K), heatmaps of the first view, H(I).
        second: float (B, H, W, K), heatmaps of the transformed view, H(T . I).
        matrix: float (B, 2, 3), T in map pixels, first view to second, flip included.
        flip: float (B,), 1 where T flips, else 0.
        flip_permutation: int (K,).
        visible: float (B, K), 1 for the landmarks of the second view that count. Default: all.
        error: A key of `COHERENT_ERRORS`.
        whole: Compares every pixel of every map, as the original code does: T . H(I) is 0 where T
            reads outside of the first view, and `visible` is ignored.
        present: float (B,), 0 for images that only fill up a batch, else 1. Default: all are 1.

    Returns:
        Scalar. Gradients flow into both views. Exactly 0 for an equivariant network.

    Example:
        >>> maps = ops.ones((1, 8, 8, 2))
        >>> same = [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
        >>> float(coherent_loss(maps, maps, ops.array(same), ops.zeros(1), [1, 0]))
        0.0
    """
    expected = transform_heatmaps(first, matrix, flip, flip_permutation)
    errors = COHERENT_ERRORS[error](expected, second)
    if whole:
        # A mean over the batch, of which each replica has a part.
        ones = ops.ones((ops.shape(first)[0], 1, 1, 1), "float32")
        mask = ones if present is None else ops.reshape(present, (-1, 1, 1, 1))
        return heatmap_mean(errors, mask)
    size = (int(first.shape[1]), int(first.shape[2]))
    mask = inside_mask(matrix, size, size)
    if visible is not None:
        mask = mask * visible[:, None, None, :]
    return heatmap_mean(errors, mask)
