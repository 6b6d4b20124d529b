"""Snapped heads match their landmarks."""

from __future__ import annotations

import numpy as np

from keras_facealign.data.face_profiling import Camera, snapped_vertices
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.data.face_profiling.silhouette import JAW


def head(model, angles=(5.0, 20.0, -8.0), coefficients=(0.8, -0.6, 0.5, 0.4, 0.5, 0.3)):
    camera = Camera(rotation_from_angles(*angles), 8.0, np.array([110.0, 100.0]))
    return camera, np.array(coefficients), model.vertices(np.array(coefficients))


def as_annotated(fitter, camera, coefficients, vertices):
    """The landmarks of a 2D annotation: the jaw along the outline."""
    points = camera.project(vertices[fitter.model.landmarks])[:, :2]
    lines = fitter._lines.points(coefficients)
    chosen = fitter._lines.outermost(lines, camera.rotation)
    points[:JAW] = camera.project(lines[np.arange(JAW), chosen])[:, :2]
    return points


def test_snapping_meets_the_landmarks_and_leaves_the_rest(fitter, model):
    points = as_annotated(fitter, *head(model))
    points[36:42] += (1.2, -0.8)
    fit = fitter.fit(points)
    plain, bent = model.vertices(fit.coefficients), snapped_vertices(model, fit)
    inner = model.landmarks[JAW:]
    before = np.linalg.norm(fit.camera.project(plain[inner])[:, :2] - points[JAW:], axis=1)
    after = np.linalg.norm(fit.camera.project(bent[inner])[:, :2] - points[JAW:], axis=1)
    assert after.mean() < 0.5 * before.mean()
    # Depth stays, and so does the back of the head.
    depth = fit.camera.project(bent)[:, 2] - fit.camera.project(plain)[:, 2]
    assert np.abs(depth).max() < 1e-6
    back = model.neutral[:, 2] < -7
    assert np.abs(bent - plain)[back].max() < 1e-3
