"""Exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError
from keras_facealign.models.finite import first_not_finite
from keras_facealign.training.divergence import ADVICE

_STEPS = "steps"


def momentum_at(momentum: float, step: Any) -> Any:
    """Returns the momentum after `step` steps (number or array), at most (1 + step) / (10 + step).

    The lower momentum of the first steps keeps the initial weights from dominating the average.
    """
    return np.minimum(momentum, (1 + step) / (10 + step))


def update_averages(averages: Iterable[Any], values: Iterable[Any], momentum: Any) -> list[Any]:
    """Returns `momentum * average + (1 - momentum) * value` for each pair of tensors."""
    return [a + (1.0 - momentum) * (v - a) for a, v in zip(averages, values, strict=True)]


def averaged_variables(model: keras.Model) -> list[Any]:
    """Returns a model's floating-point weights, batch normalization's statistics included."""
    return [v for v in model.weights if str(v.dtype).startswith(("float", "bfloat"))]


def keep_better(
    model: Any,
    use_average: Callable[[], None],
    use_last: Callable[[], None],
    held_out: Any,
    average_logs: dict[str, float] | None = None,
) -> tuple[str, dict[str, dict[str, float]]]:
    """Leaves a model with its averaged weights, or the last step's where those validate better.

    They are compared by the NME or, where no face could be measured, by the loss.

    Args:
        model: A compiled model with the weights of the last step.
        use_average: Gives the model its averaged weights.
        use_last: Gives the model the weights of the last step back.
        held_out: Batches to validate on; None keeps the average.
        average_logs: Metrics of the averaged weights, where they are known.

    Returns:
        The weights that were kept, "average" or "last step", and the metrics of both, none without
        validation.
    """
    if held_out is None:
        use_average()
        return "average", {}
    last = model.evaluate(held_out, verbose=0, return_dict=True)
    use_average()
    average = average_logs or model.evaluate(held_out, verbose=0, return_dict=True)
    scores = {
        name: {key: float(value) for key, value in logs.items()}
        for name, logs in (("average", average), ("last step", last))
    }
    measured = all(math.isfinite(logs["nme"]) for logs in scores.values())
    key = "nme" if measured else "loss"
    average_score = scores["average"][key]
    if scores["last step"][key] < average_score or not math.isfinite(average_score):
        use_last()
        return "last step", scores
    return "average", scores


@renamed_arguments(decay="momentum")
class EMAWeights(keras.callbacks.Callback):
    """Averages a model's weights while `fit` trains it, and validates with the average.

    All weights are averaged, including batch normalization's statistics, which must match the other
    weights. (Keras's own `use_ema` averages what the optimizer trains and leaves the statistics
    out.) Training continues from the last step's weights; after it, `apply` puts the average in
    their place.

    Args:
        momentum: Weight of the old average in a step, between 0 and 1; the average spans about
            1 / (1 - momentum) steps. It is lower in the first steps, see `momentum_at`.
        every: Steps between two updates, each of which then counts for that many steps.

    Raises:
        FaceAlignError: If the momentum is not between 0 and 1, or `every` is below 1.

    Example:
        >>> average = EMAWeights(0.999)
        >>> model.fit(batches, epochs=60, callbacks=[average])  # doctest: +SKIP
        >>> average.apply()  # doctest: +SKIP
    """

    def __init__(self, momentum: float, every: int = 8) -> None:
        super().__init__()
        if not 0 < momentum < 1:
            raise FaceAlignError(
                f"momentum is {momentum}; give a number between 0 and 1, such as 0.999."
            )
        if every < 1:
            raise FaceAlignError(f"every is {every}; it must be at least 1.")
        self.momentum = momentum
        self.every = every
        self.steps = 0
        self._average: list[Any] = []
        self._last: list[Any] = []

    def _values(self) -> list[Any]:
        # Copies: JAX reuses the memory of a model's variables in the next step.
        return [ops.copy(ops.stop_gradient(v.value)) for v in averaged_variables(self.model)]

    def on_train_begin(self, logs: Any = None) -> None:
        self._last = []
        if not self._average:
            self._average = self._values()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps % self.every:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        momentum = float(momentum_at(self.momentum, self.steps)) ** self.every
        values = (ops.stop_gradient(v.value) for v in averaged_variables(self.model))
        self._average = update_averages(self._average, values, momentum)

    def on_test_begin(self, logs: Any = None) -> None:
        # Also called by an evaluation outside of training, where there may be no average.
        if self._average and not self._last:
            self.apply()

    def on_test_end(self, logs: Any = None) -> None:
        self.restore()

    def _check(self) -> None:
        """Raises an error if the average is not finite: all later ones would not be either."""
        index = first_not_finite(self._average)
        if index is not None:
            raise FaceAlignError(
                f"The average of {averaged_variables(self.model)[index].path} is not finite after "
                f"{self.steps} steps, so it is neither used nor saved. {ADVICE}"
            )

    def apply(self) -> None:
        """Gives the model the averaged weights; raises `FaceAlignError` if one is not finite."""
        self._check()
        self._last = self._values()
        for variable, value in zip(averaged_variables(self.model), self._average, strict=True):
            variable.assign(ops.copy(value))

    def restore(self) -> None:
        """Gives the model the weights back that it had before `apply`."""
        if self._last:
            for variable, value in zip(averaged_variables(self.model), self._last, strict=True):
                variable.assign(value)
        self._last = []

    def save(self, path: str | Path) -> None:
        """Writes the average and its number of steps as an `.npz` file.

        Raises:
            FaceAlignError: If the average is not finite.
        """
        self._check()
        arrays = {str(i): ops.convert_to_numpy(a) for i, a in enumerate(self._average)}
        # A file object, because savez appends ".npz" to a name with another ending.
        with open(path, "wb") as file:
            np.savez(file, **{_STEPS: np.int64(self.steps)}, **arrays)

    def load(self, path: str | Path, model: keras.Model) -> None:
        """Reads what `save` wrote, to continue a run.

        Args:
            path: The file.
            model: The model whose weights were averaged.

        Raises:
            FaceAlignError: If the file is damaged or holds other weights.
        """
        self.set_model(model)
        variables = averaged_variables(model)
        try:
            with np.load(path, allow_pickle=False) as file:
                steps = int(file[_STEPS])
                arrays = [file[str(i)] for i in range(len(variables))]
        except Exception as error:  # zipfile and NumPy raise errors of every kind on damaged files
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{path} cannot be read ({reason}); start over with restart=True (--restart)."
            ) from error
        for variable, array in zip(variables, arrays, strict=True):
            if tuple(variable.shape) != array.shape:
                raise FaceAlignError(
                    f"{path}: {variable.path} has shape {array.shape} instead of "
                    f"{tuple(variable.shape)}; start over with restart=True (--restart)."
                )
        self.steps = steps
        self._average = [
            ops.convert_to_tensor(array, dtype=v.dtype)
            for array, v in zip(arrays, variables, strict=True)
        ]
