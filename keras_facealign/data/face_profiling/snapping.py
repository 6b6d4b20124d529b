"""Bending a fitted head by what its model cannot say, so that it meets the landmarks given."""

from __future__ import annotations

import numpy as np

from keras_facealign.data.face_profiling.camera import Camera
from keras_facealign.data.face_profiling.fitting import HeadFit
from keras_facealign.data.face_profiling.model import MorphableModel
from keras_facealign.data.face_profiling.silhouette import JAW

__all__ = ["snapped_vertices"]

# Lengths in units of the outer eye corners' distance on the mean head.
_REACH = 0.28
_FARTHEST = 0.12
# Variance of a landmark's place against that of the bend.
_DOUBT = 0.02


def snapped_vertices(model: MorphableModel, fit: HeadFit) -> np.ndarray:
    """The fitted head, bent in the picture's plane towards the landmarks it was fitted to.

    What is left between landmarks and model after a fit is mostly habit of annotators and detail of
    a face. It is spread over the skin around each landmark by Gaussian regression, so that the
    picture, the head and its landmarks move together when the head is turned. Depth stays. A
    landmark that is far off pulls no farther than an eighth of the eyes' distance.

    Args:
        model: The head.
        fit: Its fit.

    Returns:
        float64 (V, 3), the head in the model's units.
    """
    vertices = model.vertices(fit.coefficients)
    marks = model.neutral[model.landmarks].astype(np.float64)
    unit = float(np.linalg.norm(marks[36] - marks[45]))
    anchors = vertices[model.landmarks]
    anchors[:JAW] = fit.outline
    pull = _in_head(fit.residuals, fit.camera)
    length = np.linalg.norm(pull, axis=1, keepdims=True)
    pull = pull * np.minimum(1.0, _FARTHEST * unit / np.maximum(length, 1e-9))
    reach = _REACH * unit
    spread = _kernel(anchors, anchors, reach) + _DOUBT * np.eye(len(anchors))
    # Landmarks without a position pull nowhere, and hold nothing in place either.
    known = length[:, 0] > 0
    strength = np.zeros_like(pull)
    if known.any():
        strength[known] = np.linalg.solve(spread[np.ix_(known, known)], pull[known])
    return vertices + _kernel(vertices, anchors, reach) @ strength


def _in_head(residuals: np.ndarray, camera: Camera) -> np.ndarray:
    """(68, 3): distances in the picture as moves in the head's coordinates that keep the depth."""
    start = np.zeros((len(residuals), 3))
    moved = np.column_stack([residuals, np.zeros(len(residuals))])
    return camera.lift(moved) - camera.lift(start)


def _kernel(a: np.ndarray, b: np.ndarray, reach: float) -> np.ndarray:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.exp(-0.5 * np.maximum(square, 0.0) / reach**2)
