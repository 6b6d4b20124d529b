"""Gradients on whichever backend runs."""

import keras
import numpy as np


def gradient(function, x):
    """d function(x) / dx of a scalar function of one float32 array, as NumPy."""
    x = np.asarray(x, np.float32)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = function(variable)
        result = tape.gradient(value, variable)
    elif backend == "jax":
        import jax

        result = jax.grad(function)(x)
    else:
        variable = keras.ops.convert_to_tensor(x)
        variable.requires_grad_(True)
        function(variable).backward()
        result = variable.grad
    return keras.ops.convert_to_numpy(result)


def finite_differences(function, x, indices, step):
    """Central differences of a scalar function at some elements of its argument."""
    result = []
    for index in indices:
        high, low = np.array(x, np.float32), np.array(x, np.float32)
        high[index] += step
        low[index] -= step
        difference = float(function(high)) - float(function(low))
        result.append(difference / (float(high[index]) - float(low[index])))
    return np.array(result)
