"""Chooses between float32 and bfloat16 by a short measurement."""

from __future__ import annotations

import statistics
import time
from typing import Any

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError

PRECISIONS = ("float32", "mixed_bfloat16")

# bfloat16 has about three digits; a gain within the noise of the measurement is not worth it.
_LEAST_GAIN = 1.1
# A CPU without bfloat16 takes 15 times as long with it: one step is enough to know.
_CLEAR = 4.0
_BATCH = 4


def choose_precision(precision: str, map_size: int = 32, filters: int = 128) -> str:
    """Returns the dtype policy to train with.

    Args:
        precision: One of `PRECISIONS`, which is returned unchanged; or "auto": mixed_bfloat16 if it
            makes training steps at least 10 % faster, else float32. CPUs with AMX or AVX512_BF16
            and GPUs are faster; others convert every operand and are slower.
        map_size: Side in pixels of most of the network's feature maps.
        filters: Channels of these maps.

    Returns:
        A name for `keras.mixed_precision.set_global_policy`.

    Raises:
        FaceAlignError: If the name is unknown.

    Example:
        >>> choose_precision("float32")
        'float32'
    """
    if precision in PRECISIONS:
        return precision
    if precision != "auto":
        raise FaceAlignError(
            f"Unknown precision {precision!r}; choose one of: auto, {', '.join(PRECISIONS)}."
        )
    seconds = measure_precisions(map_size, filters)
    faster = seconds["float32"] > _LEAST_GAIN * seconds["mixed_bfloat16"]
    return "mixed_bfloat16" if faster else "float32"


def measure_precisions(map_size: int, filters: int, rounds: int = 5) -> dict[str, float]:
    """Times training steps of a few convolutions with batch norm in each precision.

    Args:
        map_size: Side of the maps in pixels.
        filters: Channels of the maps.
        rounds: Steps of each that are timed, in turn; fewer if one takes over four times as long.

    Returns:
        Median seconds of a step, by the keys `PRECISIONS`.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_BATCH, map_size, map_size, filters)).astype(np.float32)
    models = {policy: _model(policy, x.shape[1:]) for policy in PRECISIONS}
    for model in models.values():
        model.train_on_batch(x, x)  # compiles
        model.train_on_batch(x, x)
    times: dict[str, list[float]] = {policy: [] for policy in PRECISIONS}
    for _ in range(rounds):
        for policy, model in models.items():
            started = time.perf_counter()
            model.train_on_batch(x, x)
            times[policy].append(time.perf_counter() - started)
        latest = [values[-1] for values in times.values()]
        if max(latest) > _CLEAR * min(latest):
            break
    return {policy: statistics.median(values) for policy, values in times.items()}


def _model(policy: str, shape: tuple[int, ...]) -> Any:
    from keras_facealign.layers import ConvBatchNorm

    # Explicit names, so that this does not change the automatic names of later layers.
    inputs = keras.Input(shape, name="maps")
    y = inputs
    for i in range(3):
        y = ConvBatchNorm(shape[-1], name=f"unit{i}", dtype=policy)(y)
    model = keras.Model(inputs, y, name=f"measured_in_{policy}")
    # XLA on TensorFlow's CPU makes these networks slower.
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(keras.optimizers.SGD(0.0), "mean_squared_error", jit_compile=jit)
    return model
