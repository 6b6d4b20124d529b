"""Steps of a model whose replicas share a batch, on TensorFlow and PyTorch.

Keras's own steps clip the gradients before they are added, and on PyTorch know of no other process.
JAX needs no steps of its own.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops.replicas import all_gather, all_sum, replica_count, sum_gradients

_TERMS = ("loss", "heatmap_loss", "landmark_loss", "coherent_loss")


def replica_train_step(model: Any, batch: dict[str, Any]) -> Any:
    """Takes a step with the gradient of all replicas' losses together.

    Args:
        model: A `TrainingStep`, compiled.
        batch: This replica's part of the batch.

    Returns:
        What `compute_metrics` returns.
    """
    if keras.backend.backend() == "tensorflow":
        outputs = _tensorflow_step(model, batch)
    else:
        outputs = _torch_step(model, batch)
    return _logs(model, batch, outputs)


def replica_test_step(model: Any, batch: dict[str, Any]) -> Any:
    """Evaluates a batch of which every replica has a part; see `replica_train_step`."""
    return _logs(model, batch, model(batch, training=False))


def _tensorflow_step(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(batch, training=True)
        loss = model.compute_loss(x=batch, y_pred=outputs)
        loss = model.optimizer.scale_loss(loss)
    variables = model.trainable_weights
    gradients = tape.gradient(loss, variables)
    if clips := _clipping(model.optimizer):
        # The optimizer clips what a replica has, and adds the replicas' results: here the sum is
        # clipped, and each gives its share of it.
        gradients = _clipped(sum_gradients(gradients), **clips)
        share = 1.0 / replica_count()
        gradients = [None if g is None else g * share for g in gradients]
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return outputs


def _torch_step(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    import torch

    outputs = model(batch, training=True)
    model.zero_grad()
    loss = model.compute_loss(x=batch, y_pred=outputs)
    model.optimizer.scale_loss(loss).backward()
    variables = model.trainable_weights
    gradients = sum_gradients([v.value.grad for v in variables])
    with torch.no_grad():
        model.optimizer.apply(gradients, variables)
    return outputs


def _logs(model: Any, batch: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """Updates the metrics with the results of all replicas."""
    names = [name for name in _TERMS if name in outputs]
    terms = ops.stack([ops.stop_gradient(ops.cast(outputs[name], "float32")) for name in names])
    sums = all_sum(terms)
    shared = {**outputs, **{name: sums[i] for i, name in enumerate(names)}}
    if keras.backend.backend() == "torch":
        # Metrics on TensorFlow add the replicas' themselves.
        shared = {k: v if k in names else all_gather(v) for k, v in shared.items()}
    count = ops.cast(ops.shape(shared["predicted"])[0], "float32")
    model._loss_tracker.update_state(shared["loss"], sample_weight=count)
    return model.compute_metrics(batch, None, shared)


def _clipping(optimizer: Any) -> dict[str, float]:
    """How an optimizer clips gradients, as keyword arguments of `_clipped`."""
    inner = getattr(optimizer, "inner_optimizer", None)
    names = ("clipnorm", "global_clipnorm", "clipvalue")
    given = {name: getattr(inner or optimizer, name, None) for name in names}
    clips = {name: float(value) for name, value in given.items() if value is not None}
    steps = getattr(inner or optimizer, "gradient_accumulation_steps", None)
    if clips and (inner is not None or steps):
        raise FaceAlignError(
            f"The optimizer clips gradients ({next(iter(clips))}) and scales the loss or "
            "accumulates gradients, which is not supported on several devices; leave one of them "
            "out (mixed_bfloat16 needs no scale)."
        )
    return clips


def _clipped(
    gradients: list[Any],
    clipnorm: float | None = None,
    global_clipnorm: float | None = None,
    clipvalue: float | None = None,
) -> list[Any]:
    """Clips gradients as Keras's optimizers do, by the first of the limits that is given."""
    if clipnorm is None and global_clipnorm is not None:
        squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients if g is not None]
        norm = ops.sqrt(ops.sum(ops.stack(squares)))
        scale = global_clipnorm / ops.maximum(norm, global_clipnorm)

    def clip(gradient: Any) -> Any:
        if clipnorm is not None:
            norm = ops.sqrt(ops.sum(ops.square(gradient)))
            return gradient * (clipnorm / ops.maximum(norm, clipnorm))
        if global_clipnorm is not None:
            return gradient * ops.cast(scale, gradient.dtype)
        limit: Any = clipvalue
        return ops.clip(gradient, -limit, limit)

    return [None if g is None else clip(g) for g in gradients]
