"""Training configurations: valid values, old names, and the optimizers that they describe."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.training import TrainingConfig, make_optimizer
from keras_facealign.training.optimizers import SharedScheduleNadam
from tests.models.tiny import as_numpy


def test_names_of_version_0_1_are_accepted():
    with pytest.warns(DeprecationWarning) as caught:
        old = TrainingConfig(**{"clipnorm": 3.0, "average": 0.9})
    assert sorted(str(warning.message).split(";")[0] for warning in caught) == [
        "TrainingConfig: average is now ema_momentum",
        "TrainingConfig: clipnorm is now global_clipnorm",
    ]
    assert old == TrainingConfig(global_clipnorm=3.0, ema_momentum=0.9)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "global_clipnorm"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_values_that_are_not_positive(name, value):
    with pytest.raises(FaceAlignError, match=f"{name} is {value}"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentums_that_are_out_of_range(momentum):
    with pytest.raises(FaceAlignError, match=f"ema_momentum is {momentum}"):
        TrainingConfig(ema_momentum=momentum)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_are_out_of_range(seed):
    with pytest.raises(FaceAlignError, match=f"seed is {seed}"):
        TrainingConfig(seed=seed)


def test_unknown_optimizers():
    with pytest.raises(FaceAlignError, match="'sgd'.*adamw, nadam, shared_nadam"):
        TrainingConfig(optimizer="sgd")


def test_nadams_follow_the_recipe_and_the_rate_of_the_configuration():
    config = TrainingConfig(
        optimizer="shared_nadam", learning_rate=3e-4, compile={"recipe": "insightface_2018"}
    )
    shared = make_optimizer(config, steps=300)
    assert (type(shared), shared.wd) == (SharedScheduleNadam, 5e-4)
    rates = [float(as_numpy(shared._learning_rate(step))) for step in (0, 159, 161, 299)]
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 6e-5, 1.2e-5], rtol=1e-5)
    nadam = make_optimizer(dataclasses.replace(config, optimizer="nadam", compile={}), 300)
    assert isinstance(nadam, keras.optimizers.Nadam)
    with pytest.raises(FaceAlignError, match="'new'.*insightface"):
        make_optimizer(dataclasses.replace(config, compile={"recipe": "new"}), 300)


@pytest.mark.parametrize("warmup", [0, 10])
def test_learning_rate_warms_up_and_falls_to_zero(warmup):
    config = TrainingConfig(
        learning_rate=2e-3, warmup_steps=warmup, weight_decay=1e-2, global_clipnorm=3
    )
    optimizer = make_optimizer(config, steps=200)
    assert (optimizer.get_config()["weight_decay"], optimizer.global_clipnorm) == (1e-2, 3)
    rate = optimizer._learning_rate
    rates = np.array([float(as_numpy(rate(step))) for step in (0, warmup, 100, 199, 200)])
    assert rates[0] == pytest.approx(2e-5 if warmup else 2e-3, rel=1e-3)
    assert rates[1] == pytest.approx(2e-3, rel=1e-3)
    middle = (100 - warmup) / (200 - warmup)
    assert rates[2] == pytest.approx(1e-3 * (1 + np.cos(np.pi * middle)), rel=1e-3)
    assert 0 < rates[3] < 1e-5
    assert rates[4] == pytest.approx(0, abs=1e-9)
    # A short run warms up for a tenth of it.
    short = make_optimizer(TrainingConfig(warmup_steps=300), steps=50)._learning_rate
    assert float(as_numpy(short(5))) == pytest.approx(1e-3, rel=1e-3)
