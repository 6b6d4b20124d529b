"""What cards try networks on, and how they judge them."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.evaluation.cards.heads import drawn_head
from keras_facealign.evaluation.cards.trials import (
    CORRUPTIONS,
    YAWS,
    corrupted_trials,
    judge,
    turned_trials,
)


class Told:
    """A network that answers what it was told."""

    def __init__(self, landmarks, **more):
        self.answer = {"landmarks": np.asarray(landmarks), "confidence": np.ones((9, 68)), **more}

    def predict_outputs(self, images):
        return {name: array[: len(images)] for name, array in self.answer.items()}


def test_errors_are_those_of_the_landmarks_that_count():
    trials = turned_trials(drawn_head(3), 32, 1, all_landmarks=False)
    assert [trial.name for trial in trials] == [f"yaw {yaw}" for yaw in YAWS]
    rng = np.random.default_rng(1)
    answers = [trial.view.landmarks + rng.normal(0, 1, (68, 2)) for trial in trials]
    for trial, answer in zip(trials, answers, strict=True):
        answer[~trial.counted] += 1000
    sigma = rng.uniform(1, 2, (len(trials), 68))
    judged = judge(Told(answers, sigma=sigma), trials)
    for trial, answer, outcome in zip(trials, answers, judged, strict=True):
        true = trial.view.landmarks
        box = np.prod(true.max(0) - true.min(0)) ** 0.5
        some = [i for i in range(68) if trial.counted[i]]
        far = [((answer[i] - true[i]) ** 2).sum() ** 0.5 for i in some]
        assert outcome.error == pytest.approx(100 * np.mean(far) / box, rel=1e-6)
    np.testing.assert_array_equal([outcome.certainty for outcome in judged], sigma)
    assert trials[0].counted.all() and not trials[3].counted[:17].any()


def test_all_landmarks_count_for_3d_and_a_reference_has_no_error():
    trials = turned_trials(drawn_head(3), 32, -1, all_landmarks=True, reference=True)
    assert all(trial.counted.all() for trial in trials[1:])
    judged = judge(Told([np.add(trial.view.landmarks, (3, 4)) for trial in trials]), trials)
    assert judged[0].error is None and trials[0].name == "reference"
    size = np.prod(np.ptp(trials[1].view.landmarks, axis=0)) ** 0.5
    assert judged[1].error == pytest.approx(500 / size)


def test_corruptions_hide_what_they_are_named_for():
    head = drawn_head(8)
    clear = head.view(128)
    crops = {trial.name: trial.view.crop.astype(float) for trial in corrupted_trials(head, 128)}
    assert list(crops) == list(CORRUPTIONS)
    change = {what: np.abs(crop - clear.crop).max(-1) for what, crop in crops.items()}
    middle = int(clear.landmarks[27:31, 0].mean())
    assert change["half covered"][:, : middle - 1].max() == 0
    assert change["half covered"][:, middle + 1 :].min() > 0
    mouth, brow = (np.rint(clear.landmarks[i]).astype(int) for i in (62, 19))
    assert change["mask"][mouth[1], mouth[0]] > 10 and change["mask"][brow[1], brow[0]] == 0
    assert crops["dark"].max() <= 16
    detail = {what: np.abs(np.diff(crop, axis=1)).mean() for what, crop in crops.items()}
    assert detail["blurred"] < detail["16 pixels"] < np.abs(np.diff(clear.crop, axis=1)).mean()
    assert np.abs(crops["noise"] - clear.crop).mean() > 25
    leaning = corrupted_trials(head, 128)[-1].view
    eyes = leaning.landmarks[42:48].mean(0) - leaning.landmarks[36:42].mean(0)
    assert np.degrees(np.arctan2(eyes[1], eyes[0])) == pytest.approx(45, abs=3)
    # The same again, noise too.
    for trial in corrupted_trials(head, 128):
        np.testing.assert_array_equal(trial.view.crop, crops[trial.name])
