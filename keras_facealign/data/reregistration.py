"""Corrects labels that are shifted or scaled as a whole, by a trained model's predictions.

Some copies of a data set were cropped and scaled after labeling, which shifts and scales each
face's labels by 1 or 2 %. The errors of a model trained on other data average out over 68 points:
the scale and shift that map an image's labels to the prediction best estimate the fault, and the
shape of the labels is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from keras_facealign import geometry
from keras_facealign._deprecated import renamed_arguments
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.labeled_crops import predict_faces

# Labels are a few percent too large or small; other scales result from wrong predictions.
_SCALES = (0.9, 1.1)


def fit_scale_and_shift(
    source: np.ndarray, target: np.ndarray, iterations: int = 10
) -> tuple[float, np.ndarray, float]:
    """Fits scale and shift from points to others, robustly.

    Least squares, reweighted by the inverse of each point's residual, which minimizes the sum of
    distances instead of squares.

    Args:
        source: float (K, 2), pixels.
        target: float (K, 2), pixels.
        iterations: Rounds of reweighting.

    Returns:
        Scale, shift (2,) and the mean residual distance in pixels: target = scale * source + shift.

    Example:
        >>> points = np.array([[0.0, 0], [4, 0], [0, 4]])
        >>> scale, shift, residual = fit_scale_and_shift(points, 2 * points + 1)
        >>> round(scale, 6), shift.round(6).tolist()
        (2.0, [1.0, 1.0])
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    weights = np.ones(len(source))
    for _ in range(iterations):
        w = weights[:, None] / weights.sum()
        source_mean, target_mean = (w * source).sum(0), (w * target).sum(0)
        centered = source - source_mean
        scale = float((w * centered * (target - target_mean)).sum() / (w * centered**2).sum())
        shift = target_mean - scale * source_mean
        distance = np.linalg.norm(scale * source + shift - target, axis=1)
        weights = 1.0 / np.maximum(distance, 1e-3)
    return scale, shift, float(distance.mean())


@renamed_arguments(seen="predicted")
def register_labels(
    labels: np.ndarray, predicted: np.ndarray, max_residual: float
) -> tuple[float, np.ndarray] | None:
    """Fits scale and shift from labels to a model's landmarks, if these explain the difference.

    Args:
        labels: float (K, 2), pixels.
        predicted: float (K, 2), the model's landmarks in the same pixels.
        max_residual: Largest mean distance left after the fit, in pixels.

    Returns:
        Scale and shift (2,) of `fit_scale_and_shift`; None if labels and landmarks differ in more
        than position and size.

    Example:
        >>> points = np.array([[0.0, 0], [40, 0], [0, 40]])
        >>> register_labels(points, points[::-1], max_residual=1.0) is None
        True
    """
    scale, shift, residual = fit_scale_and_shift(labels, predicted)
    if residual > max_residual or not _SCALES[0] < scale < _SCALES[1]:
        return None
    return scale, shift


def reregister(
    examples: Iterable[FaceExample],
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    input_size: int = 128,
    max_residual: float = 0.04,
    batch_size: int = 32,
) -> Iterator[FaceExample]:
    """Shifts and scales each example's labels to match a model's predictions.

    Examples where predictions and labels differ in more than position and size are left out, since
    either may be wrong.

    Args:
        examples: Labeled faces.
        predict: From crops, uint8 (B, S, S, 3), to landmarks in crop pixels, (B, K, 2), and
            confidence; `FaceAlignModel.predict_landmarks` is one.
        input_size: Side S of the crops in pixels.
        max_residual: Largest mean distance left after the fit, in units of the box's longer side.
        batch_size: Faces per prediction.

    Yields:
        The examples that fit, with new landmarks and box.
    """
    for example, matrix, points in predict_faces(examples, predict, input_size, batch_size):
        predicted = geometry.transform_points(geometry.invert(matrix), points)
        labeled = example.visibility > 0
        # The jaw's labels vary along the contour, so the inner points determine the position.
        inner = labeled & (np.arange(len(labeled)) > 16)
        use = inner if inner.sum() >= 20 else labeled
        side = max(example.box[2] - example.box[0], example.box[3] - example.box[1])
        fit = register_labels(example.landmarks[use], predicted[use], max_residual * side)
        if fit is None:
            continue
        scale, shift = fit
        moved = np.where(labeled[:, None], scale * example.landmarks + shift, 0.0)
        moved = moved.astype(np.float32)
        box = geometry.landmarks_box(moved, example.visibility)
        yield replace(example, landmarks=moved, box=box)
