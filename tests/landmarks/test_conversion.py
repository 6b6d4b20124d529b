"""Conversions agree with mean faces of data sets and with a portrait."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import nme
from keras_facealign.landmarks import (
    MEDIAPIPE478,
    SCHEMES,
    conversion_matrix,
    convert_landmarks,
    list_conversions,
)
from tests.landmarks.mean_faces import faces, stretch


@pytest.mark.parametrize(("source", "target"), list_conversions())
def test_conversion_weights_and_symmetry(source, target):
    matrix = conversion_matrix(source, target)
    sums = matrix.sum(axis=1)
    assert ((np.abs(sums - 1) < 1e-12) | (sums == 0)).all()
    assert (matrix >= 0).all()
    a, b = SCHEMES[source].flip_permutation, SCHEMES[target].flip_permutation
    # Converting a mirrored face is mirroring the converted one.
    np.testing.assert_allclose(matrix[b][:, a], matrix, atol=1e-12)
    points = np.random.default_rng(1).normal(size=(3, SCHEMES[source].num_landmarks, 2))
    found = convert_landmarks(points, source, target)
    expected = np.einsum("kj,njd->nkd", matrix, points)
    known = sums > 0
    np.testing.assert_allclose(found[:, known], expected[:, known], atol=1e-12)
    assert np.isnan(found[:, ~known]).all()


def test_which_conversions_there_are():
    found = set(list_conversions())
    for source in ("wflw98", "jd106", "mediapipe468", "mediapipe478"):
        assert {(source, "ibug68"), (source, "five")} <= found
    assert ("ibug68", "five") in found
    assert ("five", "ibug68") not in found
    unknown = np.flatnonzero(conversion_matrix("ibug68", "cofw29").sum(axis=1) == 0)
    assert unknown.tolist() == [4, 5, 6, 7]
    assert (conversion_matrix("wflw98", "cofw29").sum(axis=1) > 0).all()


@pytest.mark.parametrize("source", ["wflw98", "jd106"])
def test_mean_faces_agree_after_conversion(source):
    # Means of different data sets and poses: close, not equal.
    mean = faces("ibug68")
    moved = stretch(convert_landmarks(faces(source), source, "ibug68"), mean)
    assert nme(moved[None], mean[None])[0] < 6
    assert np.abs(moved - mean)[17:].max() < 0.08 * np.ptp(mean, axis=0).max()


@pytest.mark.parametrize("target", ["cofw29", "aflw19"])
def test_mean_faces_of_few_points(target):
    mean = faces(target)
    for source in ("ibug68", "wflw98"):
        if (source, target) not in list_conversions():
            continue
        found = convert_landmarks(faces(source), source, target)
        known = np.isfinite(found).all(axis=1)
        moved = stretch(found[known], mean[known])
        error = np.linalg.norm(moved - mean[known], axis=1)
        assert error.mean() < 0.04 * np.ptp(mean, axis=0).max()


def test_mesh_of_a_portrait():
    points, expected = faces("mediapipe478"), faces("portrait_ibug68")
    found = convert_landmarks(points, "mediapipe478", "ibug68")
    assert found.shape == (68, 3)
    found = found[:, :2]
    assert nme(found[None], expected[None])[0] < 3.5
    # On a chain of tables the same.
    np.testing.assert_allclose(
        convert_landmarks(points[:468], "mediapipe468", "five"),
        convert_landmarks(convert_landmarks(points, "mediapipe478", "ibug68"), "ibug68", "five"),
    )
    # The irises' centers lie in the eyes, each among the four points of its iris.
    for iris, eye in ((468, MEDIAPIPE478.eyes[0]), (473, MEDIAPIPE478.eyes[1])):
        ring = points[iris + 1 : iris + 5, :2].mean(axis=0)
        assert np.linalg.norm(ring - points[iris, :2]) < 1
        assert np.linalg.norm(points[list(eye), :2].mean(axis=0) - points[iris, :2]) < 3


def test_recognition_points_by_hand():
    points = np.random.default_rng(0).normal(size=(2, 68, 2)).astype("float32")
    five = convert_landmarks(points, "ibug68", "five")
    assert five.dtype == np.float32
    np.testing.assert_allclose(five[:, 0], points[:, 36:42].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(five[:, 1], points[:, 42:48].mean(axis=1), atol=1e-6)
    np.testing.assert_array_equal(five[:, 2:], points[:, [30, 48, 54]])


def test_an_unlabeled_point_spoils_only_its_own():
    points = np.zeros((68, 2))
    points[36] = np.nan
    five = convert_landmarks(points, "ibug68", "five")
    assert np.isnan(five[0]).all()
    assert np.isfinite(five[1:]).all()


def test_conversions_that_cannot_be():
    with pytest.raises(FaceAlignError, match="no conversion from 'five'.*none"):
        convert_landmarks(np.zeros((5, 2)), "five", "ibug68")
    with pytest.raises(FaceAlignError, match="from 'aflw19' there is: five"):
        conversion_matrix("aflw19", "ibug68")
    with pytest.raises(FaceAlignError, match=r"\(98, 2\).*\(..., 68, 2 or 3\)"):
        convert_landmarks(np.zeros((98, 2)), "ibug68", "five")
    with pytest.raises(FaceAlignError, match="Unknown landmark scheme 'wflw'"):
        convert_landmarks(np.zeros((98, 2)), "wflw", "five")
    with pytest.raises(FaceAlignError, match="dtype"):
        convert_landmarks(np.full((68, 2), "x"), "ibug68", "five")
