"""The moving average of a model's weights, which often is a better model than the last step's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_facealign.errors import FaceAlignError

__all__ = ["EMAWeights"]

_STEPS = "steps"


class EMAWeights(keras.callbacks.Callback):
    """Averages a model's weights while `fit` trains it, and validates with the average.

    All weights are averaged, the statistics of batch normalization among them: those of the last
    steps belong to other weights than the average. (Keras's own `use_ema` averages what the
    optimizer trains, and leaves the statistics behind.) Training goes on from the last step's
    weights, untouched; after it, `apply` puts the average in their place.

    Early on the average forgets faster: after t steps it keeps at most (1 + t) / (10 + t) of itself
    in a step, so that it does not drag the initial weights along.

    Args:
        decay: What the average keeps of itself in a step, 0 to 1; it looks about 1 / (1 - decay)
            steps back.
        every: Steps between two updates, each of which then counts for that many steps.

    Raises:
        FaceAlignError: If the decay is not between 0 and 1, or `every` is below 1.

    Example:
        >>> average = EMAWeights(0.999)
        >>> model.fit(batches, epochs=60, callbacks=[average])  # doctest: +SKIP
        >>> average.apply()  # doctest: +SKIP
    """

    def __init__(self, decay: float, every: int = 8) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise FaceAlignError(f"decay is {decay}; give a number between 0 and 1, such as 0.999.")
        if every < 1:
            raise FaceAlignError(f"every is {every}; it must be at least 1.")
        self.decay = decay
        self.every = every
        self.steps = 0
        self._average: list[Any] = []
        self._aside: list[Any] = []

    def _variables(self) -> list[Any]:
        return [v for v in self.model.weights if str(v.dtype).startswith(("float", "bfloat"))]

    def _values(self) -> list[Any]:
        # Copies: JAX hands the memory of a model's variables over to the next step.
        return [ops.copy(ops.stop_gradient(v.value)) for v in self._variables()]

    def on_train_begin(self, logs: Any = None) -> None:
        if not self._average:
            self._average = self._values()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps % self.every:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps)) ** self.every
        self._average = [
            average + (1.0 - kept) * (ops.stop_gradient(v.value) - average)
            for average, v in zip(self._average, self._variables(), strict=True)
        ]

    def on_test_begin(self, logs: Any = None) -> None:
        # Also called by an evaluation that has nothing to do with a training run.
        if self._average and not self._aside:
            self._aside = self._values()
            self.apply()

    def on_test_end(self, logs: Any = None) -> None:
        for variable, value in zip(self._variables(), self._aside, strict=False):
            variable.assign(value)
        self._aside = []

    def apply(self) -> None:
        """Gives the model the averaged weights."""
        for variable, value in zip(self._variables(), self._average, strict=True):
            variable.assign(ops.copy(value))

    def save(self, path: str | Path) -> None:
        """Writes the average and its number of steps as a file of NumPy's, `.npz`."""
        arrays = {str(i): ops.convert_to_numpy(a) for i, a in enumerate(self._average)}
        # A handle, because savez adds an ending to a name that has another one.
        with open(path, "wb") as file:
            np.savez(file, **{_STEPS: np.int64(self.steps)}, **arrays)

    def load(self, path: str | Path, model: keras.Model) -> None:
        """Reads what `save` wrote, for a run that goes on.

        Args:
            path: The file.
            model: The model whose weights were averaged.

        Raises:
            FaceAlignError: If the file is damaged or holds other weights.
        """
        self.set_model(model)
        variables = self._variables()
        try:
            with np.load(path, allow_pickle=False) as file:
                steps = int(file[_STEPS])
                arrays = [file[str(i)] for i in range(len(variables))]
        except Exception as error:  # zipfile and NumPy meet damage with errors of every kind
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{path} cannot be read ({reason}); delete the run's folder to start anew."
            ) from error
        for variable, array in zip(variables, arrays, strict=True):
            if tuple(variable.shape) != array.shape:
                raise FaceAlignError(
                    f"{path}: {variable.path} has shape {array.shape} instead of "
                    f"{tuple(variable.shape)}; delete the run's folder to start anew."
                )
        self.steps = steps
        self._average = [
            ops.convert_to_tensor(array, dtype=v.dtype)
            for array, v in zip(arrays, variables, strict=True)
        ]
