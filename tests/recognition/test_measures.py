"""Measures of verification against cases computed by hand, and slow counts."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.recognition.measures import (
    best_threshold,
    cross_validate,
    equal_error_rate,
    roc,
    roc_auc,
    tar_at_far,
)

# Three folds of four pairs, the first two of each one person.
SCORES = np.array([0.9, 0.8, 0.3, 0.1, 0.9, 0.4, 0.65, 0.2, 0.75, 0.2, 0.5, 0.1])
SAME = np.array([True, True, False, False] * 3)
FOLDS = np.repeat([0, 1, 2], 4)


def test_three_folds_by_hand():
    accuracies, thresholds = cross_validate(SCORES, SAME, FOLDS)
    # Without fold 0, from the top: one person 0.9 and 0.75, two 0.65. No lower threshold is better,
    # so it is 0.7, which is right for all of fold 0.
    # Without fold 1: one person 0.9, 0.8 and 0.75, two 0.5: 0.625, which misses 0.4 and accepts
    # 0.65.
    # Without fold 2: one person 0.9, 0.9 and 0.8, two 0.65: 0.725, which misses 0.2.
    np.testing.assert_allclose(thresholds, [0.7, 0.625, 0.725])
    np.testing.assert_allclose(accuracies, [100, 50, 75])


def test_curves_by_hand():
    scores, same = SCORES[4:8], SAME[4:8]  # 0.9 one person, 0.65 two, 0.4 one, 0.2 two
    far, tar = roc(scores, same)
    np.testing.assert_allclose(far, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(tar, [0, 0.5, 0.5, 1, 1])
    assert roc_auc(scores, same) == 75.0
    assert equal_error_rate(scores, same) == 50.0
    assert tar_at_far(scores, same) == 50.0
    assert tar_at_far(scores, same, 0.5) == 100.0


def test_best_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 40):
        scores = rng.integers(0, 8, count) / 8  # with ties
        same = rng.random(count) < 0.5
        found = np.mean((scores >= best_threshold(scores, same)) == same)
        tried = [np.mean((scores >= t) == same) for t in np.arange(-1, 2, 1 / 16)]
        assert found == max(tried)


def test_auc_counts_pairs_of_pairs():
    rng = np.random.default_rng(1)
    scores, same = rng.integers(0, 9, 60) / 9, rng.random(60) < 0.4
    wins = [(a > b) + 0.5 * (a == b) for a in scores[same] for b in scores[~same]]
    assert np.isclose(roc_auc(scores, same), 100 * np.mean(wins))


def test_perfect_and_random_scores():
    rng = np.random.default_rng(2)
    same, folds = np.tile([True, False], 3500), np.repeat(np.arange(10), 700)
    perfect = np.where(same, rng.uniform(0.5, 1, 7000), rng.uniform(-1, 0.3, 7000))
    accuracies, _ = cross_validate(perfect, same, folds)
    assert (accuracies == 100).all()
    assert roc_auc(perfect, same) == 100 and equal_error_rate(perfect, same) == 0
    assert tar_at_far(perfect, same) == 100
    chance = rng.normal(size=7000)
    accuracies, _ = cross_validate(chance, same, folds)
    # Four standard errors of 7000 coins, and of the AUC of as many.
    assert abs(accuracies.mean() - 50) < 4 * 50 / np.sqrt(7000)
    assert abs(roc_auc(chance, same) - 50) < 4 * 100 / np.sqrt(12 * 1750)
    assert abs(equal_error_rate(chance, same) - 50) < 3


def test_one_fold_has_no_threshold():
    with pytest.raises(FaceAlignError, match="at least two"):
        cross_validate(SCORES[:4], SAME[:4], FOLDS[:4])
