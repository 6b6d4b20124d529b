"""Divides a corpus into shards: its files of photos, or parts of a list of photos."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from keras_facealign.data.files import find_photos
from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.storage.file_names import printable
from keras_facealign.storage.reading import open_regular, read_file

# Names of files that hold many photos.
_CONTAINERS = {
    "tar": re.compile(r".+\.(tar|tar\.gz|tgz)", re.DOTALL | re.IGNORECASE),
    "parquet": re.compile(r".+\.parquet", re.DOTALL | re.IGNORECASE),
    # TFDS puts the number after the suffix.
    "tfrecord": re.compile(r".+\.tfrecords?(-\d+-of-\d+)?", re.DOTALL | re.IGNORECASE),
}
_MAX_LIST_BYTES = 4_000_000_000


@dataclass(frozen=True)
class Shard:
    """A part of a corpus, which one process aligns as a whole.

    Args:
        name: Name of its results, unique in the corpus.
        kind: "photos", "tar", "parquet" or "tfrecord".
        path: The file; for photos the folder that their paths are relative to.
        fingerprint: Changes with the photos, so that old results are noticed: the file's size, or
            a digest of the paths.
        photos: Paths of the photos, if they are files of their own.
        column: Column or feature of a Parquet or TFRecord file that has the photos.
        key_column: The one that has their keys; None for the numbers of the rows.
    """

    name: str
    kind: str
    path: str
    fingerprint: str
    photos: tuple[str, ...] = ()
    column: str | None = None
    key_column: str | None = None


def plan(
    source: str | os.PathLike[str],
    column: str = "image",
    key_column: str | None = None,
    photos_per_shard: int = 1000,
    exclude: str | os.PathLike[str] | None = None,
) -> list[Shard]:
    """Divides a source of photos into shards, the same ones on every call.

    Args:
        source: One of

            - a folder of photos, which is searched with its subfolders,
            - a `.txt` file with the path of a photo on each line, relative to the file's folder,
            - a `.tar`, `.tar.gz`, `.parquet` or `.tfrecord` file, or a folder of files of one of
              these kinds. Each file is a shard.
        column: Column of Parquet files, or feature of TFRecord files, that has the photos: encoded
            images, or paths relative to the file, or a struct of `bytes` and `path` as Hugging
            Face's data sets have it.
        key_column: Column or feature whose texts or numbers identify the photos in the results.
            Default: the number of the row, from 0.
        photos_per_shard: Photos in a shard, if they are files of their own.
        exclude: Subfolder of a folder of photos that is not searched, such as that of the results.

    Returns:
        The shards, in the order of their names.

    Raises:
        FaceAlignError: If the source is missing, empty, of no known or of several kinds, or lists
            a photo twice.

    Example:
        >>> [shard.name for shard in plan("train.tar")]  # doctest: +SKIP
        ['train.tar']
    """
    check_integer("photos_per_shard", photos_per_shard, 1)
    path = Path(source)
    if os.path.isdir(path):
        kind, files = _containers(path)
        if not files:
            return _listed(path, _find(path, exclude), photos_per_shard)
    elif kind := _kind(path.name):
        files = [path]
    elif path.suffix.lower() == ".txt":
        return _listed(path.parent, _read_list(path), photos_per_shard)
    else:
        open_regular(path).close()
        raise FaceAlignError(
            f"{path}: is no corpus; give a folder, a .txt file of paths, or a .tar, .parquet or "
            ".tfrecord file"
        )
    has_columns = kind in ("parquet", "tfrecord")
    columns = {"column": column, "key_column": key_column} if has_columns else {}
    return [Shard(f.name, kind, str(f), f"{_size(f)} bytes", **columns) for f in files]


def _kind(name: str) -> str:
    return next((kind for kind, names in _CONTAINERS.items() if names.fullmatch(name)), "")


def _size(path: Path) -> int:
    with open_regular(path) as stream:
        return os.fstat(stream.fileno()).st_size


def _containers(folder: Path) -> tuple[str, list[Path]]:
    """Finds the files of a folder that hold many photos, and their kind."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        _unreadable(error)
    kinds = {kind: name for name in reversed(names) if (kind := _kind(name))}
    if len(kinds) > 1:
        raise FaceAlignError(
            f"{folder}: holds files of several kinds, such as {', '.join(sorted(kinds.values()))}; "
            "give a folder with one kind, or a single file"
        )
    files = [folder / name for name in names if _kind(name)]
    photos = find_photos(folder)[0] if files else []
    if photos:
        raise FaceAlignError(
            f"{folder}: holds both photos ({photos[0].name}) and files of photos "
            f"({files[0].name}); put them into folders of their own"
        )
    return next(iter(kinds), ""), files


def _unreadable(error: OSError) -> NoReturn:
    raise FaceAlignError(
        f"{error.filename}: the folder cannot be opened ({error.strerror}); check its permissions"
    ) from error


def _find(folder: Path, exclude: str | os.PathLike[str] | None) -> list[str]:
    """Finds the photos of a folder; those to be converted first are among them, and will fail."""
    left_out = None if exclude is None else Path(exclude)
    if left_out is not None and os.path.realpath(left_out) == os.path.realpath(folder):
        raise FaceAlignError(f"{folder}: is also the folder of the results; choose another one")
    photos, skipped = find_photos(folder, True, left_out, _unreadable)
    found = sorted([*photos, *(file.path for file in skipped if file.is_photo)])
    return [path.relative_to(folder).as_posix() for path in found]


def _read_list(path: Path) -> list[str]:
    """Reads a file of paths, of any bytes; a path must be there once only."""
    lines = read_file(path, _MAX_LIST_BYTES).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    paths = [os.fsdecode(line.rstrip(b"\r")) for line in lines]
    numbers: dict[str, int] = {}
    for number, name in enumerate(paths, 1):
        if name and numbers.setdefault(name, number) != number:
            raise FaceAlignError(
                f"{path}: line {number} repeats line {numbers[name]} ({printable(name)[:200]}); "
                "remove one"
            )
    return list(numbers)


def _listed(folder: Path, photos: Sequence[str], size: int) -> list[Shard]:
    if not photos:
        raise FaceAlignError(f"{folder}: no photos are found there; check the path")
    shards = []
    for start in range(0, len(photos), size):
        part = tuple(photos[start : start + size])
        digest = hashlib.sha256(os.fsencode("\0".join(part))).hexdigest()[:16]
        shards.append(Shard(f"{len(shards):06d}", "photos", str(folder), digest, part))
    return shards
