"""Fits of known heads, and the outline that their jaws' landmarks lie on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.data.face_profiling import FitSettings, HeadFitter
from keras_facealign.data.face_profiling.silhouette import JAW
from keras_facealign.errors import FaceAlignError
from tests.data.face_profiling.head import as_annotated, head


@pytest.mark.parametrize("angles", [(0, 0, 0), (5, 20, -8), (-12, -45, 20), (10, 65, 0)])
def test_a_known_head_is_found(fitter, model, angles):
    camera, coefficients, vertices = head(model, angles)
    fit = fitter.fit(as_annotated(fitter, camera, coefficients, vertices))
    np.testing.assert_allclose(fit.camera.angles, angles, atol=2.0)
    assert fit.camera.scale == pytest.approx(camera.scale, rel=0.03)
    found = fit.camera.project(model.vertices(fit.coefficients))[:, :2]
    face = model.neutral[:, 2] > 0
    off = np.linalg.norm(found - camera.project(vertices)[:, :2], axis=1)
    # The face is 115 pixels wide.
    assert off[face].mean() < 1.5
    assert off[model.landmarks].mean() < 1.0
    np.testing.assert_allclose(fit.coefficients[[1, 4]], coefficients[[1, 4]], atol=0.3)
    if abs(angles[1]) < 30:  # from the side nobody can tell how wide a head is
        assert fit.coefficients[0] == pytest.approx(coefficients[0], abs=0.3)


def test_three_dimensional_landmarks_are_met_without_the_outline(model):
    fitter = HeadFitter(model, FitSettings(silhouette=False, iterations=30))
    camera, _, vertices = head(model, (5, 50, 0))
    points = camera.project(vertices[model.landmarks])[:, :2]
    fit = fitter.fit(points)
    assert np.linalg.norm(fit.residuals, axis=1).max() < 1.0
    np.testing.assert_allclose(
        points - fit.residuals,
        fit.camera.project(model.vertices(fit.coefficients)[model.landmarks])[:, :2],
        atol=1e-3,
    )


def test_annotation_bias_does_not_turn_the_head(fitter, model):
    """Landmarks off by a known habit: a fit that counts with it finds the head, the other nods."""
    rng = np.random.default_rng(0)
    bias = np.zeros((68, 3), np.float32)
    # As a nod by 11 degrees would move them, with some scatter.
    marks = model.neutral[model.landmarks[JAW:]]
    bias[JAW:, 1] = 0.2 * (marks[:, 2] - marks[:, 2].mean())
    bias[JAW:] += rng.normal(0, 0.05, (68 - JAW, 3))
    camera, coefficients, vertices = head(model)
    points = as_annotated(fitter, camera, coefficients, vertices)
    points[JAW:] = camera.project(vertices[model.landmarks[JAW:]] + bias[JAW:])[:, :2]
    knowing = HeadFitter(replace(model, annotation_bias=bias)).fit(points)
    naive = fitter.fit(points)
    off = [abs(fit.camera.angles[0] - camera.angles[0]) for fit in (knowing, naive)]
    assert off[0] < 2.0 < 4.0 < off[1]
    # Residuals are against the model's own points, so that the habit is left in them.
    own = knowing.camera.project(model.vertices(knowing.coefficients)[model.landmarks])[:, :2]
    np.testing.assert_allclose(knowing.residuals[JAW:], (points - own)[JAW:], atol=1e-3)


def test_a_fit_moves_and_grows_with_the_landmarks(fitter, model):
    points = as_annotated(fitter, *head(model))
    first = fitter.fit(points)
    second = fitter.fit(3.0 * points + np.array([40.0, -7.0]))
    np.testing.assert_allclose(second.coefficients, first.coefficients, atol=1e-4)
    np.testing.assert_allclose(second.camera.angles, first.camera.angles, atol=1e-2)
    assert second.camera.scale == pytest.approx(3 * first.camera.scale, rel=1e-4)


def test_one_wild_landmark_spoils_little(fitter, model):
    points = as_annotated(fitter, *head(model))
    wild = points.copy()
    wild[48] += (40.0, 30.0)
    calm, found = fitter.fit(points), fitter.fit(wild)
    np.testing.assert_allclose(found.camera.angles, calm.camera.angles, atol=3.0)
    assert np.linalg.norm(found.residuals[48]) > 30


def test_landmarks_without_a_position_play_no_part(fitter, model):
    points = as_annotated(fitter, *head(model))
    seen = np.full(68, 2)
    seen[[3, 20, 40, 60]] = 0
    moved = points.copy()
    moved[[3, 20, 40, 60]] = np.nan
    first, second = fitter.fit(points, seen), fitter.fit(moved, seen)
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    assert (second.residuals[[3, 20, 40, 60]] == 0).all()


def test_occluded_landmarks_weigh_less(fitter, model):
    points = as_annotated(fitter, *head(model))
    points[30:36] += (2.5, 0.0)
    seen = np.full(68, 2)
    trusted = fitter.fit(points, seen).residuals[30:36, 0].mean()
    seen[30:36] = 1
    assert fitter.fit(points, seen).residuals[30:36, 0].mean() > trusted + 0.1


def test_expressions_stay_within_their_range(fitter, model):
    camera, coefficients, vertices = head(model, coefficients=(0, 0, 0, 0, 1.8, 0))
    fit = fitter.fit(as_annotated(fitter, camera, coefficients, vertices))
    first = len(model.identity)
    assert fit.coefficients[first] == pytest.approx(1.0, abs=0.05)
    assert (fit.coefficients[first:] >= 0).all() and (fit.coefficients[first:] <= 1).all()


@pytest.mark.parametrize(
    ("points", "seen", "message"),
    [
        (np.zeros((67, 2)), None, r"shape \(67, 2\); give \(68, 2\)"),
        (np.full((68, 2), np.nan), None, "not all finite"),
        (np.zeros((68, 2)), np.zeros(68), "Only 0 landmarks"),
        (np.zeros((68, 2)), None, "span no area"),
        (np.zeros((68, 2)), np.zeros(5), r"shape \(5,\); give \(68,\)"),
    ],
)
def test_landmarks_that_cannot_be_fitted_are_refused(fitter, points, seen, message):
    with pytest.raises(FaceAlignError, match=message):
        fitter.fit(points, seen)
