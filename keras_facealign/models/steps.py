"""Training and test steps for each Keras backend over one arithmetic.

A model brings two methods, `training_loss(data)` and `test_loss(data)`, each of which computes a
scalar loss in `keras.ops` and updates the metrics; and `validation_logs()`, which says what of the
metrics a validation step reports. What differs between the backends is only how gradients are taken
and where state lives, and that is all this file is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

__all__ = ["BackendSteps"]


class BackendSteps:
    """Mix-in for `keras.Model` that supplies `train_step` and `test_step`."""

    def training_loss(self, data: Any) -> Any:
        """Runs a training batch and updates the metrics; returns the scalar loss."""
        raise NotImplementedError

    def test_loss(self, data: Any) -> Any:
        """Runs a validation batch and updates the metrics; returns the scalar loss."""
        raise NotImplementedError

    def validation_logs(self) -> dict[str, Any]:
        """The metrics that a validation step reports, by name."""
        raise NotImplementedError

    def train_step(self, *args: Any) -> Any:
        """One optimizer step: `(data)` on TensorFlow and PyTorch, `(state, data)` on JAX."""
        return _STEPS[keras.backend.backend()][0](self, *args)

    def test_step(self, *args: Any) -> Any:
        """One validation step: `(data)` on TensorFlow and PyTorch, `(state, data)` on JAX."""
        return _STEPS[keras.backend.backend()][1](self, *args)


def _tensorflow_train_step(model: Any, data: Any) -> dict[str, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = model.training_loss(data)
        scaled = model.optimizer.scale_loss(loss)
    variables = model.trainable_weights
    model.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
    return model.get_metrics_result()


def _torch_train_step(model: Any, data: Any) -> dict[str, Any]:
    import torch

    model.zero_grad()
    loss = model.training_loss(data)
    model.optimizer.scale_loss(loss).backward()
    variables = model.trainable_weights
    gradients = [v.value.grad for v in variables]
    with torch.no_grad():
        model.optimizer.apply(gradients, variables)
    return model.get_metrics_result()


def _stateful_test_step(model: Any, data: Any) -> dict[str, Any]:
    model.test_loss(data)
    return model.validation_logs()


def _stateless(model: Any, function: Callable[[], Any], groups: list[tuple[Any, Any]]) -> Any:
    """Runs a function with variables set to given values; returns its result and a reader."""
    mapping = [pair for variables, values in groups for pair in zip(variables, values, strict=True)]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        result = function()

    def current(variables: Any) -> list[Any]:
        return [_current_value(scope, v) for v in variables]

    return result, current


def _current_value(scope: Any, variable: Any) -> Any:
    value = scope.get_current_value(variable)
    return variable.value if value is None else value


def _jax_train_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    import jax

    trainable, non_trainable, optimizer_state, metrics = state

    def loss_of(values: Any) -> tuple[Any, Any]:
        def run() -> tuple[Any, Any]:
            loss = model.training_loss(data)
            return model.optimizer.scale_loss(loss), model.get_metrics_result()

        (loss, logs), current = _stateless(
            model,
            run,
            [
                (model.trainable_variables, values),
                (model.non_trainable_variables, non_trainable),
                (model.optimizer.variables, optimizer_state),
                (model.metrics_variables, metrics),
            ],
        )
        return loss, (
            logs,
            current(model.non_trainable_variables),
            current(model.metrics_variables),
        )

    gradients, (logs, non_trainable, metrics) = jax.grad(loss_of, has_aux=True)(trainable)
    trainable, optimizer_state = model.optimizer.stateless_apply(
        optimizer_state, gradients, trainable
    )
    return logs, (trainable, non_trainable, optimizer_state, metrics)


def _jax_test_step(model: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    trainable, non_trainable, metrics = state

    def run() -> Any:
        model.test_loss(data)
        return model.validation_logs()

    logs, current = _stateless(
        model,
        run,
        [
            (model.trainable_variables, trainable),
            (model.non_trainable_variables, non_trainable),
            (model.metrics_variables, metrics),
        ],
    )
    return logs, (
        trainable,
        current(model.non_trainable_variables),
        current(model.metrics_variables),
    )


_STEPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "tensorflow": (_tensorflow_train_step, _stateful_test_step),
    "torch": (_torch_train_step, _stateful_test_step),
    "jax": (_jax_train_step, _jax_test_step),
}
