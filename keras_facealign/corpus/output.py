"""The folder of results: which shards are whole, which are missing, and of what they are made.

`corpus.json` holds all that decides the results; `faces/NAME.parquet` appears last of a shard's
files, and only when they are whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from keras_facealign.corpus.reading import check_column
from keras_facealign.corpus.shards import Shard
from keras_facealign.data.files import import_extra
from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import find_preset
from keras_facealign.storage.atomic import OutputError, atomic_write
from keras_facealign.storage.file_names import printable
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.storage.reading import open_regular, parsing

FORMAT = "keras-facealign corpus 1"
"""Name of the format; the number increases when a field changes its meaning."""

FACES, DEAD_LETTERS, OVERLAYS = "faces", "dead_letters", "overlays"
"""Folders of the output."""

METADATA = b"keras_facealign"
"""Key of the metadata of the Parquet files, a JSON object."""

# The files of a preset that decide its results.
_MODEL_SUFFIXES = (".h5", ".tflite", ".onnx", ".json")


def face_schema() -> Any:
    """Returns the schema of `faces/*.parquet`: a row for each photo."""
    pa = import_extra("pyarrow", "corpus")
    number, numbers = pa.float32(), pa.list_(pa.float32())
    face = pa.struct(
        [
            ("box", numbers),
            ("roll", number),
            ("score", number),
            ("reliable", pa.bool_()),
            ("landmarks", pa.list_(numbers)),
            ("confidence", numbers),
            ("sigma", numbers),
            ("visibility", numbers),
        ]
    )
    size = [("width", pa.int32()), ("height", pa.int32())]
    names = [("shard", pa.string()), ("key", pa.string())]
    return pa.schema([*names, *size, ("faces", pa.list_(face)), ("overlay", pa.string())])


def dead_letter_schema() -> Any:
    """Returns the schema of `dead_letters/*.parquet`: a row for each photo that failed."""
    pa = import_extra("pyarrow", "corpus")
    return pa.schema([("shard", pa.string()), ("key", pa.string()), ("reason", pa.string())])


def model_digest(preset: str | os.PathLike[str]) -> str:
    """Computes a digest of the files of a preset or an exported file, which retraining changes."""
    path = Path(preset)
    if path.suffix.lower() in (".tflite", ".onnx"):
        files = [path]
    else:
        folder = find_preset(os.fspath(preset))
        files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in _MODEL_SUFFIXES]
    digest = hashlib.sha256()
    for file in files:
        # What describes the preset, and says nothing of its network.
        if file.name != "metadata.json":
            with open_regular(file) as stream, parsing(file):
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def prepare(
    shards: Sequence[Shard],
    output: str | os.PathLike[str],
    settings: dict[str, Any],
    retry: bool = False,
) -> list[Shard]:
    """Creates the folder of the results, or checks that it belongs to the same corpus.

    Args:
        shards: The corpus, from `plan`.
        output: The folder.
        settings: What else decides the results, from `AlignOptions.to_dict`.
        retry: Do shards with photos that failed once more.

    Returns:
        The shards that are missing, or whose file has changed.

    Raises:
        FaceAlignError: If the folder holds results of other photos or settings, or cannot be
            written, or the shards do not have the columns that they are to be read by.
    """
    folder, first = Path(output), shards[0]
    about = {"kind": first.kind, "column": first.column, "key_column": first.key_column}
    about = {"format": FORMAT, **about, **settings}
    check_column(first)
    try:
        for name in (FACES, DEAD_LETTERS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        present = {name for name in os.listdir(folder / FACES) if name.endswith(".parquet")}
    except OSError as error:
        message = f"{folder}: cannot be written ({error.strerror}); choose another folder"
        raise OutputError(message, error) from error
    foreign = sorted(present - {f"{shard.name}.parquet" for shard in shards} - _partial(present))
    if foreign:
        raise FaceAlignError(
            f"{folder}: holds results of another corpus ({printable(foreign[0])}); choose another "
            "folder"
        )
    path = folder / "corpus.json"
    if path.exists() or present:
        _check_same(path, about)
    text = json.dumps(about, indent=2) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
    return [shard for shard in shards if _is_missing(shard, folder, retry)]


def _partial(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(".")}


def _check_same(path: Path, about: dict[str, Any]) -> None:
    before = read_json_object(path)
    for name in (*about, *before):
        if before.get(name) != about.get(name):
            raise FaceAlignError(
                f"{path}: the results there are of {name} {before.get(name)!r}, and this run has "
                f"{about.get(name)!r}; choose another folder for it"
            )


def _is_missing(shard: Shard, folder: Path, retry: bool) -> bool:
    path = folder / FACES / f"{shard.name}.parquet"
    if not path.exists():
        return True
    before = None
    with suppress(FaceAlignError):  # A damaged file is done again.
        before = read_footer(path)[1].get("fingerprint")
    if shard.kind == "photos" and before not in (None, shard.fingerprint):
        raise FaceAlignError(
            f"{path}: was made of other photos, since photos were added or removed; choose another "
            "folder, or list the new photos in a .txt file and give them a folder of their own"
        )
    return before != shard.fingerprint or (retry and _dead_letters(shard, folder).exists())


def _dead_letters(shard: Shard, folder: Path) -> Path:
    return folder / DEAD_LETTERS / f"{shard.name}.parquet"


def read_footer(path: Path) -> tuple[int, dict[str, Any]]:
    """Reads the number of rows of a Parquet file of results, and its metadata.

    Raises:
        FaceAlignError: If it cannot be read.
    """
    pq = import_extra("pyarrow.parquet", "corpus")
    with open_regular(path) as stream, parsing(path, "delete it, to have it done again"):
        footer = pq.read_metadata(stream)
        return footer.num_rows, json.loads(footer.metadata[METADATA])


def read_dead_letters(output: str | os.PathLike[str]) -> Iterator[dict[str, str]]:
    """Yields the photos of a folder of results that failed: `shard`, `key` and `reason`.

    Args:
        output: The folder.

    Raises:
        FaceAlignError: If a file cannot be read.

    Example:
        >>> broken = [row["key"] for row in read_dead_letters("results")]  # doctest: +SKIP
    """
    pq = import_extra("pyarrow.parquet", "corpus")
    for path in sorted((Path(output) / DEAD_LETTERS).glob("[!.]*.parquet")):
        with open_regular(path) as stream, parsing(path):
            rows = pq.ParquetFile(stream).read().to_pylist()
        yield from rows


def count_photos(shards: Sequence[Shard], output: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Counts shards that are whole, their photos that are aligned, and those that failed."""
    whole = photos = failed = 0
    for shard in shards:
        path = Path(output) / FACES / f"{shard.name}.parquet"
        if path.exists():
            whole += 1
            photos += read_footer(path)[0]
            dead = _dead_letters(shard, Path(output))
            failed += read_footer(dead)[0] if dead.exists() else 0
    return whole, photos, failed
