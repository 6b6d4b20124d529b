"""Exact batch-norm statistics after training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_facealign.models.face_align_model import FaceAlignModel

__all__ = ["recompute_batch_norm"]


def recompute_batch_norm(model: FaceAlignModel, batches: Iterable[dict[str, Any]]) -> None:
    """Replaces batch norm's moving averages by averages over a whole data set.

    With the original's momentum of 0.9, the statistics that training leaves behind come from the
    last twenty-odd batches, and are as noisy; and they are those of augmented views, while the
    network will see upright faces. Here each layer's mean and variance become those of the faces
    that are given, centred and not augmented. Source: Wu and Johnson, Rethinking "Batch" in
    BatchNorm (2021), section 3.

    Args:
        model: The trained model, changed in place.
        batches: Training batches, see `FaceAlignModel`.

    Example:
        >>> recompute_batch_norm(model, FaceBatches(examples, 32))  # doctest: +SKIP
    """
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in layers]
    try:
        for count, batch in enumerate(batches):
            # With this momentum the moving average after n batches is their plain mean.
            for layer in layers:
                layer.momentum = count / (count + 1)
            number = len(batch["image"])
            centring = model.augmentation.centring(int(batch["image"].shape[1]))
            view = model.augmentation.view(batch, centring, np.zeros(number, "float32"))
            model(view.images, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
