"""Finds the pictures that label files name, below one folder and nowhere else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from keras_facealign.data.images import IMAGE_SUFFIXES
from keras_facealign.data.labels.raw_labels import readable, short_name
from keras_facealign.data.photo_formats import photo_suffixes
from keras_facealign.errors import FaceAlignError

# Files below the folder that are looked at. More come from a folder that holds more than pictures.
_MOST_FILES = 1_000_000
# Longest name in characters, and most folders of one that are looked at.
_LONGEST, _DEEPEST = 4096, 32


class Pictures:
    """The pictures below a folder.

    Label files hold names from another computer: absolute, with backslashes, with a folder above
    or below. So the longest end of a name that is a file below the folder is taken, and else the
    one picture of this base name, upper and lower case being the same.

    Args:
        root: The folder.

    Raises:
        FaceAlignError: There is no such folder.

    Example:
        >>> Pictures(Path("photos")).find(r"C:\\faces\\a.jpg")  # doctest: +SKIP
        PosixPath('photos/a.jpg')
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise FaceAlignError(f"{root}: there is no such folder; give that of the pictures")
        self.root = root
        self._found: dict[str, Path] = {}
        self._used: set[str] = set()
        self._index: dict[str, list[str]] | None = None
        self.truncated = False

    def find(self, name: str, other: str = "") -> Path:
        """Finds a picture.

        Args:
            name: Its name in the label file: a path or an address.
            other: A name to try then.

        Returns:
            The file.

        Raises:
            FaceAlignError: There is none of this name, or several.
        """
        known = self._found.get(name)
        if known is None:
            known = self._search(name) or (self._search(other) if other else None)
            if known is None:
                raise FaceAlignError(
                    f"{short_name(name)!r} is not below {self.root}; add the picture, or give the "
                    "folder of the pictures"
                )
            self._found[name] = known
        self._used.add(self.relative(known))
        return known

    def relative(self, path: Path) -> str:
        """A picture's path below the folder, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def unused(self) -> list[str]:
        """The pictures below the folder that `find` has not returned, sorted."""
        listed = [path for paths in self._listed().values() for path in paths]
        return sorted(set(listed) - self._used)

    def _search(self, name: str) -> Path | None:
        for spelling in dict.fromkeys((name, readable(name), unquote(name))):
            parts = _parts(spelling)
            for start in range(len(parts)):
                path = self.root.joinpath(*parts[start:])
                # As os.path does, for names that no file system takes.
                if os.path.isfile(path):
                    return path
            if not parts:
                continue
            same = self._listed().get(parts[-1].casefold(), [])
            exact = [path for path in same if path.rpartition("/")[2] == parts[-1]]
            chosen = exact or same
            if len(chosen) > 1:
                raise FaceAlignError(
                    f"{short_name(name)!r} may be {chosen[0]} or {chosen[1]} below {self.root}; "
                    "write the path below that folder into the labels"
                )
            if chosen:
                return self.root / chosen[0]
        return None

    def _listed(self) -> dict[str, list[str]]:
        """The paths of all pictures below the folder, by the base name in lower case."""
        if self._index is None:
            self._index = {}
            suffixes = (*photo_suffixes(), *IMAGE_SUFFIXES)
            number = 0
            for place, folders, names in os.walk(self.root):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                number += len(names)
                if number > _MOST_FILES:
                    self.truncated = True
                    break
                for name in sorted(names):
                    if name.lower().endswith(suffixes) and not name.startswith("."):
                        path = Path(place, name).relative_to(self.root).as_posix()
                        self._index.setdefault(name.casefold(), []).append(path)
        return self._index


def _parts(name: str) -> list[str]:
    """The last parts of a path or an address, without a drive and without `..`."""
    if len(name) > _LONGEST:
        return []
    if "://" in name or name.startswith("/data/"):
        try:
            address = urlsplit(name)
            # Label Studio's local files: /data/local-files/?d=folder/a.jpg
            name = (parse_qs(address.query).get("d") or [unquote(address.path)])[0]
        except ValueError:
            pass
    parts = name.replace("\\", "/").replace("\0", "").split("/")
    parts = [p for p in parts if p not in ("", ".", "..") and not re.fullmatch("[A-Za-z]:", p)]
    return parts[-_DEEPEST:]
