"""Trains a network that was given other landmarks: its new heads first, then all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_facealign.models import FaceAlignModel
from keras_facealign.models.transfer import head_layers
from keras_facealign.training.configuration import TrainingConfig
from keras_facealign.training.run import fit

HEADS = "heads"
"""Folder of the first part, inside that of the run."""

HEAD_RATE, HEAD_WARMUP = 0.1, 5
"""Highest learning rate of the first part, and the steps until it is reached.

New landmarks may be far from those that their heads start from, and heads alone, linear in features
that do not change, bear a high rate. See `examples/transfer_table.py`.
"""


def fit_transfer(
    model: FaceAlignModel,
    train: Any,
    validation: Any,
    output: str | Path,
    config: TrainingConfig,
    metadata: dict[str, Any] | None = None,
    *,
    head_epochs: int = 3,
    restart: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Trains a network from `with_landmarks`.

    New heads send gradients without meaning into the trained network. So at first only the heads
    are trained, with everything else as it is, also the statistics of batch normalization; then all
    weights, with the configuration's own learning rate.

    Both parts are runs of `fit`, and can be resumed: the first has a folder of its own inside the
    run's.

    Args:
        model: The model to train.
        train: Training batches, such as `FaceBatches`.
        validation: Batches to validate on, or None.
        output: Folder of the run.
        config: How to train; its epochs are those of the second part.
        metadata: Entries of the preset's `metadata.json`.
        head_epochs: Epochs of the first part; 0 to leave it out.
        restart: Whether to begin again, see `fit`.
        **options: Further arguments of `fit`.

    Returns:
        What `fit` returns for the second part.

    Raises:
        FaceAlignError: As from `fit`.
    """
    output = Path(output)
    if head_epochs:
        first = replace(
            config,
            epochs=head_epochs,
            learning_rate=HEAD_RATE,
            warmup_steps=HEAD_WARMUP,
            optimizer="adamw",
            ema_momentum=0.0,
            landmark_offset=False,
        )
        with only_heads(model):
            fit(model, train, validation, output / HEADS, first, restart=restart, **options)
    return fit(model, train, validation, output, config, metadata, restart=restart, **options)


@contextmanager
def only_heads(model: FaceAlignModel) -> Iterator[None]:
    """Freezes all weights but those of the heads for the duration of the block.

    Compile the model inside the block. The offsets of deformable heads are shared by all landmarks,
    and stay as they are too.
    """
    heads = head_layers(model)
    layers = [layer for layer in model.layers if layer not in heads]
    layers += [head.offset for head in heads if getattr(head, "offset", None) is not None]
    frozen = [layer for layer in layers if layer.trainable]
    for layer in frozen:
        layer.trainable = False
    try:
        yield
    finally:
        for layer in frozen:
            layer.trainable = True
