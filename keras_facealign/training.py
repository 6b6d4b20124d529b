"""Training runs: a configuration in, a preset folder with logs out, resumable after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from keras_facealign.data.batches import BoxJitter, FaceBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.presets import save_to_preset

__all__ = ["Schedule", "fit", "make_optimizer"]


@dataclass(frozen=True)
class Schedule:
    """How long and how a model trains.

    Args:
        epochs: Passes over the training faces; each face gives two views in every pass.
        batch_size: Faces in a step.
        learning_rate: Peak of the schedule: linear warm-up, then cosine decay to 0.
        warmup_steps: Steps of the warm-up.
        weight_decay: AdamW's decoupled weight decay.
        clipnorm: Largest global norm of the gradient.
        jitter: Whether boxes stray as detectors' do (`BoxJitter`). The augmentation's own scale and
            translation cover the same errors where its ranges are wide enough.
        seed: Integer that decides initial weights, order and augmentation.
        compile: Further arguments of `FaceAlignModel.compile`.
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

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clipnorm"):
            if not getattr(self, name) > 0:
                raise FaceAlignError(f"{name} is {getattr(self, name)}; it must be positive.")


def make_optimizer(schedule: Schedule, steps: int) -> keras.optimizers.Optimizer:
    """AdamW under a warm-up and cosine schedule that ends at 0 after `steps` steps."""
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


def fit(
    model: FaceAlignModel,
    train: Iterable[Any],
    validation: Iterable[Any] | None,
    output: str | Path,
    schedule: Schedule,
    metadata: dict[str, Any] | None = None,
    verbose: int | str = "auto",
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Trains a model and writes it as a preset.

    The output folder gets `log.csv`, `tensorboard/`, `schedule.json`, `backup/` while the run goes
    on, and `preset/` at its end. A run that was killed goes on where its last whole epoch ended
    when it is called again with the same arguments.

    Args:
        model: The model to train; its weights are the start.
        train: Examples to train on, see `FaceBatches`.
        validation: Examples whose NME each epoch reports, or None.
        output: Folder of the run.
        schedule: How to train.
        metadata: What the preset's `metadata.json` says.
        verbose: As in Keras.
        callbacks: Further Keras callbacks.

    Returns:
        The last epoch's metrics, with "seconds".

    Raises:
        FaceAlignError: If the folder holds a run with another schedule or architecture.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    _claim(output, model, schedule)
    batches = FaceBatches(
        train,
        schedule.batch_size,
        model.input_size,
        shuffle=True,
        jitter=BoxJitter() if schedule.jitter else None,
        seed=schedule.seed,
    )
    held_out = None
    if validation is not None:
        held_out = FaceBatches(validation, schedule.batch_size, model.input_size)
    settings = {"jit_compile": "auto", **schedule.compile}
    settings["augmentation"] = {"seed": schedule.seed, **settings.get("augmentation", {})}
    model.compile(make_optimizer(schedule, schedule.epochs * len(batches)), **settings)
    # Restoring a backup needs the optimiser's variables to exist.
    model.optimizer.build(model.trainable_variables)
    log = output / "log.csv"
    started = time.monotonic()
    history = model.fit(
        batches,
        validation_data=held_out,
        epochs=schedule.epochs,
        verbose=verbose,
        callbacks=[
            keras.callbacks.BackupAndRestore(str(output / "backup"), delete_checkpoint=True),
            _SameOrder(batches),
            keras.callbacks.CSVLogger(str(log), append=log.exists()),
            *_tensorboard(output),
            *callbacks,
        ],
    )
    seconds = time.monotonic() - started
    last = {name: float(values[-1]) for name, values in history.history.items()}
    save_to_preset(model, output / "preset", {**(metadata or {}), "last_epoch": last})
    return {**last, "seconds": seconds}


class _SameOrder(keras.callbacks.Callback):
    """Keeps the batches' order in step with the epoch, which a restored run does not start at 0."""

    def __init__(self, batches: FaceBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.batches.epoch != epoch:
            self.batches.start_at(epoch)


def _tensorboard(output: Path) -> list[keras.callbacks.Callback]:
    """TensorBoard logs where its package is installed and the backend can write them."""
    if keras.backend.backend() != "tensorflow":
        return []
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return []
    return [keras.callbacks.TensorBoard(str(output / "tensorboard"), write_graph=False)]


def _claim(output: Path, model: FaceAlignModel, schedule: Schedule) -> None:
    """Notes what the folder's run is, and refuses to resume it as something else."""
    mine = json.loads(
        json.dumps(
            {"architecture": model.architecture.to_dict(), "schedule": asdict(schedule)},
            default=str,
        )
    )
    path = output / "schedule.json"
    if (output / "backup").is_dir() and path.is_file():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if theirs != mine:
            raise FaceAlignError(
                f"{output} holds an unfinished run with other settings ({path}); give another "
                "output folder, or delete this one."
            )
    path.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
