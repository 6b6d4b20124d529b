"""Values and gradients of several tensors on the backend that runs: TensorFlow or JAX."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from keras_facealign.ops import native

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    AVAILABLE = native.fused(keras.backend.backend())

# For tests of the fused convolution.
needs_fused = pytest.mark.skipif(
    not AVAILABLE,
    reason=f"no native code for {keras.backend.backend()}: a C++ compiler and TensorFlow or JAX",
)

MODES = {"tensorflow": ("eager", "graph", "xla"), "jax": ("eager", "xla")}


def modes() -> tuple[str, ...]:
    """Ways to run a function on this backend."""
    return MODES.get(keras.backend.backend(), ())


def value_and_gradients(
    function: Callable[..., Any],
    tensors: Sequence[np.ndarray],
    upstream: np.ndarray,
    mode: str,
    batched: int = 2,
) -> list[np.ndarray]:
    """[function(*tensors), gradients...] for an upstream gradient, as float64 arrays.

    The first `batched` tensors have a batch axis, which TensorFlow's graphs leave open.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def run(weight: Any, *given: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(given)
                value = function(*given)
            return [value, *tape.gradient(value, given, output_gradients=weight)]

        if mode != "eager":
            given = (upstream, *tensors)
            signature = [
                tf.TensorSpec((None, *t.shape[1:]) if i <= batched else t.shape, t.dtype)
                for i, t in enumerate(given)
            ]
            run = tf.function(
                run, input_signature=signature, autograph=False, jit_compile=mode == "xla"
            )
        results = run(*map(tf.constant, (upstream, *tensors)))
    else:
        import jax

        def run(weight: Any, *given: Any) -> Any:
            value, pull = jax.vjp(function, *given)
            return [value, *pull(weight)]

        if mode == "xla":
            run = jax.jit(run)
        results = run(jax.numpy.asarray(upstream), *map(jax.numpy.asarray, tensors))
    return [np.asarray(keras.ops.convert_to_numpy(r)).astype(np.float64) for r in results]
