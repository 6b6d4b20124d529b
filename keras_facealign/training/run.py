"""Training runs: a configuration in, a preset folder with logs out, resumable after a kill."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_facealign.data.batches import BoxJitter, FaceBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.presets import save_to_preset
from keras_facealign.storage.preset_folders import check_replaceable
from keras_facealign.training.configuration import TrainingConfig, make_optimizer
from keras_facealign.training.ema import EMAWeights

__all__ = ["fit"]


def fit(
    model: FaceAlignModel,
    train: Iterable[Any],
    validation: Iterable[Any] | None,
    output: str | Path,
    schedule: TrainingConfig,
    metadata: dict[str, Any] | None = None,
    verbose: int | str = "auto",
    callbacks: Iterable[keras.callbacks.Callback] = (),
    boxes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains a model and writes it as a preset.

    The output folder gets `log.csv`, `tensorboard/`, `schedule.json`, `backup/` while the run goes
    on, and `preset/` at its end. A run that was killed goes on where its last whole epoch ended
    when it is called again with the same arguments.

    With `TrainingConfig.average`, validation judges the averaged weights. At the end it judges the
    last step's as well, and the better of the two go into the preset; without validation, the
    averaged.

    Args:
        model: The model to train; its weights are the start, its `landmark_offset` is dropped.
        train: Examples to train on, see `FaceBatches`; or batches that are ready, `FaceBatches` or
            `PackedFaces`, which settle batch size, order, jitter and boxes by themselves.
        validation: Examples, or batches, whose NME each epoch reports; or None.
        output: Folder of the run.
        schedule: How to train.
        metadata: What the preset's `metadata.json` says.
        verbose: As in Keras.
        callbacks: Further Keras callbacks.
        boxes: Boxes to crop the training faces by, see `FaceBatches`.

    Returns:
        The last epoch's metrics, with "seconds".

    Raises:
        FaceAlignError: If the output is no folder, or holds an unfinished run with another
            schedule, architecture or number of faces, or a folder `preset` that is none.
    """
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceAlignError(
            f"{output} cannot be the folder of a run ({error.strerror}); give another."
        ) from error
    check_replaceable(output / "preset")
    batches: Any = train
    if not isinstance(train, keras.utils.PyDataset):
        jitter = BoxJitter() if schedule.jitter else None
        batches = FaceBatches(
            train, schedule.batch_size, model.input_size, True, jitter, schedule.seed, boxes
        )
    if batches.input_size != model.input_size:
        raise FaceAlignError(
            f"The faces are packed for an input of {batches.input_size} pixels, and this network "
            f"takes {model.input_size}; pack them anew."
        )
    _claim(output, model, schedule, len(batches.file_names))
    held_out: Any = validation
    if validation is not None and not isinstance(validation, keras.utils.PyDataset):
        held_out = FaceBatches(validation, schedule.batch_size, model.input_size)
    settings = {"jit_compile": "auto", **schedule.compile}
    settings["augmentation"] = {"seed": schedule.seed, **settings.get("augmentation", {})}
    model.compile(make_optimizer(schedule, schedule.epochs * len(batches)), **settings)
    # What was measured for other weights, and perhaps for other labels.
    model.landmark_offset = (0.0, 0.0)
    # Restoring a backup needs the optimizer's variables to exist.
    model.optimizer.build(model.trainable_variables)
    average = EMAWeights(schedule.average) if schedule.average else None
    backup = _Backup(output / "backup", average)
    first_epoch = backup.restore(model)
    log = output / "log.csv"
    _keep_rows(log, first_epoch)
    started = time.monotonic()
    model.fit(
        batches,
        validation_data=held_out,
        epochs=schedule.epochs,
        initial_epoch=first_epoch,
        verbose=verbose,
        callbacks=[
            _SameOrder(batches),
            keras.callbacks.CSVLogger(str(log), append=first_epoch > 0),
            *_tensorboard(output),
            *([] if average is None else [average]),
            backup,
            *callbacks,
        ],
    )
    seconds = time.monotonic() - started
    last = _last_row(log)
    metadata = dict(metadata or {})
    if average is not None:
        metadata["average"] = _keep_better(model, average, held_out, last)
    save_to_preset(model, output / "preset", {**metadata, "last_epoch": last})
    backup.remove()
    return {**last, "seconds": seconds}


def _keep_better(
    model: FaceAlignModel, average: EMAWeights, held_out: Any, last: dict[str, float]
) -> dict[str, Any]:
    """Leaves the model with the average, or with the last step's weights where those do better.

    Args:
        model: The model, with the last step's weights.
        average: The average.
        held_out: Batches to judge by, or None.
        last: The log's last row, whose validation is the average's; changed to that of the weights
            that stay.

    Returns:
        What the preset's metadata says of it.
    """
    note: dict[str, Any] = {"decay": average.decay}
    if held_out is None:
        average.apply()
        return {**note, "kept": "average"}
    plain = model.evaluate(held_out, verbose=0, return_dict=True)
    note["nme"] = {"average": last["val_nme"], "last step": float(plain["nme"])}
    if plain["nme"] < last["val_nme"]:
        last.update({f"val_{name}": float(value) for name, value in plain.items()})
        return {**note, "kept": "last step"}
    average.apply()
    return {**note, "kept": "average"}


class _Backup(keras.callbacks.Callback):
    """Keeps weights, optimizer and random state as they were after the last whole epoch.

    Unlike Keras's `BackupAndRestore`, it survives a kill at any moment: a file gets its name, which
    says the epoch, once it is whole, and the one before it goes only then.
    """

    def __init__(self, folder: Path, average: EMAWeights | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.average = average

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("epoch_*.weights.h5"))

    def restore(self, model: FaceAlignModel) -> int:
        """Loads the last backup, if there is one; returns how many epochs it has behind it."""
        if not self._files():
            return 0
        newest = self._files()[-1]
        try:
            model.load_weights(str(newest))
            epochs = int(newest.name.removeprefix("epoch_").removesuffix(".weights.h5"))
        except Exception as error:  # h5py meets damage with errors of every kind
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{newest} cannot be resumed from ({reason}); delete the run's folder to start "
                "anew."
            ) from error
        if self.average is not None:
            self.average.load(self._average_file(epochs), model)
        return epochs

    def _average_file(self, epochs: int) -> Path:
        return self.folder / f"epoch_{epochs:06d}.average.npz"

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.folder.mkdir(exist_ok=True)
        older = [*self._files(), *self.folder.glob("*.average.npz")]
        if self.average is not None:
            # Before the weights: once they have their name, all of the backup is there.
            average = self._average_file(epoch + 1)
            self.average.save(average)
            older = [path for path in older if path != average]
        part = self.folder / "unfinished.weights.h5"
        self.model.save_weights(str(part))
        part.replace(self.folder / f"epoch_{epoch + 1:06d}.weights.h5")
        for path in older:
            path.unlink()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _last_row(log: Path) -> dict[str, float]:
    """What the log says of the last epoch, which an earlier call may have trained."""
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Without validation Keras still writes columns for it, with "NA" in them.
    return {
        name: float(value)
        for name, value in (rows[-1] if rows else {}).items()
        if name != "epoch" and value != "NA"
    }


def _keep_rows(log: Path, epochs: int) -> None:
    """Drops what the log says beyond the first epochs: a resumed run will write it again."""
    if epochs and log.is_file():
        with log.open(newline="", encoding="utf-8") as file:
            lines = file.readlines()
        log.write_text("".join(lines[: epochs + 1]), encoding="utf-8", newline="")


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


def _claim(output: Path, model: FaceAlignModel, schedule: TrainingConfig, faces: int) -> None:
    """Notes what the folder's run is, and refuses to resume it as something else."""
    mine = json.loads(
        json.dumps(
            {
                "architecture": model.architecture.to_dict(),
                "schedule": asdict(schedule),
                "faces": faces,  # they decide the number of steps, and so the learning rate
            },
            default=lambda value: getattr(value, "__qualname__", str(value)),
        )
    )
    path = output / "schedule.json"
    if (output / "backup").is_dir() and path.is_file():
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FaceAlignError(
                f"{path} cannot be read ({error}); delete the run's folder to start anew."
            ) from error
        if theirs != mine:
            raise FaceAlignError(
                f"{output} holds an unfinished run with other settings ({path}); give another "
                "output folder, or delete this one."
            )
    path.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
