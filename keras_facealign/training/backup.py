"""The backup from which a killed training run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel
from keras_facealign.models.finite import check_finite_state
from keras_facealign.training.ema import EMAWeights


class Backup(keras.callbacks.Callback):
    """Keeps weights, optimizer and random state as they were after the last complete epoch.

    Unlike Keras's `BackupAndRestore`, it survives a kill at any moment: a file gets its final name,
    with the number of epochs, once it is complete, and only then is the previous one removed.

    Args:
        folder: Folder of the backup; made with the first one.
        average: Average of the weights to keep as well.
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
            check_finite_state(model)
        except Exception as error:  # h5py raises errors of every kind on damaged files
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{newest} cannot be resumed from ({reason}); start over with restart=True "
                "(--restart)."
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
        new = self.folder / f"epoch_{epoch + 1:06d}.weights.h5"
        part.replace(new)
        for path in older:
            if path != new:
                path.unlink()

    def remove(self) -> None:
        """Removes all backups."""
        shutil.rmtree(self.folder, ignore_errors=True)
