"""Deforms a fitted head beyond its model so that it matches the given landmarks."""

from __future__ import annotations

import numpy as np

from keras_facealign.data.face_profiling.camera import Camera
from keras_facealign.data.face_profiling.fitting import HeadFit
from keras_facealign.data.face_profiling.model import MorphableModel
from keras_facealign.data.face_profiling.silhouette import JAW

# Lengths in units of the outer eye corners' distance on the mean head.
_REACH = 0.28
_FARTHEST = 0.12
# Variance of a landmark's position relative to that of the deformation.
_DOUBT = 0.02


def snapped_vertices(model: MorphableModel, fit: HeadFit) -> np.ndarray:
    """Deforms a fitted head in the image plane towards the landmarks it was fitted to.

    Residuals of a fit are mostly annotation bias and details of the face. They are spread over the
    skin around each landmark by Gaussian regression, so that image, head and landmarks move
    together when the head is turned. Depth does not change. The displacement of a landmark is
    limited to an eighth of the eyes' distance.

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
    # Landmarks without a position have no influence.
    known = length[:, 0] > 0
    strength = np.zeros_like(pull)
    if known.any():
        strength[known] = np.linalg.solve(spread[np.ix_(known, known)], pull[known])
    return vertices + _kernel(vertices, anchors, reach) @ strength


def _in_head(residuals: np.ndarray, camera: Camera) -> np.ndarray:
    """(68, 3): residuals in pixels as displacements of the head with constant depth."""
    start = np.zeros((len(residuals), 3))
    moved = np.column_stack([residuals, np.zeros(len(residuals))])
    return camera.lift(moved) - camera.lift(start)


def _kernel(a: np.ndarray, b: np.ndarray, reach: float) -> np.ndarray:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.exp(-0.5 * np.maximum(square, 0.0) / reach**2)
