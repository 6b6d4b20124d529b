"""The folder of a training run: whose run it holds, and whether that is finished."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.storage.preset_folders import METADATA, WEIGHTS, check_replaceable

_RESTART = "give another output folder, or start over with restart=True (--restart)"


class RunFolder:
    """The folder of a training run.

    It holds `training.json`, the run's settings and whether it is finished; `log.csv`, a row an
    epoch; `tensorboard/`; `backup/` until the run is finished, and `preset/` from then on.

    Args:
        path: The folder; made if missing.

    Raises:
        FaceAlignError: If it cannot be a folder, or `preset` in it has other files.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.backup = self.path / "backup"
        self.log = self.path / "log.csv"
        self.preset = self.path / "preset"
        self.tensorboard = self.path / "tensorboard"
        self._settings = self.path / "training.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FaceAlignError(
                f"{self.path} cannot be the folder of a run ({error.strerror}); give another."
            ) from error
        check_replaceable(self.preset)

    def clear(self) -> None:
        """Removes an earlier run, except for its preset, which the new run replaces at its end.

        Raises:
            FaceAlignError: If there are such files, but nothing shows that they are a run's.
        """
        parts = [p for p in (self.backup, self.log, self.tensorboard) if p.exists()]
        if self._settings.is_file():
            self._read()
        elif parts and not (self.path / "schedule.json").is_file():
            raise FaceAlignError(
                f"{self.path} holds {parts[0].name} but no {self._settings.name}, so it may be "
                "something else than a run and is not cleared; give another output folder."
            )
        # The settings last: until they are gone, the folder is known to be a run's.
        for part in (*parts, self.path / "schedule.json", self._settings):
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)

    def finished(self, settings: dict[str, Any]) -> bool:
        """Returns whether the folder holds a finished run.

        Args:
            settings: Entries of the run's settings, as far as they are known.

        Raises:
            FaceAlignError: If it holds a run with other settings.
        """
        if not self._settings.is_file():
            if self.backup.is_dir() and (self.path / "schedule.json").is_file():
                raise FaceAlignError(
                    f"{self.path} holds an unfinished run of version 0.1 (schedule.json), which "
                    f"cannot be resumed; {_RESTART}."
                )
            return False
        theirs = self._read()
        # Up to version 0.2, a run had no note that it was finished.
        finished = theirs.get("finished", self.preset.is_dir() and not self.backup.is_dir())
        if not (finished or self.backup.is_dir()):
            return False  # ended before its first backup
        mine = json.loads(json.dumps(settings, default=_name_of))
        if other := [name for name in mine if theirs.get(name) != mine[name]]:
            kind = "a finished" if finished else "an unfinished"
            raise FaceAlignError(
                f"{self.path} holds {kind} run with other settings ({other[0]} in "
                f"{self._settings}); {_RESTART}."
            )
        return bool(finished)

    def claim(self, settings: dict[str, Any], finished: bool = False) -> None:
        """Records the settings of a run that begins or goes on here, or has finished.

        Args:
            settings: "architecture", "config", and "faces", the number of training faces: it
                determines the number of steps, and so the learning rate.
            finished: Whether the run's preset is complete.

        Raises:
            FaceAlignError: As from `finished`.
        """
        self.finished(settings)
        content = json.dumps({**settings, "finished": finished}, indent=2, default=_name_of)
        atomic_write(self._settings, lambda file: file.write(f"{content}\n".encode()))

    def result(self) -> dict[str, Any]:
        """Returns the last epoch's metrics of a finished run.

        Raises:
            FaceAlignError: If its preset is gone.
        """
        if not (self.preset / WEIGHTS).is_file():
            raise FaceAlignError(
                f"{self.path} holds a finished run, but no longer its preset; {_RESTART}."
            )
        last = read_json_object(self.preset / METADATA).get("last_epoch")
        return dict(last) if isinstance(last, dict) else self.last_row()

    @property
    def epochs(self) -> int:
        """The number of epochs in the log; fewer than configured where a run has ended early."""
        return len(self._rows())

    @property
    def best_epoch(self) -> int | None:
        """The epoch that the preset's weights were chosen from; 0: those before the first."""
        if not (self.preset / METADATA).is_file():
            return None
        epoch = read_json_object(self.preset / METADATA).get("best_epoch")
        return epoch if type(epoch) is int else None

    def last_row(self) -> dict[str, float]:
        """Reads the metrics of the log's last epoch, which an earlier call may have trained."""
        return self.row(0)

    def _rows(self) -> list[dict[str, str]]:
        """Reads the log, which is empty before the first epoch."""
        if not self.log.is_file():
            return []
        with self.log.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def row(self, epoch: int) -> dict[str, float]:
        """Reads the metrics of an epoch of the log, counted from 1; 0 is the last one."""
        rows = self._rows()
        # Without validation, Keras may still write its columns, filled with "NA".
        return {
            name: float(value)
            for name, value in (rows[epoch - 1] if len(rows) >= max(epoch, 1) else {}).items()
            if name != "epoch" and value != "NA"
        }

    def keep_rows(self, epochs: int) -> None:
        """Removes the log's rows after the first epochs, which a resumed run will write again."""
        if epochs and self.log.is_file():
            with self.log.open(newline="", encoding="utf-8") as file:
                lines = file.readlines()
            kept = "".join(lines[: epochs + 1])
            atomic_write(self.log, lambda file: file.write(kept.encode()))

    def _read(self) -> dict[str, Any]:
        try:
            settings = read_json_object(self._settings)
        except FaceAlignError as error:
            raise FaceAlignError(
                f"{self._settings} cannot be read ({error}); give another output folder, or delete "
                "this one."
            ) from error
        if not {"architecture", "config"} <= set(settings):
            raise FaceAlignError(
                f"{self._settings} is not of a training run; give another output folder."
            )
        return settings


def _name_of(value: Any) -> str:
    return getattr(value, "__qualname__", str(value))
