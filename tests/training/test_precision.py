"""The choice between float32 and bfloat16 by what this machine does faster."""

from __future__ import annotations

import keras
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.training import precision as training_precision
from keras_facealign.training.precision import PRECISIONS, choose_precision, measure_precisions


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_that_is_given_is_not_measured(precision, monkeypatch):
    monkeypatch.setattr(training_precision, "measure_precisions", None)
    assert choose_precision(precision) == precision


def test_an_unknown_precision_is_refused():
    with pytest.raises(FaceAlignError, match="auto, float32, mixed_bfloat16"):
        choose_precision("float8")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.5, "mixed_bfloat16"), (0.95, "float32"), (2.0, "float32")],
)
def test_bfloat16_has_to_be_clearly_faster(seconds, expected, monkeypatch):
    measured = {"float32": 1.0, "mixed_bfloat16": seconds}
    monkeypatch.setattr(training_precision, "measure_precisions", lambda *sizes: measured)
    assert choose_precision("auto") == expected


def test_the_measurement_takes_times_and_leaves_the_policy_alone():
    seconds = measure_precisions(map_size=8, filters=8, rounds=2)
    assert set(seconds) == set(PRECISIONS)
    assert all(value > 0 for value in seconds.values())
    assert keras.mixed_precision.dtype_policy().name == "float32"


@pytest.mark.parametrize(("slow", "steps"), [(10.0, 1), (1.5, 5)])
def test_a_clear_difference_is_measured_once(slow, steps, monkeypatch):
    clock = [0.0]

    class Timed:
        def __init__(self, policy):
            self.seconds = slow if policy == "mixed_bfloat16" else 1.0
            self.steps = 0

        def train_on_batch(self, x, y):
            self.steps += 1
            clock[0] += self.seconds

    models = {}
    monkeypatch.setattr(training_precision.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(
        training_precision, "_model", lambda name, shape: models.setdefault(name, Timed(name))
    )
    assert measure_precisions(8, 8) == {"float32": 1.0, "mixed_bfloat16": slow}
    assert {model.steps for model in models.values()} == {2 + steps}  # two compile and warm up
