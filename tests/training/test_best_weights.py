"""Early stopping keeps the best weights, also through a restart of the program."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.training.best_weights import BestWeights


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


def run(callback, model, scores, first=0, name="val_nme"):
    """Ends epochs with these scores; weights are the epoch's number. Returns the last epoch."""
    callback.set_model(model)
    model.stop_training = False
    for epoch, score in enumerate(scores, start=first):
        model.set_weights([np.full((1, 1), epoch + 1.0), np.zeros(1)])
        callback.on_epoch_end(epoch, {name: score})
        if model.stop_training:
            break
    return epoch + 1


def weight(model):
    return float(model.get_weights()[0][0, 0])


def test_stops_and_keeps_the_best(tmp_path, model):
    best = BestWeights(tmp_path / "backup", 2)
    assert run(best, model, [3.0, 2.0, 2.5, 2.0, 1.0]) == 4
    best.apply(model)
    assert best.epoch == 2 and weight(model) == 2.0
    assert len(list((tmp_path / "backup").glob("best_*.npz"))) == 1


def test_goes_on_after_a_restart(tmp_path, model):
    run(BestWeights(tmp_path, 3), model, [3.0, 2.0, 2.5])
    again = BestWeights(tmp_path, 3)
    again.restore(3)
    assert run(again, model, [2.2, 2.1, 1.0], first=3) == 5
    again.apply(model)
    assert again.epoch == 2 and weight(model) == 2.0


def test_a_best_epoch_after_the_backup_is_trained_again(tmp_path, model):
    run(BestWeights(tmp_path, 3), model, [3.0, 2.0])
    again = BestWeights(tmp_path, 3)
    again.restore(1)
    assert again.epoch is None
    run(again, model, [2.0], first=1)
    assert again.epoch == 2


def measured(model, score):
    """Gives the model an `evaluate` of a known result, and weights of 0."""
    model.set_weights([np.zeros((1, 1)), np.zeros(1)])
    model.evaluate = lambda data, **_: {"loss": 1.0, "nme": score}


@pytest.mark.parametrize(("score", "kept"), [(1.5, 0), (2.5, 2), (float("nan"), 2)])
def test_the_start_counts(tmp_path, model, score, kept):
    best = BestWeights(tmp_path / "backup", 2)
    measured(model, score)
    best.start(model, None)
    assert not (tmp_path / "backup").exists()
    assert run(best, model, [3.0, 2.0, 2.5, 2.4]) == (2 if kept == 0 else 4)
    best.apply(model)
    assert best.epoch == kept and weight(model) == kept
    assert best.metrics == {"val_nme": min(score, 2.0) if score == score else 2.0}


def test_the_start_is_kept_through_a_restart(tmp_path, model):
    best = BestWeights(tmp_path, 5)
    measured(model, 1.5)
    best.start(model, None)
    run(best, model, [3.0, 2.0])
    again = BestWeights(tmp_path, 5)
    again.restore(2)
    assert run(again, model, [2.0] * 9, first=2) == 5
    again.apply(model)
    assert again.epoch == 0 and weight(model) == 0


def test_loss_decides_where_no_face_could_be_measured(tmp_path, model):
    best = BestWeights(tmp_path, 5)
    best.set_model(model)
    for epoch, loss in enumerate([0.5, 0.2, 0.3]):
        best.on_epoch_end(epoch, {"val_nme": float("nan"), "val_loss": loss})
    assert best.epoch == 2
    # A measured error is better than none.
    best.on_epoch_end(3, {"val_nme": 9.0, "val_loss": 0.9})
    assert best.epoch == 4


def test_nothing_measured_and_damage(tmp_path, model):
    best = BestWeights(tmp_path, 2)
    assert run(best, model, [float("nan")] * 4) == 2
    best.apply(model)
    run(best, model, [1.0])
    next(tmp_path.glob("best_*.npz")).write_bytes(b"x")
    with pytest.raises(FaceAlignError, match="cannot be read"):
        best.apply(model)
