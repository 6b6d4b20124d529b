"""The step of a replica clips like Keras's optimizers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models.replica_step import _clipped, _clipping
from tests.models.tiny import as_numpy, as_tensor

GRADIENTS = [np.array([3.0, -4.0]), np.array([[0.1, 12.0]]), np.array([0.5])]


@pytest.mark.parametrize(
    "limit",
    [{"clipnorm": 1.5}, {"global_clipnorm": 2.0}, {"global_clipnorm": 1e3}, {"clipvalue": 0.4}],
)
def test_gradients_are_clipped_as_by_keras(limit):
    optimizer = keras.optimizers.SGD(1.0, **limit)
    assert _clipping(optimizer) == limit
    variables = [keras.Variable(np.zeros(g.shape, "float32")) for g in GRADIENTS]
    optimizer.apply([as_tensor(g) for g in GRADIENTS], variables)
    found = _clipped([as_tensor(GRADIENTS[0]), None, *map(as_tensor, GRADIENTS[1:])], **limit)
    assert found[1] is None
    for gradient, variable in zip((found[0], *found[2:]), variables, strict=True):
        np.testing.assert_allclose(as_numpy(gradient), -as_numpy(variable), rtol=1e-6)


def test_nothing_is_clipped_by_default():
    assert _clipping(keras.optimizers.SGD(1.0)) == {}


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(1.0, clipnorm=1.0, gradient_accumulation_steps=2),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0, clipvalue=1.0)),
    ],
)
def test_what_would_be_clipped_too_early_is_refused(optimizer):
    with pytest.raises(FaceAlignError, match="not supported on several devices"):
        _clipping(optimizer())
