"""Losses on heatmaps: prediction against ground truth, and prediction against prediction.

Equation 1 of Stacked Dense U-Nets: the two views of a face give L(p-g1) + L(p-g2) + lambda L(p-p).
L(p-g) compares a view's heatmaps with those drawn from the ground truth; L(p-p), the coherent loss,
compares the heatmaps of the transformed view with the transformed heatmaps of the first view.

The paper's terms are the sigmoid cross-entropy and the mean squared error. The original MXNet code
has others, and they are here under names of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.warp import inside_mask, warp_affine

__all__ = [
    "COHERENT_ERRORS",
    "HEATMAP_LOSSES",
    "HEATMAP_REDUCTIONS",
    "coherent_loss",
    "get_heatmap_loss",
    "heatmap_mean",
    "mean_squared_error",
    "sigmoid_crossentropy",
    "smooth_l1",
    "spatial_softmax_crossentropy",
    "sum_of_image_means",
    "transform_heatmaps",
]

Elementwise = Callable[[Any, Any], Any]


def sigmoid_crossentropy(targets: Any, logits: Any) -> Any:
    """Cross-entropy of a probability a pixel; element by element, shapes and dtypes as given."""
    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def mean_squared_error(targets: Any, logits: Any) -> Any:
    """Squared difference, element by element."""
    return ops.square(logits - targets)


def smooth_l1(targets: Any, logits: Any) -> Any:
    """Half the squared difference up to 1, beyond it the distance less a half; by element."""
    distance = ops.abs(logits - targets)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)


def spatial_softmax_crossentropy(targets: Any, logits: Any) -> Any:
    """Cross-entropy of where a landmark is: one probability a pixel, summing to 1 over each map.

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
    # The highest value only shifts the exponents; the gradient need not pass through it.
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
    """Looks an element-wise heatmap loss up by name; a callable passes through.

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
    """Mean over the elements that a mask keeps.

    Args:
        values: float (B, H, W, K).
        mask: float, broadcastable to `values` without (B, 1, 1, K) or (B, H, W, K) ambiguity: every
            axis is either 1 or the full size.

    Returns:
        Scalar; 0 if the mask keeps nothing.
    """
    total = ops.sum(values * mask)
    count = ops.sum(ops.broadcast_to(mask, ops.shape(values)))
    return total / ops.maximum(count, 1.0)


def sum_of_image_means(values: Any, mask: Any) -> Any:
    """Like `heatmap_mean` of every image by itself, added up over the batch.

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
    """T . H: moves heatmaps as the picture moves, and renames the landmarks that a flip exchanges.

    Args:
        heatmaps: float (B, H, W, K).
        matrix: float (B, 2, 3) in map pixels, the mirroring included.
        flip: float (B,), 1 where the matrix mirrors, else 0.
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
) -> Any:
    """Mean error between H(T . I) and T . H(I), where T stays inside the first view.

    Args:
        first: float (B, H, W, K), heatmaps of the first view, H(I).
        second: float (B, H, W, K), heatmaps of the transformed view, H(T . I).
        matrix: float (B, 2, 3), T in map pixels, first view to second, mirroring included.
        flip: float (B,), 1 where T mirrors, else 0.
        flip_permutation: int (K,).
        visible: float (B, K), 1 for the landmarks of the second view that count. Default: all.
        error: A key of `COHERENT_ERRORS`.
        whole: Compares every pixel of every map, as the original code does: T . H(I) is 0 where T
            looks beyond the first view, and `visible` does not matter.

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
        return ops.mean(errors)
    size = (int(first.shape[1]), int(first.shape[2]))
    mask = inside_mask(matrix, size, size)
    if visible is not None:
        mask = mask * visible[:, None, None, :]
    return heatmap_mean(errors, mask)
