"""Training on the device: faces in its memory, several steps in one compiled call.

`fit` hands every batch to the device and comes back after every step. For a small network on a fast
accelerator that takes longer than the step itself. Here all faces lie in the device's memory, and
one call of a compiled function gathers batches, takes steps and averages the weights; the host says
which faces, and at which learning rate.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_facealign.data.packed import PackedFaces
from keras_facealign.errors import FaceAlignError

__all__ = ["DeviceTrainingLoop", "make_training_loop"]


class DeviceTrainingLoop:
    """Several training steps in one compiled call, and the average of the weights over the steps.

    Args:
        model: A compiled model, its optimizer built.
        faces: What to train on.
        decay: What the average keeps of itself in a step.
        on_device: Whether all faces go to the device at once; else only those of a call.
    """

    def __init__(self, model: Any, faces: PackedFaces, decay: float, on_device: bool) -> None:
        self.model, self.decay = model, decay
        names = ("images", "landmarks", "visibility")
        host = {name.replace("images", "image"): getattr(faces, name) for name in names}
        self._host = None if on_device else host
        self._data = {k: self._to_device(v) for k, v in host.items()} if on_device else None
        self._rate = next(v for v in model.optimizer.variables if v.name == "learning_rate")
        # Weights, and the statistics of batch normalization, which belong to them.
        averaged = [v for v in model.weights if str(v.dtype).startswith("float")]
        # Through NumPy: a variable made of another would be the same on TensorFlow.
        as_numpy = keras.ops.convert_to_numpy
        self.groups: list[list[Any]] = [
            list(model.trainable_variables),
            list(model.non_trainable_variables),
            list(model.optimizer.variables),
            [keras.Variable(as_numpy(v), trainable=False, dtype=v.dtype) for v in averaged],
        ]
        # Group and place of each: weights are trainable or not.
        places = {id(v): (g, i) for g in (0, 1) for i, v in enumerate(self.groups[g])}
        self._places = [places[id(v)] for v in averaged]
        self._setup()

    def run(self, indices: np.ndarray, rates: np.ndarray, first: int) -> dict[str, float]:
        """Takes the steps and returns the means of their metrics.

        Args:
            indices: int32 (n, batch), the faces of each step.
            rates: float32 (n,), the learning rates.
            first: Number of steps before these.
        """
        t = first + np.arange(1, len(rates) + 1)
        keep = np.minimum(self.decay, (1 + t) / (10 + t)).astype(np.float32)
        data = self._data
        if self._host is not None:
            data = {k: self._to_device(v[indices.ravel()]) for k, v in self._host.items()}
            indices = np.arange(indices.size, dtype=np.int32).reshape(indices.shape)
        return self._run(data, indices, rates.astype(np.float32), keep)

    def arrays(self) -> list[np.ndarray]:
        """All state, for a checkpoint."""
        self.sync()
        return [keras.ops.convert_to_numpy(v) for group in self.groups for v in group]

    def restore(self, arrays: list[np.ndarray]) -> None:
        """Sets all state."""
        variables = [v for group in self.groups for v in group]
        if [tuple(v.shape) for v in variables] != [a.shape for a in arrays]:
            raise FaceAlignError("The state is that of another network; delete the run's folder.")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self._setup()

    def swap_average(self) -> None:
        """Exchanges the model's weights and their average; call `sync` before."""
        for (g, i), average in zip(self._places, self.groups[3], strict=True):
            variable = self.groups[g][i]
            aside = keras.ops.copy(variable.value)
            variable.assign(keras.ops.copy(average.value))
            average.assign(aside)

    def _setup(self) -> None:
        """Prepares the compiled call from the variables' values."""
        raise NotImplementedError

    def _to_device(self, array: np.ndarray) -> Any:
        raise NotImplementedError

    def _run(self, data: Any, indices: Any, rates: Any, keep: Any) -> dict[str, float]:
        raise NotImplementedError

    def sync(self) -> None:
        """Brings the variables up to date."""


class _JaxSteps(DeviceTrainingLoop):
    def _setup(self) -> None:
        import jax

        # Copies, because the compiled call takes over the memory of its arguments.
        self._state = [[keras.ops.copy(v.value) for v in group] for group in self.groups]
        self._compiled = getattr(self, "_compiled", None) or jax.jit(self._scan, donate_argnums=0)

    def _to_device(self, array: np.ndarray) -> Any:
        import jax

        return jax.device_put(array)

    def _scan(self, state: Any, data: Any, indices: Any, rates: Any, keep: Any) -> Any:
        import jax
        import jax.numpy as jnp

        rate_place = [v is self._rate for v in self.groups[2]].index(True)
        metrics = [jnp.zeros(v.shape, v.dtype) for v in self.model.metrics_variables]

        def step(carry: Any, drawn: Any) -> Any:
            (trainable, other, optimizer, average), metrics = carry
            chosen, rate, kept = drawn
            batch = {name: jnp.take(array, chosen, axis=0) for name, array in data.items()}
            optimizer = [*optimizer[:rate_place], rate, *optimizer[rate_place + 1 :]]
            logs, (trainable, other, optimizer, metrics) = self.model.train_step(
                (trainable, other, optimizer, metrics), batch
            )
            values = [(trainable, other)[g][i] for g, i in self._places]
            average = [a + (1.0 - kept) * (v - a) for a, v in zip(average, values, strict=True)]
            state = [list(trainable), list(other), list(optimizer), average]
            return (state, list(metrics)), logs

        (state, _), logs = jax.lax.scan(step, (state, metrics), (indices, rates, keep))
        return state, {name: values[-1] for name, values in logs.items()}

    def _run(self, data: Any, indices: Any, rates: Any, keep: Any) -> dict[str, float]:
        self._state, logs = self._compiled(self._state, data, indices, rates, keep)
        return {name: float(value) for name, value in logs.items()}

    def sync(self) -> None:
        for group, values in zip(self.groups, self._state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(keras.ops.copy(value))


class _TensorFlowSteps(DeviceTrainingLoop):
    def _setup(self) -> None:
        import tensorflow as tf

        if hasattr(self, "_compiled"):
            return
        # XLA slows this network down on a CPU.
        jit = bool(tf.config.list_physical_devices("GPU"))
        self._compiled = tf.function(self._loop, jit_compile=jit, reduce_retracing=True)

    def _to_device(self, array: np.ndarray) -> Any:
        import tensorflow as tf

        return tf.constant(array)

    def _loop(self, data: Any, indices: Any, rates: Any, keep: Any) -> None:
        import tensorflow as tf

        for i in tf.range(tf.shape(indices)[0]):
            batch = {name: tf.gather(array, indices[i]) for name, array in data.items()}
            self._rate.assign(rates[i])
            self.model.train_step(batch)
            for (g, place), average in zip(self._places, self.groups[3], strict=True):
                change = self.groups[g][place].value - average.value
                average.assign_add((1.0 - keep[i]) * change)

    def _run(self, data: Any, indices: Any, rates: Any, keep: Any) -> dict[str, float]:
        import tensorflow as tf

        self.model.reset_metrics()
        self._compiled(data, tf.constant(indices), tf.constant(rates), tf.constant(keep))
        return {name: float(v) for name, v in self.model.get_metrics_result().items()}


def make_training_loop(model: Any, faces: PackedFaces, decay: float) -> DeviceTrainingLoop:
    """The steps of the backend that Keras runs on."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        memory = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
        # Half of the memory is the network's.
        on_device = memory is None or 2 * faces.images.nbytes < memory
        return _JaxSteps(model, faces, decay, on_device)
    if backend == "tensorflow":
        return _TensorFlowSteps(model, faces, decay, on_device=True)
    raise FaceAlignError(
        f"KERAS_BACKEND is {backend}; steps on the device run on jax or tensorflow."
    )
