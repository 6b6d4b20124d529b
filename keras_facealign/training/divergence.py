"""Ends a training run that has diverged, before it spoils what was saved."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.models.finite import first_not_finite

ADVICE = (
    "Try a lower learning rate, stronger gradient clipping (global_clipnorm) or float32 "
    "(--precision float32), and check images and labels."
)


def diverged(what: str, where: str, learning_rate: Any) -> FaceAlignError:
    """Makes the error for a run that has diverged.

    Args:
        what: What is not finite, and its value.
        where: Epoch and step.
        learning_rate: The rate of that step.
    """
    rate = f"{float(learning_rate):.3g}"
    return FaceAlignError(f"Training diverged: {what} {where}, learning rate {rate}. {ADVICE}")


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Ends `fit` with an error when loss or weights become NaN or infinite.

    The loss is checked after each step, and losses of validation, weights and the optimizer's state
    after each epoch. Give it before callbacks that save the model: nothing is saved of an epoch
    that ends in the error. Other metrics may be NaN, as the NME is where no face could be measured.

    Raises:
        FaceAlignError: With epoch, step, learning rate, and what to try.

    Example:
        >>> model.fit(faces, callbacks=[TerminateOnNonFinite()])  # doctest: +SKIP
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0
        self._step = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step = batch
        # A mean over the epoch so far, so that a single step is enough to show.
        self._check_losses({"loss": (logs or {}).get("loss", 0.0)})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_losses({k: v for k, v in (logs or {}).items() if k.endswith("loss")})
        optimizer = self.model.optimizer
        variables = [*self.model.weights, *optimizer.variables]
        index = first_not_finite(v.value for v in variables)
        if index is not None:
            raise self._error(f"{variables[index].path} is not finite")

    def _check_losses(self, losses: dict[str, Any]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise self._error(f"{name} is {float(value)}")

    def _error(self, what: str) -> FaceAlignError:
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # during an epoch, JAX holds the optimizer's state
        where = f"in epoch {self._epoch + 1}, step {self._step + 1}"
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        return diverged(what, where, rate)
