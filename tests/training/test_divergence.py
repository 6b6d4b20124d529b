"""A run that diverges ends with an error, before anything of it is saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.training import TerminateOnNonFinite
from tests.models.tiny import JIT, Batches, as_numpy, faces, fix_weights, tiny_model


@pytest.fixture(scope="module")
def model():
    model = fix_weights(tiny_model())
    model.compile(keras.optimizers.Adam(0.25), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def callback(model):
    callback = TerminateOnNonFinite()
    callback.set_model(model)
    callback.on_epoch_begin(2)
    return callback


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_loss_of_a_step(callback, value):
    callback.on_train_batch_end(0, {"loss": 1.0, "nme": np.nan})
    with pytest.raises(FaceAlignError) as error:
        callback.on_train_batch_end(6, {"loss": value, "nme": 1.0})
    words = (
        f"Training diverged: loss is {value} in epoch 3, step 7, learning rate 0.25. Try a lower"
    )
    assert str(error.value).startswith(words)
    for hint in ("global_clipnorm", "--precision float32", "check images and labels"):
        assert hint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_loss_of_validation_alone(callback):
    logs = {"loss": 1.0, "val_loss": 1.0, "val_nme": np.nan}
    callback.on_epoch_end(2, logs)  # nothing could be measured, but all is finite
    for name in ("val_loss", "val_heatmap_loss", "coherent_loss"):
        with pytest.raises(FaceAlignError, match=f"{name} is nan in epoch 3"):
            callback.on_epoch_end(2, {**logs, name: np.nan})


@pytest.mark.parametrize("of", ["weights", "optimizer"])
def test_weights_while_the_loss_is_finite(model, callback, of):
    variable = model.weights[3] if of == "weights" else model.optimizer.variables[-1]
    before = as_numpy(variable).copy()
    variable.assign(np.full(before.shape, np.inf, np.float32))
    try:
        with pytest.raises(FaceAlignError, match=f"{variable.path} is not finite in epoch 3"):
            callback.on_epoch_end(2, {"loss": 1.0})
    finally:
        variable.assign(before)


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.slow
def test_a_rate_that_is_far_too_high_ends_a_plain_fit(tmp_path):
    model = fix_weights(tiny_model())
    model.compile(keras.optimizers.SGD(1e30), jit_compile=JIT)
    path = tmp_path / "last.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(str(path), save_weights_only=True, save_freq=1)
    batches = Batches(*(faces(2, seed) for seed in range(4)))
    # The checkpoint comes first, so that the callback cannot protect it.
    with pytest.raises(FaceAlignError, match="not finite|learning rate 1e[+]30"):
        model.fit(batches, epochs=2, verbose=0, callbacks=[keep, TerminateOnNonFinite()])
    model.compile(keras.optimizers.SGD(1e30), jit_compile=JIT)
    fix_weights(model)
    with pytest.raises(FaceAlignError, match=r"epoch 1, step [234], learning rate 1e[+]30"):
        model.fit(batches, epochs=2, verbose=0, callbacks=[TerminateOnNonFinite()])
    if path.exists():
        model.load_weights(str(path))
        assert all(np.isfinite(as_numpy(v)).all() for v in model.weights)
