"""What cards try networks on, how they judge them, and how they draw it."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_facealign.evaluation.cards.figure import draw_strip, palette_png
from keras_facealign.evaluation.cards.heads import drawn_head
from keras_facealign.evaluation.cards.trials import (
    DISTURBANCES,
    YAWS,
    Outcome,
    Row,
    Trial,
    disturbed_trials,
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
    assert [trial.what for trial in trials] == [f"yaw {yaw}" for yaw in YAWS]
    rng = np.random.default_rng(1)
    answers = [trial.view.landmarks + rng.normal(0, 1, (68, 2)) for trial in trials]
    for trial, answer in zip(trials, answers, strict=True):
        answer[~trial.counted] += 1000
    sigma = rng.uniform(1, 2, (len(trials), 68))
    outcomes = judge(Told(answers, sigma=sigma), trials)
    for trial, answer, outcome in zip(trials, answers, outcomes, strict=True):
        true = trial.view.landmarks
        box = np.prod(true.max(0) - true.min(0)) ** 0.5
        some = [i for i in range(68) if trial.counted[i]]
        far = [((answer[i] - true[i]) ** 2).sum() ** 0.5 for i in some]
        assert outcome.error == pytest.approx(100 * np.mean(far) / box, rel=1e-6)
    np.testing.assert_array_equal([outcome.certainty for outcome in outcomes], sigma)
    assert trials[0].counted.all() and not trials[3].counted[:17].any()


def test_all_landmarks_count_for_3d_and_a_reference_has_no_error():
    trials = turned_trials(drawn_head(3), 32, -1, all_landmarks=True, reference=True)
    assert all(trial.counted.all() for trial in trials[1:])
    outcomes = judge(Told([np.add(trial.view.landmarks, (3, 4)) for trial in trials]), trials)
    assert outcomes[0].error is None and trials[0].what == "reference"
    size = np.prod(np.ptp(trials[1].view.landmarks, axis=0)) ** 0.5
    assert outcomes[1].error == pytest.approx(500 / size)


def test_disturbances_hide_what_they_are_named_for():
    head = drawn_head(8)
    clear = head.view(128)
    crops = {trial.what: trial.view.crop.astype(float) for trial in disturbed_trials(head, 128)}
    assert list(crops) == list(DISTURBANCES)
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
    leaning = disturbed_trials(head, 128)[-1].view
    eyes = leaning.landmarks[42:48].mean(0) - leaning.landmarks[36:42].mean(0)
    assert np.degrees(np.arctan2(eyes[1], eyes[0])) == pytest.approx(45, abs=3)
    # The same again, noise too.
    for trial in disturbed_trials(head, 128):
        np.testing.assert_array_equal(trial.view.crop, crops[trial.what])


def outcome(error: float | None, certainty: float) -> Outcome:
    crop = np.full((64, 64, 3), 128, np.uint8)
    view = SimpleNamespace(crop=crop, landmarks=np.full((68, 2), 20.0))
    trial = Trial("yaw 30", view, np.full(68, error is not None))  # type: ignore[arg-type]
    return Outcome(trial, np.full((68, 2), 45.0), np.full(68, certainty), error)


def test_dots_are_colored_by_certainty_and_failures_written_in_red():
    def picture(error, certainty, calibrated):
        strip = draw_strip([Row("Faces", [outcome(error, certainty)])], calibrated)
        panel = strip[22 : 22 + 144, 4 : 4 + 144]
        dot = panel[round(45.5 / 64 * 144 - 0.5), round(45.5 / 64 * 144 - 0.5)].astype(int)
        cross = panel[round(20.5 / 64 * 144 - 0.5), round(20.5 / 64 * 144 - 0.5)].astype(int)
        caption = strip[22 + 144 : 22 + 144 + 18].astype(int)
        return dot, cross, int((caption[..., 0] - caption[..., 1] > 60).sum())

    yellow, purple = (253, 231, 37), (68, 1, 84)  # viridis's ends
    for certainty, calibrated, color in (
        (1.0, False, yellow),
        (0.0, False, purple),
        (0.5, True, yellow),  # pixels of 64
        (9.0, True, purple),
    ):
        dot, cross, red = picture(7.9, certainty, calibrated)
        np.testing.assert_allclose(dot, color, atol=12)
        np.testing.assert_array_equal(cross, (255, 64, 64))
        assert red == 0
    assert picture(8.1, 1.0, False)[2] > 20
    _, nothing, red = picture(None, 1.0, False)
    np.testing.assert_array_equal(nothing, (128, 128, 128))
    assert red == 0


def test_a_png_has_a_palette_and_keeps_to_its_size():
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    large, small = palette_png(noise, 10**6), palette_png(noise, 2000)
    assert len(small) <= 2000 < len(large)
    for packed in (large, small):
        picture = Image.open(io.BytesIO(packed))
        assert picture.mode == "P" and picture.size == (60, 40)
    blue = np.full((8, 8, 3), (1, 2, 200), np.uint8)
    np.testing.assert_array_equal(
        np.array(Image.open(io.BytesIO(palette_png(blue))).convert("RGB")), blue
    )
    assert palette_png(noise, 2000) == small
