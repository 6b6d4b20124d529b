"""Which devices and processes share a training batch, and what batches they need."""

from __future__ import annotations

import contextlib
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.replicas import torch_processes

_MIRRORED = ("MirroredStrategy", "MirroredStrategyV1", "OneDeviceStrategy")


def process_place() -> tuple[int, int]:
    """This process's number among those that train together, from 0, and how many they are."""
    if keras.backend.backend() == "torch":
        count = torch_processes()
        if count == 1:
            return 0, 1
        import torch.distributed as dist

        return dist.get_rank(), count
    if keras.backend.backend() == "jax" and keras.distribution.distribution() is not None:
        import jax

        return jax.process_index(), jax.process_count()
    return 0, 1


def device_count(model: Any) -> int:
    """Number of devices, of all processes, that share each of a model's batches."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    if backend == "jax":
        distribution: Any = keras.distribution.distribution()
        if distribution is None:
            return 1
        mesh = distribution.device_mesh
        return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    return torch_processes()


def model_scope(model: Any) -> Any:
    """The context in which variables that belong to a model are made, such as an optimizer's."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()


def build_optimizer(model: Any) -> None:
    """Makes the variables of a compiled model's optimizer, on TensorFlow.

    A function that makes variables is traced twice, and tracing a training step takes longer than
    many of its runs.
    """
    optimizer = getattr(model, "optimizer", None)
    if keras.backend.backend() == "tensorflow" and optimizer is not None and not optimizer.built:
        with model_scope(model):
            optimizer.build(model.trainable_variables)


def check_strategy(model: Any) -> None:
    """Refuses strategies of `tf.distribute` that would train wrongly, or not at all.

    Raises:
        FaceAlignError: If the model was made under one of these; the message says why.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    strategy = model.distribute_strategy
    name = type(strategy).__name__
    if not tf.distribute.has_strategy() and name == "_DefaultDistributionStrategy":
        return
    if name in _MIRRORED or name.startswith("_Default"):
        return
    if "MultiWorker" in name or name.startswith("CollectiveAllReduce"):
        raise FaceAlignError(
            f"This model was made under {name}, with which Keras 3 cannot train: its trainer "
            "fails, also for a model of one Dense layer. For several machines use "
            "KERAS_BACKEND=jax with keras.distribution.DataParallel, or "
            "KERAS_BACKEND=torch with torchrun."
        )
    raise FaceAlignError(
        f"This model was made under {name}, whose training has not been compared with that of one "
        "device; use MirroredStrategy."
    )


def prepare_batches(model: Any, batches: Any) -> None:
    """Lets batches be divided among the devices that share them.

    Args:
        model: The model that they are for.
        batches: What a user passes to `fit`. Batches of `keras_facealign.data` are filled up where
            they cannot be divided; others stay as they are.

    Raises:
        FaceAlignError: If they cannot be divided, or each process would train on the same faces.
    """
    check_strategy(model)
    devices, (index, processes) = device_count(model), process_place()
    # Of arrays in memory every process would take all.
    shard = getattr(batches, "shard", (0, 1) if isinstance(batches, dict) else None)
    if processes > 1 and shard not in (None, (index, processes)):
        raise FaceAlignError(
            f"Process {index} of {processes} got shard {shard} of the faces; give each its own "
            f"part of every batch: FaceBatches(..., shard=({index}, {processes}))."
        )
    divide_by = getattr(batches, "divide_by", None)
    if divide_by is not None and devices > 1:
        divide_by(devices)


def prepare_validation(model: Any, batches: Any) -> bool:
    """Lets validation batches be divided, see `prepare_batches`.

    Returns:
        Whether each process has a part of them. On PyTorch a process may also evaluate all of them
        by itself.
    """
    if torch_processes() > 1 and getattr(batches, "shard", (0, 1)) == (0, 1):
        return False
    prepare_batches(model, batches)
    return process_place()[1] > 1


def same_weights_everywhere(model: Any) -> None:
    """Gives all processes the weights and random state of the first one.

    JAX compares them itself when they are put onto the devices.
    """
    if torch_processes() == 1:
        return
    import torch
    import torch.distributed as dist

    with torch.no_grad():
        for variable in [*model.variables, *model.optimizer.variables]:
            dist.broadcast(variable.value.data, src=0)
