"""Normalizing lengths of schemes, and which are defined."""

import math
from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import NORMALIZERS, defined_normalizers, nme, normalizing_lengths
from keras_facealign.landmarks import IBUG68, WFLW98

# Points between which the eye normalizers are measured, as publications on each set name them.
EYES = {
    29: {"inter_ocular": ([8], [9]), "eye_center": ([16], [17])},
    98: {
        "inter_ocular": ([60], [72]),
        "eye_center": (range(60, 68), range(68, 76)),
        "eye_corner_center": ([60, 64], [68, 72]),
    },
    19: {"inter_ocular": ([6], [11]), "eye_center": ([7], [10])},
    106: {"inter_ocular": ([66], [79]), "eye_center": (range(66, 74), range(75, 83))},
    478: {"inter_ocular": ([33], [263]), "eye_corner_center": ([33, 133], [263, 362])},
}


def test_box_normalizers_serve_any_number_of_points():
    truth = np.array([[[0, 0], [30, 0], [30, 40]]], float)
    assert normalizing_lengths(truth, "box_diagonal").tolist() == [50]
    assert normalizing_lengths(truth, "box_size").tolist() == [math.sqrt(1200)]
    with pytest.raises(FaceAlignError, match="not defined on 3 landmarks"):
        nme(truth, truth)


@pytest.mark.parametrize("count", EYES)
def test_eye_normalizers_of_other_schemes(count):
    truth = np.random.default_rng(count).uniform(0, 100, (3, count, 2))
    for key, (one, other) in EYES[count].items():
        for i in range(3):
            centers = [np.mean([truth[i, k] for k in group], axis=0) for group in (one, other)]
            assert normalizing_lengths(truth, key)[i] == pytest.approx(math.dist(*centers))
            found = nme(truth + np.array([3, 4]), truth, key)[i]
            assert found == pytest.approx(500 / math.dist(*centers))


def test_which_normalizers_a_number_of_points_has():
    assert defined_normalizers(68) == NORMALIZERS
    assert defined_normalizers(39) == ("box_size", "box_diagonal")
    assert defined_normalizers(5) == ("inter_ocular", "eye_center", "box_size", "box_diagonal")
    with pytest.raises(FaceAlignError, match="'eye_corner_center' is not defined on 5"):
        nme(np.zeros((1, 5, 2)), np.ones((1, 5, 2)), "eye_corner_center")
    with pytest.raises(FaceAlignError, match="29 a face, but the scheme 'wflw98' has 98"):
        nme(np.zeros((1, 29, 2)), np.ones((1, 29, 2)), scheme=WFLW98)


def test_a_scheme_that_only_shares_the_number_of_points():
    # Another order of 68 points, whose eyes are elsewhere.
    scheme = replace(IBUG68, name="mine", eye_corners=(0, 1), inner_corners=None, eyes=None)
    truth = np.random.default_rng(0).uniform(0, 100, (1, 68, 2))
    expected = 500 / math.dist(truth[0, 0], truth[0, 1])
    assert nme(truth + np.array([3, 4]), truth, scheme=scheme)[0] == pytest.approx(expected)
    with pytest.raises(FaceAlignError, match="'eye_center' is not defined on 'mine'"):
        nme(truth, truth, "eye_center", scheme=scheme)


@pytest.mark.parametrize("mark", [-1, 3, 7, 0.5, np.nan, np.inf])
def test_another_visibility_is_refused(mark):
    visibility = np.full((2, 68), 2.0)
    visibility[1, 30] = mark
    with pytest.raises(
        FaceAlignError, match=f"visibility of landmark 30 in image 1 is {float(mark)}; it"
    ):
        normalizing_lengths(np.zeros((2, 68, 2)), "box_size", visibility)
