"""The configuration of a training run, and the optimizer that it describes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError, check_batch_size, check_integer
from keras_facealign.training.optimizers import adamw, recipe_optimizer

OPTIMIZERS = ("adamw", "nadam", "shared_nadam")

# Steps are counted in 64 bits.
_MOST_EPOCHS = 1_000_000


@renamed_arguments(clipnorm="global_clipnorm", average="ema_momentum")
@dataclass(frozen=True)
class TrainingConfig:
    """Configures how a model is trained.

    Args:
        epochs: Passes over the training faces; each face gives two views in every pass.
        batch_size: Faces in a step.
        learning_rate: Highest learning rate. AdamW's rises to it in a linear warm-up and then falls
            to 0 along a cosine; the other optimizers start with it and drop where the recipe says.
        warmup_steps: Steps of AdamW's warm-up.
        weight_decay: AdamW's decoupled weight decay.
        global_clipnorm: Largest global norm of AdamW's gradient.
        jitter: Whether to move and scale boxes as detectors do (`BoxJitter`). Not needed where the
            augmentation's own scale and translation cover the same errors.
        seed: Seed of initial weights, order and augmentation, 0 to 4294967295.
        compile: Further arguments of `FaceAlignModel.compile`, such as its recipe.
        optimizer: "adamw", "nadam" (Keras's Nadam) or "shared_nadam" (MXNet's); for the last two
            see `recipe_optimizer`.
        ema_momentum: Momentum of the weights' exponential moving average per step, such as 0.999;
            validation and the preset then use the averaged weights. 0: no average.
        patience: Epochs without a better validation after which a run ends early. The preset then
            gets the best epoch's weights. 0: the run has all its epochs, and the preset the last
            weights.
        landmark_offset: Whether to measure, at the end, how far the training faces' labels lie to
            one side of the network's landmarks, and to give the distance to the model, see
            `keras_facealign.training.landmark_offset`. Metrics of the run do not include it.

    Raises:
        FaceAlignError: If a value is out of range, or the optimizer is unknown.

    Example:
        >>> TrainingConfig(epochs=20, ema_momentum=0.998).batch_size
        16
    """

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    weight_decay: float = 1e-4
    global_clipnorm: float = 5.0
    jitter: bool = False
    seed: int = 0
    compile: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "adamw"
    ema_momentum: float = 0.0
    patience: int = 0
    landmark_offset: bool = False

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, 1, _MOST_EPOCHS)
        check_batch_size(self.batch_size)
        check_integer("warmup_steps", self.warmup_steps, 0, 2**31 - 1)
        check_integer("seed", self.seed, 0, 2**32 - 1)
        check_integer("patience", self.patience, 0, _MOST_EPOCHS)
        if self.patience and self.ema_momentum:
            raise FaceAlignError(
                f"patience={self.patience} keeps the best weights and "
                f"ema_momentum={self.ema_momentum} averages them; choose one of both."
            )
        for name in ("learning_rate", "global_clipnorm"):
            if not 0 < getattr(self, name) < math.inf:
                raise FaceAlignError(f"{name} is {getattr(self, name)}; it must be positive.")
        if not 0 <= self.weight_decay < math.inf:
            raise FaceAlignError(f"weight_decay is {self.weight_decay}; it must not be negative.")
        if not 0 <= self.ema_momentum < 1:
            raise FaceAlignError(
                f"ema_momentum is {self.ema_momentum}; give 0 for no average, or less than 1."
            )
        if self.optimizer not in OPTIMIZERS:
            raise FaceAlignError(
                f"Unknown optimizer {self.optimizer!r}; choose one of: {', '.join(OPTIMIZERS)}."
            )


@renamed_arguments(schedule="config")
def make_optimizer(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a training run.

    Args:
        config: The run's configuration.
        steps: Length of the run in steps.

    Returns:
        A Keras optimizer with its learning rate schedule.

    Raises:
        FaceAlignError: If the recipe in `config.compile` is unknown.
    """
    if config.optimizer != "adamw":
        recipe = config.compile.get("recipe", "paper")
        shared = config.optimizer == "shared_nadam"
        return recipe_optimizer(recipe, steps, config.learning_rate, shared)
    warmup = min(config.warmup_steps, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate * (0.01 if warmup else 1.0),
        decay_steps=max(steps - warmup, 1),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return adamw(rate, weight_decay=config.weight_decay, global_clipnorm=config.global_clipnorm)
