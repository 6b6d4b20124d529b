"""What a training run is: how long, with which optimizer, and from which seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.training.optimizers import recipe_optimizer

__all__ = ["OPTIMIZERS", "TrainingConfig", "make_optimizer"]

OPTIMIZERS = ("adamw", "nadam", "shared_nadam")


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how a model trains.

    Args:
        epochs: Passes over the training faces; each face gives two views in every pass.
        batch_size: Faces in a step.
        learning_rate: Highest rate. AdamW's rises to it in a linear warm-up and then falls by a
            cosine to 0; the others start with it and drop where the recipe says.
        warmup_steps: Steps of AdamW's warm-up.
        weight_decay: AdamW's decoupled weight decay.
        clipnorm: Largest global norm of AdamW's gradient.
        jitter: Whether boxes stray as detectors' do (`BoxJitter`). The augmentation's own scale and
            translation cover the same errors where its ranges are wide enough.
        seed: Integer that decides initial weights, order and augmentation.
        compile: Further arguments of `FaceAlignModel.compile`, its recipe among them.
        optimizer: "adamw"; or Keras's Nadam, "nadam", or MXNet's, "shared_nadam", as
            `keras_facealign.training.optimizers.recipe_optimizer` makes them for the recipe.
        average: What the moving average of the weights keeps of itself in a step, such as 0.999;
            validation and the preset then use the average. 0: no average.
    """

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    weight_decay: float = 1e-4
    clipnorm: float = 5.0
    jitter: bool = False
    seed: int = 0
    compile: dict[str, Any] = field(default_factory=dict)
    optimizer: str = "adamw"
    average: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clipnorm"):
            if not getattr(self, name) > 0:
                raise FaceAlignError(f"{name} is {getattr(self, name)}; it must be positive.")
        if not 0 <= self.average < 1:
            raise FaceAlignError(f"average is {self.average}; give 0 for none, or a decay below 1.")
        if not 0 <= self.seed < 2**32:
            raise FaceAlignError(f"seed is {self.seed}; give an integer from 0 to 4294967295.")
        if self.optimizer not in OPTIMIZERS:
            raise FaceAlignError(
                f"Unknown optimizer {self.optimizer!r}; choose one of: {', '.join(OPTIMIZERS)}."
            )


def make_optimizer(schedule: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """The schedule's optimizer for a run of `steps` steps."""
    if schedule.optimizer != "adamw":
        recipe = schedule.compile.get("recipe", "paper")
        shared = schedule.optimizer == "shared_nadam"
        return recipe_optimizer(recipe, steps, schedule.learning_rate, shared)
    warmup = min(schedule.warmup_steps, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        schedule.learning_rate * (0.01 if warmup else 1.0),
        decay_steps=max(steps - warmup, 1),
        warmup_target=schedule.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(
        rate, weight_decay=schedule.weight_decay, global_clipnorm=schedule.clipnorm
    )
