"""Reading text files and folders of data sets whose content is not trusted."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_facealign.data.photo_formats import foreign_format, photo_suffixes
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import decode_text, one_line, read_file


@dataclass(frozen=True)
class Survey:
    """What a folder holds of a data set.

    Attributes:
        found: Number of samples of each split that is present.
        missing: Missing files or folders, in words, and what they cost.
    """

    found: dict[str, int]
    missing: tuple[str, ...] = ()


def check_choice(value: str, choices: Iterable[str], problem: str) -> None:
    """Checks that a name is one of several.

    Raises:
        FaceAlignError: It is not; the message is `problem`, the value and the choices.
    """
    choices = tuple(choices)
    if value not in choices:
        raise FaceAlignError(f"{problem} {value!r}; choose one of {', '.join(choices)}")


def import_extra(module: str, extra: str = "tfds") -> Any:
    """Imports a module of a package that only an extra installs.

    Raises:
        FaceAlignError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FaceAlignError(
            f"{module.partition('.')[0]} cannot be imported ({one_line(error)}); run: "
            f'pip install "keras_facealign[{extra}]"'
        ) from error


def first_folder(root: Path, candidates: Iterable[str], holds: str) -> Path | None:
    """The first of several folders below `root` that has an entry called `holds`, or None."""
    for candidate in candidates:
        if (root / candidate / holds).exists():
            return root / candidate
    return None


def require_folder(root: Path, candidates: Iterable[str], holds: str, advice: str) -> Path:
    """Like `first_folder`; raises `FaceAlignError` with the advice if there is none."""
    folder = first_folder(root, candidates, holds)
    if folder is None:
        raise FaceAlignError(f"{root}: holds no {holds}; {advice}")
    return folder


def list_names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Sorted names of a folder's files with one of these endings; empty without the folder.

    Names and not paths: the largest sets have a hundred thousand files.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and entry.name.lower().endswith(suffixes)
            and _may_be_file(entry)
        )


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # Such as a link that leads to itself: an error where it is read.
        return True


@dataclass(frozen=True)
class SkippedFile:
    """A file of a folder of photos that is left out.

    Attributes:
        path: The file.
        reason: Why, in words that follow its name.
        is_photo: Whether it is a photo, which has to be converted first.
    """

    path: Path
    reason: str
    is_photo: bool = False


def find_photos(
    folder: Path,
    recursive: bool = False,
    exclude: Path | None = None,
    on_error: Callable[[OSError], object] | None = None,
) -> tuple[list[Path], list[SkippedFile]]:
    """Finds the photos of a folder that can be read here, by the endings of their names.

    Links to files are followed, links to folders are not.

    Args:
        folder: The folder.
        recursive: Search its subfolders, too, except hidden ones.
        exclude: A subfolder to leave out, such as that of results.
        on_error: Called with the error of a folder that cannot be read; it is then left out.

    Returns:
        The photos, sorted, and the files that look like photos but are left out, sorted.

    Example:
        >>> photos, skipped = find_photos(Path("holidays"))  # doctest: +SKIP
    """
    photos: list[Path] = []
    skipped: list[SkippedFile] = []
    suffixes = photo_suffixes()
    for place, folders, names in os.walk(folder, onerror=on_error):
        here = Path(place)
        for name in names:
            foreign = foreign_format(name)
            if Path(name).suffix.lower() not in suffixes and foreign is None:
                continue
            if name.startswith("."):
                skipped.append(SkippedFile(here / name, "is a hidden file"))
            elif foreign is not None:
                skipped.append(SkippedFile(here / name, foreign, is_photo=True))
            else:
                photos.append(here / name)
        subfolders = [here / name for name in folders if not name.startswith(".")]
        for path in subfolders:
            if recursive and path.is_symlink():
                skipped.append(SkippedFile(path, "is a link to a folder"))
            elif not recursive and path.suffix.lower() in suffixes:
                skipped.append(SkippedFile(path, "is a folder"))
        entered = (p for p in subfolders if exclude is None or not _same_folder(p, exclude))
        folders[:] = [path.name for path in entered] if recursive else []
    return sorted(photos), sorted(skipped, key=lambda file: file.path)


def _same_folder(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def read_text(path: str | os.PathLike[str], max_bytes: int = 100_000_000) -> str:
    """The content of a text file in UTF-8, with or without a byte order mark.

    Raises:
        FaceAlignError: As for `read_file`, or it is not text.
    """
    return decode_text(read_file(path, max_bytes), path)


def resolve_inside(root: Path, folder: Path, relative: str, where: str) -> Path:
    """Resolves a path that a list file gives, which must stay below the data set's root.

    Args:
        root: The data set's root.
        folder: What the path is relative to.
        relative: The path as the file has it.
        where: What error messages call the place that has the path.

    Raises:
        FaceAlignError: The path leads out of `root`.
    """
    path = Path(os.path.normpath(folder / relative.replace("\\", "/")))
    if not path.is_relative_to(os.path.normpath(root)):
        raise FaceAlignError(
            f"{where}: the path {relative[:80]!r} leads out of the data set; correct it"
        )
    return path
