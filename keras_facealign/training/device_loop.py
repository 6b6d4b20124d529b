"""Training loop on the device: faces in its memory, several steps in one compiled call.

`fit` sends every batch to the device and returns to Python after every step. For a small network on
a fast accelerator that takes longer than the step itself. Here all faces lie in the device's
memory, and one call of a compiled function gathers batches, takes steps and averages the weights;
the host only gives the faces' indices and the learning rates.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.data.packed import PackedFaces
from keras_facealign.errors import FaceAlignError
from keras_facealign.models.finite import first_not_finite
from keras_facealign.training.divergence import ADVICE, diverged
from keras_facealign.training.ema import averaged_variables, momentum_at, update_averages


class DeviceTrainingLoop:
    """Takes several training steps in one compiled call, and averages the weights over the steps.

    Args:
        model: A compiled model, its optimizer built.
        faces: Training faces.
        momentum: Momentum of the weights' average per step, see `EMAWeights`.
        on_device: Whether all faces go to the device at once; else those of each call.
    """

    def __init__(self, model: Any, faces: PackedFaces, momentum: float, on_device: bool) -> None:
        self.model, self.momentum = model, momentum
        names = ("images", "landmarks", "visibility")
        host = {name.replace("images", "image"): getattr(faces, name) for name in names}
        self._host = None if on_device else host
        self._data = {k: self._to_device(v) for k, v in host.items()} if on_device else None
        self._rate = next(v for v in model.optimizer.variables if v.name == "learning_rate")
        averaged = averaged_variables(model)
        # Through NumPy: on TensorFlow, a variable made from another one shares its memory.
        as_numpy = keras.ops.convert_to_numpy
        self.groups: list[list[Any]] = [
            list(model.trainable_variables),
            list(model.non_trainable_variables),
            list(model.optimizer.variables),
            [keras.Variable(as_numpy(v), trainable=False, dtype=v.dtype) for v in averaged],
        ]
        # Group (trainable or not) and index in it of each averaged variable.
        places = {id(v): (g, i) for g in (0, 1) for i, v in enumerate(self.groups[g])}
        self._places = [places[id(v)] for v in averaged]
        self._setup()

    def run(self, indices: np.ndarray, rates: np.ndarray, first: int) -> dict[str, float]:
        """Takes n steps.

        Args:
            indices: int32 (n, batch), the faces of each step.
            rates: float32 (n,), the learning rates.
            first: Number of steps before these.

        Returns:
            The mean of each metric over the steps.

        Raises:
            FaceAlignError: If the loss is no longer finite; the state is lost then, but not its
                last checkpoint.
        """
        steps = first + np.arange(1, len(rates) + 1)
        momentum = momentum_at(self.momentum, steps).astype(np.float32)
        data = self._data
        if self._host is not None:
            data = {k: self._to_device(v[indices.ravel()]) for k, v in self._host.items()}
            indices = np.arange(indices.size, dtype=np.int32).reshape(indices.shape)
        logs = self._run(data, indices, rates.astype(np.float32), momentum)
        if not math.isfinite(logs["loss"]):
            raise diverged(f"the loss is {logs['loss']}", f"by step {steps[-1]}", rates[-1])
        return logs

    def arrays(self) -> list[np.ndarray]:
        """Returns all state as NumPy arrays, for a checkpoint.

        Raises:
            FaceAlignError: If a number is not finite.
        """
        self.sync()
        variables = [v for group in self.groups for v in group]
        arrays = [keras.ops.convert_to_numpy(v) for v in variables]
        index = first_not_finite(arrays)
        if index is not None:
            raise FaceAlignError(
                f"{variables[index].path} is not finite, so there is no checkpoint of it. {ADVICE}"
            )
        return arrays

    def restore(self, arrays: list[np.ndarray]) -> None:
        """Sets all state to what `arrays` returned; raises `FaceAlignError` if it does not fit."""
        variables = [v for group in self.groups for v in group]
        if [tuple(v.shape) for v in variables] != [a.shape for a in arrays]:
            raise FaceAlignError("The checkpoint is of another network; delete it to start over.")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self._setup()

    def swap_average(self) -> None:
        """Exchanges the model's weights and their average; call `sync` before."""
        for (g, i), average in zip(self._places, self.groups[3], strict=True):
            variable = self.groups[g][i]
            value = keras.ops.copy(variable.value)
            variable.assign(keras.ops.copy(average.value))
            average.assign(value)

    def _setup(self) -> None:
        """Prepares the compiled call from the variables' values."""
        raise NotImplementedError

    def _to_device(self, array: np.ndarray) -> Any:
        raise NotImplementedError

    def _run(self, data: Any, indices: Any, rates: Any, momentum: Any) -> dict[str, float]:
        raise NotImplementedError

    def sync(self) -> None:
        """Writes the state of the compiled call into the model's variables."""


class _JaxLoop(DeviceTrainingLoop):
    def _setup(self) -> None:
        import jax

        # Copies, because the compiled call reuses the memory of its arguments.
        self._state = [[keras.ops.copy(v.value) for v in group] for group in self.groups]
        self._compiled = getattr(self, "_compiled", None) or jax.jit(self._scan, donate_argnums=0)

    def _to_device(self, array: np.ndarray) -> Any:
        import jax

        return jax.device_put(array)

    def _scan(self, state: Any, data: Any, indices: Any, rates: Any, momentum: Any) -> Any:
        import jax
        import jax.numpy as jnp

        rate_index = [v is self._rate for v in self.groups[2]].index(True)
        metrics = [jnp.zeros(v.shape, v.dtype) for v in self.model.metrics_variables]

        def step(carry: Any, inputs: Any) -> Any:
            (trainable, other, optimizer, average), metrics = carry
            chosen, rate, step_momentum = inputs
            batch = {name: jnp.take(array, chosen, axis=0) for name, array in data.items()}
            optimizer = [*optimizer[:rate_index], rate, *optimizer[rate_index + 1 :]]
            logs, (trainable, other, optimizer, metrics) = self.model.train_step(
                (trainable, other, optimizer, metrics), batch
            )
            values = [(trainable, other)[g][i] for g, i in self._places]
            average = update_averages(average, values, step_momentum)
            state = [list(trainable), list(other), list(optimizer), average]
            return (state, list(metrics)), logs

        (state, _), logs = jax.lax.scan(step, (state, metrics), (indices, rates, momentum))
        return state, {name: values[-1] for name, values in logs.items()}

    def _run(self, data: Any, indices: Any, rates: Any, momentum: Any) -> dict[str, float]:
        self._state, logs = self._compiled(self._state, data, indices, rates, momentum)
        return {name: float(value) for name, value in logs.items()}

    def sync(self) -> None:
        for group, values in zip(self.groups, self._state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(keras.ops.copy(value))


class _TensorFlowLoop(DeviceTrainingLoop):
    def _setup(self) -> None:
        import tensorflow as tf

        if hasattr(self, "_compiled"):
            return
        # On a CPU, XLA makes the step slower.
        jit = bool(tf.config.list_physical_devices("GPU"))
        self._compiled = tf.function(self._loop, jit_compile=jit, reduce_retracing=True)

    def _to_device(self, array: np.ndarray) -> Any:
        import tensorflow as tf

        return tf.constant(array)

    def _loop(self, data: Any, indices: Any, rates: Any, momentum: Any) -> None:
        import tensorflow as tf

        # Of all that is called, the loop alone has control flow that depends on tensors.
        step = tf.autograph.experimental.do_not_convert(self._step)
        for i in tf.range(tf.shape(indices)[0]):
            step(data, indices[i], rates[i], momentum[i])

    def _step(self, data: Any, indices: Any, rate: Any, momentum: Any) -> None:
        import tensorflow as tf

        batch = {name: tf.gather(array, indices) for name, array in data.items()}
        self._rate.assign(rate)
        self.model.train_step(batch)
        values = (self.groups[g][place].value for g, place in self._places)
        averages = (average.value for average in self.groups[3])
        updated = update_averages(averages, values, momentum)
        for average, value in zip(self.groups[3], updated, strict=True):
            average.assign(value)

    def _run(self, data: Any, indices: Any, rates: Any, momentum: Any) -> dict[str, float]:
        import tensorflow as tf

        self.model.reset_metrics()
        self._compiled(data, tf.constant(indices), tf.constant(rates), tf.constant(momentum))
        return {name: float(v) for name, v in self.model.get_metrics_result().items()}


@renamed_arguments(decay="momentum")
def make_training_loop(model: Any, faces: PackedFaces, momentum: float) -> DeviceTrainingLoop:
    """Makes the training loop for the backend that Keras runs on.

    Args:
        model: A compiled model, its optimizer built.
        faces: Training faces; on JAX they stay on the host where they fill half of the memory.
        momentum: Momentum of the weights' average per step, see `EMAWeights`.

    Raises:
        FaceAlignError: If the backend is neither JAX nor TensorFlow.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _TensorFlowLoop(model, faces, momentum, on_device=True)
    if backend != "jax":
        raise FaceAlignError(
            f"KERAS_BACKEND is {backend}; training on the device needs jax or tensorflow."
        )
    import jax

    memory = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    # The other half of the memory is left to the network.
    on_device = memory is None or 2 * faces.images.nbytes < memory
    return _JaxLoop(model, faces, momentum, on_device)
