"""The rule that tells faces from what is none."""

from __future__ import annotations

import numpy as np

from keras_facealign.inference.reliability import LEAST_CONFIDENCE, LEAST_VISIBILITY, belief


def test_visibility_decides_where_the_model_has_it():
    confidence = np.array([[0.9, 0.9], [0.1, 0.1]])
    visibility = np.array([[0.1, 0.3], [1.0, 0.5]])
    np.testing.assert_allclose(
        belief(confidence, visibility), [0.2 - LEAST_VISIBILITY, 0.75 - LEAST_VISIBILITY]
    )
    np.testing.assert_allclose(belief(confidence), [0.9 - LEAST_CONFIDENCE, 0.1 - LEAST_CONFIDENCE])


def test_a_detectors_doubt_asks_for_more():
    visibility = np.array([[0.6], [0.6], [0.6]])
    found = belief(visibility, visibility, np.array([0.9, 0.8, 0.6]))
    np.testing.assert_allclose(found, [0.15, 0.15, -0.05])
    np.testing.assert_allclose(belief(np.array([0.75]), score=0.7), 0.0, atol=1e-12)


def test_numbers_that_are_none_are_not_believed():
    assert not belief(np.array([0.9, np.nan])) >= 0
