"""Sums over replicas: copies of a network that each train on a part of one batch.

On TensorFlow the replicas are those of `tf.distribute.MirroredStrategy`, on PyTorch the processes
of `torch.distributed` inside `exchange()`. JAX computes one program on all devices, whose sums are
those of the whole batch already. Where there is one replica, every function here returns its
argument, and costs nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

_exchanging = threading.local()


@contextlib.contextmanager
def exchange() -> Iterator[None]:
    """Lets the processes of `torch.distributed` work on one batch; all of them have to enter it.

    A process that computes something for itself, such as a prediction, stays outside of it, and
    waits for nobody.
    """
    before = getattr(_exchanging, "on", False)
    _exchanging.on = True
    try:
        yield
    finally:
        _exchanging.on = before


def torch_processes() -> int:
    """Number of processes that `torch.distributed` has connected; 1 on other backends."""
    if keras.backend.backend() != "torch":
        return 1
    import torch.distributed as dist

    connected = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if connected else 1


def _tensorflow_context() -> Any:
    """The context of one of several replicas on TensorFlow, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return None
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def replica_count() -> int:
    """Number of replicas that work on the current batch."""
    context = _tensorflow_context()
    if context is not None:
        return context.num_replicas_in_sync
    return torch_processes() if getattr(_exchanging, "on", False) else 1


def replica_index() -> Any:
    """Which of the replicas this is, from 0; an integer or a scalar tensor."""
    context = _tensorflow_context()
    if context is not None:
        return context.replica_id_in_sync_group
    if replica_count() == 1:
        return 0
    import torch.distributed as dist

    return dist.get_rank()


def all_sum(value: Any) -> Any:
    """Adds the values of all replicas.

    Args:
        value: A tensor, of one shape on all replicas.

    Returns:
        The sum, the same on all replicas. Gradients pass: that of the sum of all replicas' losses.

    Example:
        >>> float(all_sum(ops.array(2.0)))  # one replica
        2.0
    """
    if replica_count() == 1:
        return value
    value = ops.convert_to_tensor(value)
    context = _tensorflow_context()
    if context is not None:
        import tensorflow as tf

        return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
    return _torch_sum()(value)


def all_gather(value: Any) -> Any:
    """Joins the rows of all replicas, in their order; passes no gradient.

    Args:
        value: (B, ...), of one shape on all replicas.

    Returns:
        (replicas * B, ...).
    """
    if replica_count() == 1:
        return value
    value = ops.stop_gradient(ops.convert_to_tensor(value))
    context = _tensorflow_context()
    if context is not None:
        return context.all_gather(value, axis=0)
    import torch
    import torch.distributed as dist

    value = value.contiguous()
    parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, value)
    return torch.cat(parts)


def sum_gradients(gradients: list[Any]) -> list[Any]:
    """Adds the gradients of all replicas, in one exchange.

    Args:
        gradients: One for each variable; None where there is none, on all replicas alike.

    Returns:
        The sums, in the same order.
    """
    if replica_count() == 1:
        return gradients
    given = [g for g in gradients if g is not None]
    context = _tensorflow_context()
    if context is not None:
        import tensorflow as tf

        sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, given))
    else:
        import torch
        import torch.distributed as dist

        flat = torch.cat([g.reshape(-1).to(torch.float32) for g in given])
        dist.all_reduce(flat)
        parts = flat.split([g.numel() for g in given])
        sums = iter([p.view_as(g).to(g.dtype) for p, g in zip(parts, given, strict=True)])
    return [None if g is None else next(sums) for g in gradients]


_torch_function: list[Any] = []


def _torch_sum() -> Any:
    """The function for `all_sum` on PyTorch, made where PyTorch is there."""
    if not _torch_function:
        import torch
        import torch.distributed as dist

        class Sum(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, value: Any) -> Any:
                total = value.clone(memory_format=torch.contiguous_format)
                dist.all_reduce(total)
                return total

            @staticmethod
            def backward(ctx: Any, *gradients: Any) -> Any:
                # Every replica's loss depends on this replica's value through the sum.
                total = gradients[0].clone(memory_format=torch.contiguous_format)
                dist.all_reduce(total)
                return total

        _torch_function.append(Sum.apply)
    return _torch_function[0]
