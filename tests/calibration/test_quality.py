"""AUROC against a slow loop, deciles and dropped landmarks against plain means."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.calibration import fit_calibration
from keras_facealign.calibration.quality import auroc, measure
from tests.calibration.synthetic import observations


def slow_auroc(hidden, visible):
    wins = [1.0 if v > h else 0.5 if v == h else 0.0 for h in hidden for v in visible]
    return sum(wins) / len(wins)


@pytest.fixture(scope="module")
def seen():
    return observations(seed=4)


@pytest.fixture(scope="module")
def calibration():
    return fit_calibration(observations(seed=5))


def test_auroc_against_a_loop_with_ties():
    rng = np.random.default_rng(0)
    hidden, visible = rng.integers(0, 8, 30) / 8, rng.integers(2, 10, 50) / 8
    assert auroc(hidden, visible) == pytest.approx(slow_auroc(hidden, visible), abs=1e-12)
    assert np.isnan(auroc(hidden[:0], visible))


def test_numbers_against_slow_ones(calibration, seen):
    quality = measure(calibration, seen)
    sigma = calibration.sigma(seen.spread)
    known = np.isfinite(seen.errors)
    pairs = sorted(zip(sigma[known], seen.errors[known].astype(float), strict=True))
    tenth = pairs[: -(-len(pairs) // 10)]
    expected = np.sqrt(2 * np.mean([float(s) ** 2 for s, _ in tenth]))
    observed = np.sqrt(np.mean([e**2 for _, e in tenth]))
    np.testing.assert_allclose(quality.deciles[0], [expected, observed], rtol=0.01)
    np.testing.assert_allclose(quality.deciles[:, 1] / quality.deciles[:, 0], 1.0, atol=0.06)
    kept = pairs[: round(0.9 * len(pairs))]
    summary = quality.summary
    assert summary["mean_error"] == pytest.approx(np.mean([e for _, e in pairs]))
    mean = np.mean([e for _, e in kept])
    assert summary["mean_error_without_tenth"] == pytest.approx(mean, rel=1e-3)
    assert summary["mean_error_before_registration"] == pytest.approx(1.5 * summary["mean_error"])
    assert (summary["faces"], summary["views"]) == (200, 400)


def test_auroc_of_all_landmarks_and_of_the_same(calibration, seen):
    quality = measure(calibration, seen)
    p = calibration.visibility(seen.spread, seen.confidence, seen.yaw_asymmetry)
    for kind, mark in (("behind something", 1), ("by the head", 0)):
        found = quality.aurocs[kind]
        hidden, visible = seen.visibility == mark, seen.visibility == 2
        assert found["landmarks"] == hidden.sum()
        assert found["all"] == auroc(p[hidden], p[visible])
        same = [(h, v) for k in range(68) for h in p[hidden[:, k], k] for v in p[visible[:, k], k]]
        wins = np.mean([float(v > h) for h, v in same])
        assert found["same_landmark"] == pytest.approx(wins, abs=1e-4)
        false, true = quality.rates[kind]
        # The area under the corners of the curve is a little less than that under the curve.
        area = (np.diff(false) * (true[1:] + true[:-1]) / 2).sum()
        assert area == pytest.approx(found["all"], abs=0.01)


def test_numbers_fit_json(calibration, seen):
    value = json.loads(json.dumps(measure(calibration, seen).to_dict(), allow_nan=False))
    assert len(value["tenths"]) == 10
    assert set(value["auroc"]) == {"behind something", "by the head"}


def test_without_visibility_the_errors_are_measured(calibration, seen):
    names = ("bias", "peak_weights", "spread_weights", "yaw_weights")
    quality = measure(replace(calibration, **dict.fromkeys(names)), seen)
    np.testing.assert_array_equal(quality.deciles, measure(calibration, seen).deciles)
    assert quality.aurocs == quality.rates == {}
    json.dumps(quality.to_dict(), allow_nan=False)
    assert "AUROC" not in str(quality.to_tables("t")[1].columns[0]._cells)


def test_landmarks_of_unknown_visibility_do_not_count(calibration, seen):
    hidden = seen.visibility != 2
    quality = measure(calibration, replace(seen, visibility=np.where(hidden, -1, 2)))
    assert [kind["landmarks"] for kind in quality.aurocs.values()] == [0, 0]
    assert quality.rates == {}
    p = calibration.visibility(seen.spread, seen.confidence, seen.yaw_asymmetry)
    loss = -np.mean(np.log(p[~hidden]))
    assert quality.summary["visibility_log_loss"] == pytest.approx(loss, rel=1e-4)
