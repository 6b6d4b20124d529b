"""Training runs that write a preset and logs, and that can be resumed after a kill."""

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

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.data.batches import BoxJitter, FaceBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.presets import save_to_preset
from keras_facealign.storage.preset_folders import check_replaceable
from keras_facealign.training.configuration import TrainingConfig, make_optimizer
from keras_facealign.training.ema import EMAWeights, keep_better


@renamed_arguments(schedule="config")
def fit(
    model: FaceAlignModel,
    train: Iterable[Any],
    validation: Iterable[Any] | None,
    output: str | Path,
    config: TrainingConfig,
    metadata: dict[str, Any] | None = None,
    verbose: int | str = "auto",
    callbacks: Iterable[keras.callbacks.Callback] = (),
    boxes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains a model and writes it as a preset.

    The output folder gets `log.csv`, `tensorboard/`, `training.json` (the configuration), `backup/`
    while the run lasts, and `preset/` at its end. Called again with the same arguments, a killed
    run continues after its last complete epoch.

    With `TrainingConfig.ema_momentum`, each epoch validates the averaged weights. At the end the
    last step's weights are validated as well, and the preset gets the better of the two; without
    validation, the averaged ones.

    Args:
        model: The model to train, from its current weights; its `landmark_offset` is reset.
        train: Training examples, see `FaceBatches`; or batches, `FaceBatches` or `PackedFaces`,
            which have their own batch size, order, jitter and boxes.
        validation: Examples or batches whose NME each epoch reports; or None.
        output: Folder of the run.
        config: How to train.
        metadata: Entries of the preset's `metadata.json`.
        verbose: As in Keras.
        callbacks: Further Keras callbacks.
        boxes: Boxes to crop the training faces by, see `FaceBatches`.

    Returns:
        The last epoch's metrics, with "seconds".

    Raises:
        FaceAlignError: If `output` cannot be a folder, holds an unfinished run with another
            configuration, architecture or number of faces, or has a folder `preset` with other
            files.

    Example:
        >>> from keras_facealign.data.readers.ibug_300w import load_samples
        >>> faces = load_samples("300w", "train")  # doctest: +SKIP
        >>> held_out = load_samples("300w", "lfpw_test")  # doctest: +SKIP
        >>> fit(model, faces, held_out, "run", TrainingConfig(epochs=20))  # doctest: +SKIP
    """
    output = Path(output)
    _make_folder(output)
    batches = _training_batches(train, model, config, boxes)
    _claim(output, model, config, len(batches.file_names))
    held_out: Any = validation
    if validation is not None and not isinstance(validation, keras.utils.PyDataset):
        held_out = FaceBatches(validation, config.batch_size, model.input_size)
    settings = {"jit_compile": "auto", **config.compile}
    settings["augmentation"] = {"seed": config.seed, **settings.get("augmentation", {})}
    model.compile(make_optimizer(config, config.epochs * len(batches)), **settings)
    # It was measured for other weights, and perhaps for other labels.
    model.landmark_offset = (0.0, 0.0)
    # The optimizer's variables must exist before a backup is restored.
    model.optimizer.build(model.trainable_variables)
    average = EMAWeights(config.ema_momentum) if config.ema_momentum else None
    backup = _Backup(output / "backup", average)
    first_epoch = backup.restore(model)
    log = output / "log.csv"
    _keep_rows(log, first_epoch)
    started = time.monotonic()
    model.fit(
        batches,
        validation_data=held_out,
        epochs=config.epochs,
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


def _make_folder(output: Path) -> None:
    """Makes a run's folder, and checks that the preset can be written into it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceAlignError(
            f"{output} cannot be the folder of a run ({error.strerror}); give another."
        ) from error
    check_replaceable(output / "preset")


def _training_batches(
    train: Any, model: FaceAlignModel, config: TrainingConfig, boxes: Mapping[str, Any] | None
) -> Any:
    if not isinstance(train, keras.utils.PyDataset):
        jitter = BoxJitter() if config.jitter else None
        return FaceBatches(
            train, config.batch_size, model.input_size, True, jitter, config.seed, boxes
        )
    if train.input_size != model.input_size:  # pyright: ignore[reportAttributeAccessIssue]
        raise FaceAlignError(
            f"The faces are packed for an input of {train.input_size} pixels, but the "  # pyright: ignore[reportAttributeAccessIssue]
            f"network takes {model.input_size}; pack them again for this size."
        )
    return train


def _keep_better(
    model: FaceAlignModel, average: EMAWeights, held_out: Any, last: dict[str, float]
) -> dict[str, Any]:
    """Leaves the model with the better weights; returns the note for the preset's metadata.

    `last` is the log's last row, whose validation is the average's; it is changed to that of the
    weights that are kept.
    """
    validated = {
        name.removeprefix("val_"): value for name, value in last.items() if name.startswith("val_")
    }
    kept, scores = keep_better(model, average.apply, average.restore, held_out, validated)
    note: dict[str, Any] = {"decay": average.momentum, "kept": kept}
    if scores:
        note["nme"] = {name: logs["nme"] for name, logs in scores.items()}
        last.update({f"val_{name}": value for name, value in scores[kept].items()})
    return note


class _Backup(keras.callbacks.Callback):
    """Keeps weights, optimizer and random state as they were after the last complete epoch.

    Unlike Keras's `BackupAndRestore`, it survives a kill at any moment: a file gets its final name,
    with the number of epochs, once it is complete, and only then is the previous one removed.
    """

    def __init__(self, folder: Path, average: EMAWeights | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.average = average

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("epoch_*.weights.h5"))

    def restore(self, model: FaceAlignModel) -> int:
        """Loads the last backup, if there is one; returns the number of epochs before it."""
        if not self._files():
            return 0
        newest = self._files()[-1]
        try:
            model.load_weights(str(newest))
            epochs = int(newest.name.removeprefix("epoch_").removesuffix(".weights.h5"))
        except Exception as error:  # h5py raises errors of every kind on damaged files
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{newest} cannot be resumed from ({reason}); delete the run's folder to start "
                "over."
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
            # Before the weights, whose name marks the backup as complete.
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
    """Reads the metrics of the last epoch, which an earlier call may have trained."""
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Without validation, Keras may still write its columns, filled with "NA".
    return {
        name: float(value)
        for name, value in (rows[-1] if rows else {}).items()
        if name != "epoch" and value != "NA"
    }


def _keep_rows(log: Path, epochs: int) -> None:
    """Removes the log's rows after the first epochs, which a resumed run will write again."""
    if epochs and log.is_file():
        with log.open(newline="", encoding="utf-8") as file:
            lines = file.readlines()
        log.write_text("".join(lines[: epochs + 1]), encoding="utf-8", newline="")


class _SameOrder(keras.callbacks.Callback):
    """Sets the batches' order to that of the epoch, which is not 0 where a run is resumed."""

    def __init__(self, batches: FaceBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.batches.epoch != epoch:
            self.batches.start_at(epoch)


def _tensorboard(output: Path) -> list[keras.callbacks.Callback]:
    """Makes a TensorBoard callback where its package is installed and the backend supports it."""
    if keras.backend.backend() != "tensorflow":
        return []
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return []
    return [keras.callbacks.TensorBoard(str(output / "tensorboard"), write_graph=False)]


def _claim(output: Path, model: FaceAlignModel, config: TrainingConfig, faces: int) -> None:
    """Records the run's settings in its folder; refuses to resume a run with other settings."""
    mine = json.loads(
        json.dumps(
            {
                "architecture": model.architecture.to_dict(),
                "config": asdict(config),
                "faces": faces,  # determines the number of steps, and so the learning rate
            },
            default=lambda value: getattr(value, "__qualname__", str(value)),
        )
    )
    path = output / "training.json"
    if (output / "backup").is_dir():
        if not path.is_file() and (output / "schedule.json").is_file():
            raise FaceAlignError(
                f"{output} holds an unfinished run of version 0.1 (schedule.json), which cannot be "
                "resumed; give another output folder, or delete this one."
            )
        try:
            theirs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else mine
        except ValueError as error:
            raise FaceAlignError(
                f"{path} cannot be read ({error}); delete the run's folder to start over."
            ) from error
        if theirs != mine:
            raise FaceAlignError(
                f"{output} holds an unfinished run with other settings ({path}); give another "
                "output folder, or delete this one."
            )
    path.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
