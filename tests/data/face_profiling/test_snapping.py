"""Snapped heads match their landmarks."""

from __future__ import annotations

import numpy as np

from keras_facealign.data.face_profiling import snapped_vertices
from keras_facealign.data.face_profiling.silhouette import JAW
from tests.data.face_profiling.head import as_annotated, head


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
