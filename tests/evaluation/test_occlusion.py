"""Errors by visibility and detection of occlusion, against loops."""

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import EvaluationReport, occlusion_detection, visibility_errors


@pytest.fixture
def labels():
    rng = np.random.default_rng(5)
    visibility = rng.choice([0, 1, 2], (20, 68), p=[0.1, 0.3, 0.6])
    # Confidence that knows something, in few steps so that there are ties.
    confidence = np.clip(0.35 * visibility + rng.normal(0, 0.3, visibility.shape), 0, 1)
    return visibility, confidence.round(1)


def test_errors_by_visibility():
    rng = np.random.default_rng(1)
    errors = rng.uniform(0, 10, (5, 7))
    visibility = rng.integers(0, 3, (5, 7))
    errors[visibility == 0] = np.nan
    errors[2] = np.nan  # no normalizer
    found = visibility_errors(errors, visibility)
    for name, mark in (("visible", 2), ("occluded", 1)):
        picked = [errors[i, k] for i in (0, 1, 3, 4) for k in range(7) if visibility[i, k] == mark]
        assert found[name]["landmarks"] == len(picked)
        assert found[name]["mean"] == pytest.approx(sum(picked) / len(picked))
    assert visibility_errors(errors, np.full((5, 7), 2))["occluded"]["mean"] is None


def test_precision_and_recall_by_counting(labels):
    visibility, confidence = labels
    found = occlusion_detection(visibility, confidence, threshold=0.45)
    right = wrong = missed = 0
    for mark, score in zip(visibility.ravel(), confidence.ravel(), strict=True):
        if mark == 0:
            continue
        right += mark == 1 and score < 0.45
        wrong += mark == 2 and score < 0.45
        missed += mark == 1 and score >= 0.45
    assert found["precision"] == pytest.approx(100 * right / (right + wrong))
    assert found["recall"] == pytest.approx(100 * right / (right + missed))
    assert found["landmarks"] == (visibility > 0).sum()
    assert found["occluded"] == pytest.approx(100 * (right + missed) / found["landmarks"])


def test_curve_over_all_thresholds(labels):
    visibility, confidence = labels
    hidden, scores = visibility[visibility > 0] == 1, confidence[visibility > 0]
    area, before, best = 0.0, 0.0, 0.0
    for limit in sorted(set(scores)):
        below = scores <= limit
        recall = (hidden & below).sum() / hidden.sum()
        precision = (hidden & below).sum() / below.sum()
        area += (recall - before) * precision
        before = recall
        if precision >= 0.8:
            best = max(best, recall)
    found = occlusion_detection(visibility, confidence)
    assert found["average_precision"] == pytest.approx(100 * area)
    assert found["recall_at_80_precision"] == pytest.approx(100 * best)
    assert 0 < best < 1


def test_perfect_and_useless_confidence():
    visibility = np.array([[1, 1, 2, 2, 2, 0]])
    perfect = occlusion_detection(visibility, visibility / 2 - 0.1)
    assert perfect["precision"] == perfect["recall"] == perfect["average_precision"] == 100
    useless = occlusion_detection(visibility, np.ones((1, 6)))
    assert (useless["precision"], useless["recall"]) == (None, 0)
    assert useless["average_precision"] == pytest.approx(40)
    assert useless["recall_at_80_precision"] == 0


def test_bad_input():
    with pytest.raises(FaceAlignError, match=r"shape \(1, 3\), got \(1, 2\)"):
        occlusion_detection(np.ones((1, 3)), np.ones((1, 2)))
    with pytest.raises(FaceAlignError, match="No landmark is labeled as occluded"):
        occlusion_detection(np.full((1, 3), 2), np.ones((1, 3)))
    with pytest.raises(FaceAlignError, match="not a number"):
        occlusion_detection(np.ones((1, 3)), np.full((1, 3), np.nan))


def test_report_has_them_where_labels_do(labels):
    visibility, confidence = labels
    rng = np.random.default_rng(2)
    truth = rng.uniform(0, 100, (20, 68, 2))
    visibility[:, [36, 45]] = 2
    prediction = truth + rng.normal(0, 2, truth.shape)
    report = EvaluationReport(prediction, truth, visibility, confidence=confidence)
    summary = report.summary()
    assert summary["occlusion"] == occlusion_detection(visibility, confidence)
    lengths = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    relative = 100 * np.linalg.norm(prediction - truth, axis=-1) / lengths[:, None]
    expected = relative[visibility == 1].mean()
    assert summary["visibility"]["occluded"]["mean"] == pytest.approx(expected)
    assert "occlusion" not in EvaluationReport(prediction, truth, visibility).summary()
    all_seen = np.where(visibility > 0, 2, 0)
    assert "visibility" not in EvaluationReport(prediction, truth, all_seen).summary()
