"""Averaged weights: their definition, their file, and the choice between them and the last ones."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.data.batches import FaceBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.training.ema import EMAWeights, keep_better
from tests.models.tiny import SIZE, as_numpy, fix_weights, tiny_model
from tests.training.test_run import examples


class Note(keras.callbacks.Callback):
    """Keeps the weights after every step, and those that validation sees."""

    def __init__(self):
        super().__init__()
        self.steps, self.judged = [], []

    def weights(self):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        return [as_numpy(v).copy() for v in self.model.weights]

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self.weights())

    def on_test_begin(self, logs=None):
        self.judged.append(self.weights())


def averages(start, steps, momentum, every):
    """The moving average after every step, by its definition."""
    average, found = [w.astype(np.float64) for w in start], []
    for t, weights in enumerate(steps, 1):
        if t % every == 0:
            kept = min(momentum, (1 + t) / (10 + t)) ** every
            average = [kept * a + (1 - kept) * w for a, w in zip(average, weights, strict=True)]
        found.append(average)
    return found


@pytest.mark.usefixtures("without_graphs")
def test_validation_uses_the_average_and_training_continues_without_it():
    every = 2

    def train(*callbacks):
        keras.utils.set_random_seed(0)
        model = fix_weights(tiny_model())
        model.compile(keras.optimizers.SGD(0.05), jit_compile=False)
        start = [as_numpy(v).copy() for v in model.weights]
        batches = FaceBatches(examples(6), 2, SIZE)
        held_out = FaceBatches(examples(2, seed=9), 2, SIZE)
        model.fit(
            batches, validation_data=held_out, epochs=2, verbose=0, callbacks=[*callbacks],
            shuffle=False,
        )  # fmt: skip
        return model, start

    average, note, plain = EMAWeights(0.6, every), Note(), Note()
    model, start = train(average, note)
    expected = averages(start, note.steps, 0.6, every)
    for judged, wanted in zip(note.judged, (expected[2], expected[5]), strict=True):
        for a, b in zip(judged, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    # The averages are not what the steps left, statistics of batch normalization included.
    moved = [np.abs(a - b).max() for a, b in zip(note.judged[0], note.steps[2], strict=True)]
    assert np.mean(np.array(moved) > 1e-6) > 0.9
    other, _ = train(plain)
    for a, b, last in zip(model.weights, other.weights, note.steps[-1], strict=True):
        np.testing.assert_array_equal(as_numpy(a), last, err_msg=a.path)
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-3, atol=1e-4)
    average.apply()
    for v, wanted in zip(model.weights, expected[-1], strict=True):
        np.testing.assert_allclose(as_numpy(v), wanted, rtol=1e-4, atol=1e-5, err_msg=v.path)


def moved_average(model, change):
    """An average that differs by `change` from the weights that a model has."""
    average = EMAWeights(0.9)
    average.set_model(model)
    values = [as_numpy(v).copy() for v in model.weights]
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value + change)
    average.on_train_begin()
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value)
    return average


@pytest.mark.parametrize("better", ["average", "last step"])
def test_the_better_weights_are_kept(better):
    model = fix_weights(tiny_model())
    model.compile("sgd", jit_compile=False)
    held_out = FaceBatches(examples(2, seed=9), 2, SIZE)
    last = model.evaluate(held_out, verbose=0, return_dict=True)
    before = [as_numpy(v).copy() for v in model.weights]
    claimed = {"nme": last["nme"] + (-1.0 if better == "average" else 1.0)}
    average = moved_average(model, 0.25)
    kept, scores = keep_better(model, average.apply, average.restore, held_out, claimed)
    assert kept == better
    assert scores["average"] == claimed
    assert scores["last step"] == pytest.approx(last)
    change = 0.25 if better == "average" else 0.0
    for v, value in zip(model.weights, before, strict=True):
        np.testing.assert_allclose(as_numpy(v), value + change, rtol=1e-6, err_msg=v.path)


def test_both_weights_are_validated_where_no_metrics_are_given():
    model = fix_weights(tiny_model())
    model.compile("sgd", jit_compile=False)
    held_out = FaceBatches(examples(2, seed=9), 2, SIZE)
    average = moved_average(model, 0.25)
    kept, scores = keep_better(model, average.apply, average.restore, held_out)
    assert kept == min(scores, key=lambda name: scores[name]["nme"])
    found = model.evaluate(held_out, verbose=0, return_dict=True)
    assert found["nme"] == pytest.approx(scores[kept]["nme"])


def test_the_average_is_kept_without_validation():
    model = fix_weights(tiny_model())
    before = as_numpy(model.weights[0]).copy()
    average = moved_average(model, 0.5)
    assert keep_better(model, average.apply, average.restore, None) == ("average", {})
    np.testing.assert_allclose(as_numpy(model.weights[0]), before + 0.5, rtol=1e-6)


def test_broken_averages_are_named(tmp_path):
    model = tiny_model()
    average = moved_average(model, 0.5)
    average.steps = 7
    path = tmp_path / "average.npz"
    average.save(path)
    other = EMAWeights(0.9)
    other.load(path, model)
    assert other.steps == 7
    average.apply()
    wanted = [as_numpy(v).copy() for v in model.weights]
    average.restore()
    other.apply()
    for v, value in zip(model.weights, wanted, strict=True):
        np.testing.assert_array_equal(as_numpy(v), value, err_msg=v.path)
    with pytest.raises(FaceAlignError, match="average.npz"):
        other.load(path, tiny_model(stacks=2))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FaceAlignError, match="average.npz cannot be read.*start over"):
        other.load(path, model)
    for options in ({"momentum": 1.0}, {"momentum": 0.9, "every": 0}):
        with pytest.raises(FaceAlignError, match=f"{list(options)[-1]} is"):
            EMAWeights(**options)


def test_the_name_of_version_0_1_is_accepted():
    with pytest.warns(DeprecationWarning, match="EMAWeights: decay is now momentum"):
        assert EMAWeights(**{"decay": 0.9}).momentum == 0.9


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_average_that_is_not_finite_is_neither_used_nor_saved(tmp_path, value):
    model = fix_weights(tiny_model())
    model.compile("sgd", jit_compile=False)
    average = moved_average(model, 0.5)
    average.save(tmp_path / "average.npz")
    before = (tmp_path / "average.npz").read_bytes()
    weights = [as_numpy(v).copy() for v in model.weights]
    average = moved_average(model, value)
    held_out = FaceBatches(examples(2, seed=9), 2, SIZE)
    for use in (
        average.apply,
        lambda: average.save(tmp_path / "average.npz"),
        lambda: model.evaluate(held_out, verbose=0, callbacks=[average]),
        lambda: keep_better(model, average.apply, average.restore, None),
    ):
        with pytest.raises(FaceAlignError, match="average of .* not finite after .* steps.*lower"):
            use()
        for v, kept in zip(model.weights, weights, strict=True):
            np.testing.assert_array_equal(as_numpy(v), kept)
    assert (tmp_path / "average.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("last", "average", "kept"),
    [
        ({"nme": np.nan, "loss": 2.0}, {"nme": np.nan, "loss": 1.0}, "average"),
        ({"nme": np.nan, "loss": 1.0}, {"nme": np.nan, "loss": 2.0}, "last step"),
        ({"nme": 3.0, "loss": 9.0}, {"nme": 4.0, "loss": 1.0}, "last step"),
        ({"nme": 3.0, "loss": 2.0}, {"nme": np.nan, "loss": np.nan}, "last step"),
        ({"nme": np.nan, "loss": np.nan}, {"nme": 3.0, "loss": 2.0}, "average"),
    ],
)
def test_weights_whose_nme_could_not_be_measured_are_judged_by_the_loss(last, average, kept):
    class Model:
        def evaluate(self, held_out, **options):
            return last

    used = ["last step"]
    found, scores = keep_better(
        Model(), lambda: used.append("average"), lambda: used.append("last step"), object(), average
    )
    assert found == used[-1] == kept and set(scores) == {"average", "last step"}
