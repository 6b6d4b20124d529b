"""Fits against what observations were made of, and their parts against slow searches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.calibration import fit_calibration
from keras_facealign.calibration.fitting import fit_logistic, isotonic
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from tests.calibration.synthetic import observations


@pytest.fixture(scope="module")
def fitted():
    return fit_calibration(observations(), "made up", 5)


def test_isotonic_is_the_nearest_rising_sequence():
    rng = np.random.default_rng(0)
    levels = np.linspace(0, 1, 11)
    values = rng.choice(levels, 4)
    weights = rng.uniform(0.5, 2, 4)
    found = isotonic(values, weights)
    assert (np.diff(found) >= 0).all()
    cost = (weights * (found - values) ** 2).sum()
    grids = np.meshgrid(*[np.linspace(0, 1, 41)] * 4, indexing="ij")
    rising = np.stack([g.ravel() for g in grids], axis=1)
    rising = rising[(np.diff(rising, axis=1) >= 0).all(axis=1)]
    assert cost <= (weights * (rising - values) ** 2).sum(axis=1).min() + 1e-12


def test_deviation_that_observations_were_drawn_with(fitted):
    # The ends are means of bins, and level beyond.
    spread = np.linspace(2.5, 7.5, 9)[:, None] * np.ones(68)
    np.testing.assert_allclose(fitted.sigma(spread), 0.4 * spread, rtol=0.08)
    assert len(fitted.spreads) <= 20
    assert fitted.fitted_on == "made up"
    assert fitted.fingerprint == 5


def test_factors_of_landmarks_are_found_and_shared_by_mirror_images():
    factors = np.where(np.arange(68) < 17, 1.8, 0.8)
    found = fit_calibration(observations(factors=factors)).factors
    ratio = found / factors
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.08)
    np.testing.assert_array_equal(found, found[IBUG68.flip_permutation])


def test_visibility_finds_rates_and_directions(fitted):
    seen = observations(seed=1)
    p = fitted.visibility(seen.spread, seen.confidence, seen.yaw_asymmetry)
    visible = seen.visibility == 2
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        bin_ = (p >= low) & (p < high)
        assert visible[bin_].mean() == pytest.approx(p[bin_].mean(), abs=0.06)
    assert (fitted.peak_weights > 0).all()
    assert (fitted.spread_weights < 0).all()
    right, left = (np.array(side) for side in zip(*IBUG68.flip_pairs, strict=True))
    # The side that a face turns to is seen: less than nothing for the other one.
    assert (fitted.yaw_weights[right] > 0).all()
    np.testing.assert_allclose(fitted.yaw_weights[left], -fitted.yaw_weights[right])


def test_logistic_weights_are_where_the_penalized_likelihood_is_flat():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 3))
    labels = rng.uniform(size=300) < 1 / (1 + np.exp(-(0.5 + x @ [1.0, 2.0, -1.5])))
    prior = np.array([0.0, 0.5, 0.5, 0.0])
    weights = fit_logistic(x, labels, prior, 2.0)

    def cost(w):
        score = w[0] + x @ w[1:]
        return (np.logaddexp(0, score) - labels * score).sum() + ((w - prior) ** 2).sum()

    for i in range(4):
        step = 1e-4 * np.eye(4)[i]
        assert cost(weights + step) - cost(weights - step) == pytest.approx(0, abs=1e-6)


def test_a_weight_of_the_wrong_sign_is_zero():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 3))
    labels = rng.uniform(size=300) < 1 / (1 + np.exp(-x @ [-2.0, 1.0, -1.0]))
    weights = fit_logistic(x, labels, np.zeros(4), 1.0)
    assert weights[1] == 0.0
    assert weights[2] > 0.5
    assert weights[3] < -0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"errors": np.full_like(s.errors, np.nan)}, "There are 0 landmarks"),
        (lambda s: {"spread": np.ones_like(s.spread)}, "the same spread"),
    ],
)
def test_observations_that_tell_nothing(change, message):
    seen = observations(rows=40)
    with pytest.raises(FaceAlignError, match=message):
        fit_calibration(replace(seen, **change(seen)))


@pytest.mark.parametrize("mark", [1, 2])
def test_labels_that_do_not_tell_what_is_hidden_leave_visibility_alone(fitted, mark):
    seen = observations()
    # Neither does a label that is missing.
    alike = replace(seen, visibility=np.where(seen.visibility > 0, mark, -1))
    found = fit_calibration(alike)
    assert not found.has_visibility and fitted.has_visibility
    for name in ("spreads", "sigmas", "factors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(fitted, name))


def test_landmarks_of_unknown_visibility_do_not_count():
    seen = observations(seed=6)
    unknown = np.random.default_rng(0).uniform(size=seen.visibility.shape) < 0.5
    marks = np.where(unknown, -1, seen.visibility)
    found = fit_calibration(replace(seen, visibility=marks))
    # Fits of all landmarks together, of the half that is known.
    p = found.visibility(seen.spread, seen.confidence, seen.yaw_asymmetry)
    assert (seen.visibility == 2)[unknown].mean() == pytest.approx(p[unknown].mean(), abs=0.01)
    hidden = fit_calibration(replace(seen, visibility=np.where(unknown, 0, seen.visibility)))
    taken = hidden.visibility(seen.spread, seen.confidence, seen.yaw_asymmetry)
    assert taken[unknown].mean() < p[unknown].mean() - 0.1
