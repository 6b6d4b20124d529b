"""MXNet's Nadam against its own numbers and a slow one; the recipes' learning rates."""

from __future__ import annotations

import os

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.objective import TRAINING_RECIPES
from keras_facealign.training.optimizers import (
    RECIPE_OPTIMIZERS,
    QuickAdamW,
    SharedScheduleNadam,
    adamw,
    recipe_optimizer,
    step_decay,
)
from tests.paths import TESTS

BACKEND = keras.backend.backend()
STORED = TESTS / "data" / "mxnet" / "nadam.npz"


def to_numpy(x):
    return ops.convert_to_numpy(x)


# ---- the rule -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "options"), [("nadam", {}), ("nadam_wd_clip", {"wd": 5e-4, "clip_gradient": 5.0})]
)
def test_weights_go_where_mxnet_took_them(run, options):
    with np.load(STORED) as file:
        stored = dict(file)
    variables = [keras.Variable(stored[f"w0_{i}"]) for i in range(3)]
    optimizer = SharedScheduleNadam(2.5e-4, **options)
    for step in range(8):
        gradients = [ops.convert_to_tensor(stored[f"g_{i}"][step]) for i in range(3)]
        optimizer.apply(gradients, variables)
        for i, variable in enumerate(variables):
            np.testing.assert_allclose(
                to_numpy(variable), stored[f"{run}_w_{i}"][step], rtol=0, atol=3e-7
            )
        schedule = float(to_numpy(optimizer.variables[-1]))
        assert schedule == pytest.approx(stored[f"{run}_m_schedule"][3 * step + 2], rel=1e-5)


def slow_nadam(values, gradients, lr, beta_1, beta_2, eps, decay, rescale, wd, clip):
    """In float64, one array after the other, with the schedule that they share."""
    values = [np.array(v, float) for v in values]
    m, v = [np.zeros_like(x) for x in values], [np.zeros_like(x) for x in values]
    schedule = 1.0
    for t, step in enumerate(gradients, start=1):
        now, then = (beta_1 * (1 - 0.5 * 0.96 ** (s * decay)) for s in (t, t + 1))
        for i, gradient in enumerate(step):
            g = np.clip(np.asarray(gradient, float) * rescale + wd * values[i], -clip, clip)
            schedule *= now
            m[i] = beta_1 * m[i] + (1 - beta_1) * g
            v[i] = beta_2 * v[i] + (1 - beta_2) * g * g
            change = (1 - now) * g / (1 - schedule) + then * m[i] / (1 - schedule * then)
            values[i] -= lr * change / (np.sqrt(v[i] / (1 - beta_2**t)) + eps)
    return values


OPTIONS = {
    "beta_1": 0.8,
    "beta_2": 0.99,
    "epsilon": 1e-3,
    "schedule_decay": 0.5,
    "rescale_gradient": 0.5,
    "wd": 0.1,
    "clip_gradient": 0.7,
}


def a_problem(seed=0, steps=4):
    rng = np.random.default_rng(seed)
    shapes = [(3, 2), (4,), ()]
    values = [rng.normal(size=shape).astype("float32") for shape in shapes]
    gradients = [
        [rng.normal(size=shape).astype("float32") for shape in shapes] for _ in "1" * steps
    ]
    return values, gradients


def test_every_option_against_a_slow_one():
    values, gradients = a_problem()
    expected = slow_nadam(values, gradients, 0.1, *OPTIONS.values())
    variables = [keras.Variable(v) for v in values]
    optimizer = SharedScheduleNadam(0.1, **OPTIONS)
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in step], variables)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(to_numpy(variable), value, atol=2e-6)


def test_arrays_are_updated_in_the_order_given():
    values, gradients = a_problem(1, steps=1)
    found = {}
    for order in ((0, 1, 2), (2, 1, 0)):
        variables = [keras.Variable(v) for v in values]
        SharedScheduleNadam(0.1).apply(
            [ops.convert_to_tensor(gradients[0][i]) for i in order], [variables[i] for i in order]
        )
        found[order] = [to_numpy(v) for v in variables]
    assert np.abs(found[0, 1, 2][0] - found[2, 1, 0][0]).max() > 1e-3


def test_after_the_first_steps_the_correction_is_gone():
    """With many arrays the rule is w -= lr ((1 - mu) g + mu' m) / (sqrt(v') + eps)."""
    variables = [keras.Variable(np.zeros(1, "float32")) for _ in range(60)]
    optimizer = SharedScheduleNadam(1e-3)
    one = ops.ones((1,))
    for _ in range(2):
        optimizer.apply([one] * 60, variables)
    before = float(to_numpy(variables[0])[0])
    optimizer.apply([one] * 60, variables)
    now, then = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * t)) for t in (3, 4))
    expected = 1e-3 * ((1 - now) + then * (1 - 0.9**3))
    assert before - float(to_numpy(variables[0])[0]) == pytest.approx(expected, rel=1e-3)


# ---- as a Keras optimizer -------------------------------------------------------------------


def small_model():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(8, "tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(x))


def data():
    x = np.random.default_rng(2).normal(size=(64, 3)).astype("float32")
    return x, (x[:, :1] - 0.5 * x[:, 1:2] ** 2).astype("float32")


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [
        ("float32", False),
        ("float32", True),
        ("mixed_bfloat16", BACKEND == "jax"),
        ("mixed_float16", BACKEND == "jax"),
    ],
)
def test_trains_a_model(policy, jit_compile):
    if BACKEND == "torch" and jit_compile and "KERAS_FACEALIGN_TORCH_COMPILE" not in os.environ:
        pytest.skip("torch.compile takes minutes; set KERAS_FACEALIGN_TORCH_COMPILE=1 to run it")
    keras.config.set_dtype_policy(policy)
    try:
        model = small_model()
        rate = step_decay(2e-2, [30])
        model.compile(SharedScheduleNadam(rate, wd=1e-5), "mse", jit_compile=jit_compile)
        losses = model.fit(*data(), batch_size=16, epochs=12, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert losses[-1] < 0.25 * losses[0]
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # In half precision the loss scale is found by leaving out steps that overflow.
    assert 46 <= int(to_numpy(optimizer.iterations)) <= 48
    # One multiplication an array: four of them in each step.
    assert 0 <= float(to_numpy(optimizer._schedule)) < 0.55 ** (4 * 40)


def test_saved_model_goes_on_with_its_moments_and_schedule(tmp_path):
    model = small_model()
    model.compile(SharedScheduleNadam(1e-2, **OPTIONS), "mse")
    x, y = data()
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for name, value in OPTIONS.items():
        assert getattr(loaded.optimizer, name) == value
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b), err_msg=a.path)
    for m in (model, loaded):
        m.train_on_batch(x, y)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.0}, "beta_1 is 1.0"),
        ({"beta_2": -0.1}, "beta_2 is -0.1"),
        ({"wd": -1}, "wd is -1"),
        ({"clip_gradient": 0}, "clip_gradient is 0"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(FaceAlignError, match=message):
        SharedScheduleNadam(**options)


# ---- AdamW -----------------------------------------------------------------------------------


def test_takes_the_steps_of_keras():
    shapes = [(3, 4), (4,), ()]
    rng = np.random.default_rng(3)
    start = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    found = []
    for kind in (QuickAdamW, keras.optimizers.AdamW):
        rate = keras.optimizers.schedules.CosineDecay(1e-3, 8, warmup_target=0.1, warmup_steps=3)
        optimizer = kind(rate, weight_decay=0.2, beta_1=0.8, epsilon=1e-4, global_clipnorm=1.0)
        variables = [keras.Variable(value) for value in start]
        rng = np.random.default_rng(4)
        for _ in range(6):
            gradients = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
            optimizer.apply([ops.convert_to_tensor(g) for g in gradients], variables)
        found.append([to_numpy(v) for v in variables])
    for ours, kerass, before in zip(*found, start, strict=True):
        np.testing.assert_allclose(ours, kerass, rtol=1e-6, atol=1e-7)
        assert np.abs(ours - before).max() > 0.01


def test_quick_adamw_is_saved_with_its_decay():
    config = keras.saving.serialize_keras_object(QuickAdamW(0.1, weight_decay=0.3))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, QuickAdamW) and again.decay == 0.3
    with pytest.raises(FaceAlignError, match="weight_decay is -1"):
        QuickAdamW(weight_decay=-1)


def test_adamw_is_the_quickest_of_the_backend():
    optimizer = adamw(1e-3, weight_decay=0.1, global_clipnorm=5.0)
    assert isinstance(optimizer, QuickAdamW) == (BACKEND != "torch")
    assert (optimizer.weight_decay if BACKEND == "torch" else optimizer.decay) == 0.1
    assert optimizer.global_clipnorm == 5.0


# ---- learning rates -------------------------------------------------------------------------


def rates(optimizer, steps):
    return [float(to_numpy(optimizer._learning_rate(step))) for step in steps]


@pytest.mark.parametrize("recipe", ["paper", "insightface", "insightface_2018"])
def test_rate_falls_at_16_and_24_thousand_of_30(recipe):
    found = rates(recipe_optimizer(recipe), (0, 15999, 16001, 23999, 24001, 29999))
    np.testing.assert_allclose(found, [2.5e-4, 2.5e-4, 5e-5, 5e-5, 1e-5, 1e-5], rtol=1e-5)


def test_rate_of_dfa_falls_at_epochs_20_and_35_of_45():
    found = rates(recipe_optimizer("dfa", steps=450), (0, 199, 201, 349, 351, 449))
    np.testing.assert_allclose(found, [1e-4, 1e-4, 2e-5, 2e-5, 4e-6, 4e-6], rtol=1e-5)


def test_recipes_and_their_optimizers():
    assert set(RECIPE_OPTIMIZERS) == set(TRAINING_RECIPES)
    assert isinstance(recipe_optimizer("paper"), keras.optimizers.Nadam)
    old = recipe_optimizer("insightface_2018", learning_rate=1e-3)
    assert (type(old), old.wd, old.clip_gradient) == (SharedScheduleNadam, 5e-4, 5.0)
    assert rates(old, [0]) == [pytest.approx(1e-3)]
    assert isinstance(recipe_optimizer("dfa", shared_schedule=False), keras.optimizers.Nadam)
    plain = recipe_optimizer("paper", shared_schedule=True)
    assert (type(plain), plain.wd, plain.clip_gradient) == (SharedScheduleNadam, 0.0, None)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_runs_of_a_few_steps_have_a_rate(steps):
    found = rates(recipe_optimizer("paper", steps), range(steps + 1))
    assert found[0] == pytest.approx(2.5e-4) and found == sorted(found, reverse=True)


def test_rates_that_cannot_be():
    for call, message in (
        (lambda: recipe_optimizer("paperr"), "'paperr'.*insightface"),
        (lambda: recipe_optimizer(steps=0), "steps is 0"),
        (lambda: recipe_optimizer(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: step_decay(float("nan"), [1]), "learning_rate is nan"),
        (lambda: step_decay(1e-3, [5, 5]), r"drops are \[5, 5\]"),
        (lambda: step_decay(1e-3, [0, 5]), r"drops are \[0, 5\]"),
    ):
        with pytest.raises(FaceAlignError, match=message):
            call()
