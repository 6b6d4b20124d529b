"""The files of a preset's folder, and the replacement of the folder as a whole."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import PARTIAL
from keras_facealign.storage.json_files import read_json_object

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
CALIBRATION = "calibration.json"
_WRITTEN = (CONFIG, METADATA, WEIGHTS, CALIBRATION)
# Files that describe a preset rather than its weights, and are often written by hand.
_KEPT = ("README.md", "card.png")
# Exports of the replaced weights: if kept, they would be used instead of the new weights.
_EXPORTS = ("model*.tflite", "model*.onnx")


def check_replaceable(folder: str | Path) -> None:
    """Checks that a preset may be written in place of a folder.

    Args:
        folder: A folder, or where one will be.

    Raises:
        FaceAlignError: If there is a file, or a folder that is not a preset or has other files,
            or it is the working directory.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise FaceAlignError(f"{folder} is not a folder; give another path for the preset.")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise FaceAlignError(f"{folder} is the working directory; give a folder inside of it.")
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return
    if not _is_preset(folder):
        raise FaceAlignError(
            f"{folder} holds {names[0]} and is not a preset ({CONFIG} is missing or is something "
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
            f"{folder} holds {foreign[0]}, which is not part of a preset and would be deleted; "
            "move it, or give another folder."
        )


@contextmanager
def replace_preset(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write a preset into, which replaces `folder` at the end.

    Until then the old preset stays as it is, even if the program is killed. Between two renamings
    only `previous_preset` finds it, which `find_preset` uses. A model card (README.md and card.png)
    is kept; exports of the old weights are removed with a warning.

    Args:
        folder: Path of the preset.

    Yields:
        The folder to write into.

    Raises:
        FaceAlignError: As from `check_replaceable`, or if the folder cannot be replaced.
    """
    given, folder = folder, folder.resolve()
    old, new = _old(folder), folder.with_name(f".{folder.name}.unfinished")
    try:
        if old.is_dir():
            # An earlier program was killed between the two renamings.
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
    """Finds the old preset of a folder if a program was killed while replacing it."""
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
            f"{folder}: {exports} were exports of the old weights and have been removed; export "
            "the preset again.",
            stacklevel=5,
        )


def _exports(folder: Path) -> list[Path]:
    return sorted(path for pattern in _EXPORTS for path in folder.glob(pattern))


def _is_preset(folder: Path) -> bool:
    try:
        config = read_json_object(folder / CONFIG)
        return "FaceAlign" in config["class_name"] and "architecture" in config["config"]
    except (FaceAlignError, TypeError, LookupError):
        return False


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _cannot(folder: Path, error: OSError) -> FaceAlignError:
    return FaceAlignError(
        f"{folder} cannot be written ({error.strerror or error}); give another folder."
    )
