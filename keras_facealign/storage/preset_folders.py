"""The files of a preset's folder, and the replacement of the folder as a whole."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import PARTIAL

__all__ = [
    "CALIBRATION",
    "CONFIG",
    "METADATA",
    "WEIGHTS",
    "check_replaceable",
    "previous_preset",
    "replace_preset",
]

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
CALIBRATION = "calibration.json"
_WRITTEN = (CONFIG, METADATA, WEIGHTS, CALIBRATION)
# What describes a preset rather than its weights, and is often written by hand.
_KEPT = ("README.md", "card.png")
# Exports of the weights that are replaced: were they kept, they would run in the new ones' place.
_EXPORTS = ("model*.tflite", "model*.onnx")


def check_replaceable(folder: str | Path) -> None:
    """Refuses a folder in whose place no preset may be written.

    Args:
        folder: A folder, or where one will be.

    Raises:
        FaceAlignError: If there is a file, or a folder that is no preset or has files that do not
            belong to one, or the folder that the program runs in.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise FaceAlignError(f"{folder} is no folder; give another place for the preset.")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise FaceAlignError(f"{folder} is the folder this runs in; give one inside of it.")
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return
    if not _is_preset(folder):
        raise FaceAlignError(
            f"{folder} holds {names[0]} and is no preset ({CONFIG} is missing or of something "
            "else); give another folder, or delete this one."
        )
    known = {*_WRITTEN, *_KEPT, *(path.name for path in _exports(folder))}
    foreign = [
        name
        for name in names
        if not (folder / name).is_file() or (name not in known and not name.startswith(PARTIAL))
    ]
    if foreign:
        raise FaceAlignError(
            f"{folder} holds {foreign[0]}, which is no part of a preset and would be deleted; move "
            "it, or give another folder."
        )


@contextmanager
def replace_preset(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to write a preset into, which takes the place of `folder` at the end.

    Until then the old preset stays as it is, also if the program is killed. Between two renamings
    it is found by `previous_preset` alone, which `find_preset` does. A model card (README.md
    and card.png) is carried over; exports of the old weights are not, which a warning says.

    Args:
        folder: Where the preset is to be.

    Yields:
        The folder to write into.

    Raises:
        FaceAlignError: As `check_replaceable`, or if the file system does not let the folder be
            replaced.
    """
    given, folder = folder, folder.resolve()
    old, new = _old(folder), folder.with_name(f".{folder.name}.unfinished")
    try:
        if old.is_dir():
            # A run was killed while it put its preset in place.
            if folder.exists():
                shutil.rmtree(old)
            else:
                old.rename(folder)
        check_replaceable(given)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
    except OSError as error:
        raise _cannot(given, error) from error
    try:
        yield new
        try:
            _swap(folder, new, old)
        except OSError as error:
            raise _cannot(given, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def previous_preset(folder: Path) -> Path | None:
    """The preset that was in a folder when a kill hit the moment of its replacement."""
    old = _old(Path(os.path.abspath(folder)))
    return old if os.path.isfile(old / CONFIG) and not os.path.exists(folder) else None


def _swap(folder: Path, new: Path, old: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    for name in _KEPT:
        if (folder / name).is_file():
            shutil.copy2(folder / name, new / name)
    exports = ", ".join(path.name for path in _exports(folder))
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
    if exports:
        warnings.warn(
            f"{folder}: {exports} held other weights and went with them; export the preset again.",
            stacklevel=5,
        )


def _exports(folder: Path) -> list[Path]:
    return sorted(path for pattern in _EXPORTS for path in folder.glob(pattern))


def _is_preset(folder: Path) -> bool:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return "FaceAlign" in config["class_name"] and "architecture" in config["config"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return False


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _cannot(folder: Path, error: OSError) -> FaceAlignError:
    return FaceAlignError(
        f"{folder} cannot be written ({error.strerror or error}); give another folder."
    )
