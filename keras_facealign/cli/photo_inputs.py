"""The photos that `keras-facealign align` is given, and the names of their results."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from keras_facealign.cli import _common as common
from keras_facealign.data.files import SkippedFile, find_photos
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.images import is_own_image

_OVERLAY = re.compile(r".*_overlay\.(jpg|png)", re.DOTALL)
# Bytes that file systems allow for a name, less those of "_overlay.jpg" or "_face1234.json".
_MAX_NAME_BYTES = 255 - 20
_LISTED = 3  # names after the number of files that were skipped for a reason


@dataclass(frozen=True)
class Photo:
    """A photo, and the prefix of its results: `<target>_overlay.jpg` and so on."""

    path: Path
    target: Path


@dataclass
class PhotoInputs:
    """The photos among the arguments of the command.

    Args:
        inputs: Files and folders.
        output: Folder of the results, which is not searched.
        recursive: Search the subfolders of folders.
        protected: Other files that must not be overwritten.

    Attributes:
        photos: The photos, each once.
        failures: Inputs that cannot be used, a line each.
        skipped: Files of the folders that are left out.

    Raises:
        FaceAlignError: If a folder of photos is also that of the results.
    """

    inputs: Iterable[Path]
    output: Path
    recursive: bool = False
    protected: Iterable[Path] = ()
    photos: list[Photo] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)

    def __post_init__(self) -> None:
        found: dict[str, tuple[Path, Path]] = {}
        for item in self.inputs:
            pairs = self._search(item) if os.path.isdir(item) else [(item, Path(item.stem))]
            for path, relative in pairs:
                # Unlike the methods of Path, this accepts links that lead to themselves.
                found.setdefault(os.path.realpath(path), (path, relative))
        self.photos = self._assign_targets(list(found.values()))

    def report_skipped(self) -> None:
        """Lists the files that were left out on standard error, by reason."""
        by_reason: dict[str, list[str]] = {}
        for file in self.skipped:
            by_reason.setdefault(file.reason, []).append(file.path.name)
        for reason, names in by_reason.items():
            if len(names) == 1:
                common.say(f"skipped: {names[0]} {reason}", err=True)
            else:
                common.say(f"skipped {len(names)} files: each {reason}: {some(names)}", err=True)

    @property
    def unconverted(self) -> bool:
        """Whether photos were left out since they have to be converted first."""
        return any(file.is_photo for file in self.skipped)

    def _search(self, folder: Path) -> list[tuple[Path, Path]]:
        """Finds the photos of a folder, with the relative paths of their results."""
        if os.path.realpath(folder) == os.path.realpath(self.output):
            raise FaceAlignError(
                f"{self.output}: the output folder is also a folder of photos, and the next run "
                "would read its images as photos; choose another one"
            )
        number = len(self.failures)

        def note(error: OSError) -> None:
            self.failures.append(
                f"{error.filename}: the folder cannot be opened ({error.strerror}); check its "
                "permissions"
            )

        paths, skipped = find_photos(folder, self.recursive, self.output, note)
        drawn = {p for p in paths if _OVERLAY.fullmatch(p.name) and is_own_image(p)}
        skipped += [SkippedFile(path, "is an overlay of an earlier run") for path in sorted(drawn)]
        paths = [path for path in paths if path not in drawn]
        if not paths and len(self.failures) == number:
            self.failures.append(f"{folder}: the folder contains no photos{self._hint(skipped)}")
        self.skipped += skipped
        return [(path, path.relative_to(folder).with_suffix("")) for path in paths]

    def _hint(self, skipped: list[SkippedFile]) -> str:
        foreign = next((file for file in skipped if file.is_photo), None)
        if foreign is not None:
            return f" that can be read here; {foreign.path.name} {foreign.reason}"
        return "" if self.recursive else "; use --recursive to search its subfolders"

    def _assign_targets(self, images: list[tuple[Path, Path]]) -> list[Photo]:
        """Gives the results of each image a unique name that does not overwrite any input."""
        folder = Path(os.path.realpath(self.output))
        inputs = [*(path for path, _ in images), *self.protected]
        # Only inputs inside the output folder can be overwritten.
        resolved = (Path(os.path.realpath(path)) for path in inputs)
        sources = [path for path in resolved if path.is_relative_to(folder)]

        def covers(target: Path) -> bool:
            prefixes = tuple(_same_name(f"{target.name}_{kind}") for kind in ("overlay.", "face"))
            return any(
                path.parent == target.parent and _same_name(path.name).startswith(prefixes)
                for path in sources
            )

        taken: set[str] = set()
        photos = []
        for path, plain in images:
            plain = plain.with_name(_shorten(plain.name))
            relative, number = plain, 1
            while _same_name(relative.as_posix()) in taken or covers(folder / relative):
                suffix = path.suffix.lower().lstrip(".") or "image"
                suffix += "" if number == 1 else f"-{number}"
                relative = plain.with_name(_shorten(f"{plain.name}_{suffix}"))
                number += 1
            taken.add(_same_name(relative.as_posix()))
            photos.append(Photo(path, self.output / relative))
        return photos


def some(names: list[str]) -> str:
    """Lists the first names, and the number of the others."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _same_name(name: str) -> str:
    """Returns what is equal for names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _shorten(name: str) -> str:
    """Shortens a name whose results' names would be too long for the file system."""
    encoded = os.fsencode(name)
    if len(encoded) <= _MAX_NAME_BYTES:
        return name
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
    kept = encoded[: _MAX_NAME_BYTES - len(mark)].decode("utf-8", "ignore")
    return kept + mark
