"""Early stopping that keeps the best weights and survives a kill."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.training.processes import share_bytes


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best validation, and ends a run that gets no better.

    Epochs are compared by the validation's NME or, where no face could be measured, by its loss.
    With `start`, the weights that the run starts from count as well, as epoch 0.

    Args:
        folder: Folder of the run's backup, where the weights are kept.
        patience: Epochs without a better one after which the run ends.
    """

    def __init__(self, folder: Path, patience: int) -> None:
        super().__init__()
        self.folder = folder
        self.patience = patience
        self.epoch: int | None = None
        self.best = (True, math.inf)
        self._start: list[np.ndarray] = []

    @property
    def _note(self) -> Path:
        return self.folder / "best.json"

    def _file(self, epoch: int) -> Path:
        return self.folder / f"best_{epoch:06d}.npz"

    @property
    def metrics(self) -> dict[str, float]:
        """What the best epoch was chosen by."""
        by_loss, score = self.best
        return {"val_loss" if by_loss else "val_nme": score}

    def start(self, model: Any, held_out: Any) -> None:
        """Validates the weights that a run starts from; a run that gets no better keeps them.

        Args:
            model: The compiled model.
            held_out: Batches to validate on.
        """
        logs = model.evaluate(held_out, verbose=0, return_dict=True)
        if self._is_better(0, logs):
            # Written after the first epoch: a folder of backups tells that there is one.
            self._start = model.get_weights()

    def restore(self, epochs: int) -> None:
        """Reads the best epoch so far of a run that is resumed.

        Args:
            epochs: Epochs before the backup that it is resumed from.
        """
        if not epochs or not self._note.is_file():
            return
        note = read_json_object(self._note)
        epoch, score = note.get("epoch"), note.get("score")
        if type(epoch) is int and isinstance(score, float) and 0 <= epoch <= epochs:
            self.epoch, self.best = epoch, (bool(note.get("by_loss")), score)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        names = {"nme": "val_nme", "loss": "val_loss"}
        values = {key: (logs or {}).get(name, math.nan) for key, name in names.items()}
        if self._is_better(epoch + 1, values):
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            self._save(epoch + 1, self.model.get_weights())
        else:
            if self._start:
                self._save(0, self._start)
            if epoch + 1 - (self.epoch or 0) >= self.patience:
                self.model.stop_training = True
        self._start = []

    def _is_better(self, epoch: int, logs: dict[str, Any]) -> bool:
        """Compares an epoch with the best so far, and notes it where it is better."""
        # The first process decides for all: the others' machines may round otherwise.
        mine = np.array([logs.get("nme", math.nan), logs.get("loss", math.nan)], np.float64)
        score, loss = np.frombuffer(share_bytes(mine.tobytes())).tolist()
        by_loss = not math.isfinite(score)
        if by_loss:
            score = loss
        better = math.isfinite(score) and (by_loss, score) < self.best
        if better:
            self.best, self.epoch = (by_loss, score), epoch
        return better

    def _save(self, epoch: int, weights: list[np.ndarray]) -> None:
        self.folder.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {str(i): array for i, array in enumerate(weights)}
        atomic_write(self._file(epoch), lambda file: np.savez(file, **arrays))
        note = {"epoch": epoch, "by_loss": self.best[0], "score": self.best[1]}
        # Once the note names the new file, the older ones are not needed.
        atomic_write(self._note, lambda file: file.write(json.dumps(note).encode()))
        for path in self.folder.glob("best_*.npz"):
            if path != self._file(epoch):
                path.unlink()

    def apply(self, model: Any) -> None:
        """Gives a model the weights of the best epoch, if there is one.

        Raises:
            FaceAlignError: If the file is damaged.
        """
        if self.epoch is None:
            return
        path = self._file(self.epoch)
        try:
            with np.load(path, allow_pickle=False) as file:
                model.set_weights([file[str(i)] for i in range(len(model.weights))])
        except Exception as error:  # zipfile and NumPy raise errors of every kind on damaged files
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{path} cannot be read ({reason}); start over with restart=True (--restart)."
            ) from error
