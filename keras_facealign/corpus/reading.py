"""Reads the photos of a shard, one after the other, with an error in place of an unusable one."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from keras_facealign.corpus.shards import Shard
from keras_facealign.corpus.tfrecord import bytes_features, read_records
from keras_facealign.data.files import import_extra
from keras_facealign.data.photo_formats import foreign_format, photo_suffixes
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line, open_regular, parsing

MAX_PHOTO_BYTES = 500_000_000
"""Photos that are larger inside a file are refused."""

Photo = Path | bytes | FaceAlignError
"""Where a photo is, its content, or why it cannot be read."""

# Names in archives that are longer than 255 bytes are members of their own.
_LONG_HEADERS = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_LONG_HEADERS |= {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
_MAX_HEADER_BYTES = 1_000_000
_ROWS = 16  # of a Parquet file in memory at a time


class ColumnError(FaceAlignError):
    """Raised where a file does not have the column or feature that was asked for."""


def read_photos(shard: Shard) -> Iterator[tuple[str, Photo]]:
    """Yields the key of each photo of a shard, and the photo.

    If the rest of a file cannot be read, the last key is the file's name, and its photo the error.

    Args:
        shard: The shard.

    Yields:
        Key and photo.
    """
    try:
        yield from _READERS[shard.kind](shard)
    except FaceAlignError as error:
        yield Path(shard.path).name, error


def check_column(shard: Shard) -> None:
    """Raises `ColumnError` if a shard does not have the columns that it is to be read by."""
    if shard.column is not None:
        _, photo = next(read_photos(shard), ("", b""))
        if isinstance(photo, ColumnError):
            raise photo


def _read_files(shard: Shard) -> Iterator[tuple[str, Photo]]:
    folder = Path(shard.path)
    return ((name, folder / name) for name in shard.photos)


class _Header(tarfile.TarInfo):
    """A header whose damage is an error, where `tarfile` would take it for the archive's end."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _LONG_HEADERS and info.size > _MAX_HEADER_BYTES):
            raise FaceAlignError(f"a header claims {info.size} bytes")
        return info

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the block of zeros at the end
        except tarfile.HeaderError as error:
            raise FaceAlignError(f"damaged or cut off, {one_line(error)}") from error


def _read_tar(shard: Shard) -> Iterator[tuple[str, Photo]]:
    name, suffixes, before = shard.path, photo_suffixes(), "the start"
    try:
        # The formats of streams: nothing is sought, so compressed archives are read once.
        with (
            open_regular(shard.path) as stream,
            tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header) as archive,
        ):
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # kept otherwise, by the million
                inside = PurePosixPath(member.name)
                foreign = foreign_format(inside.name)
                readable = inside.suffix.lower() in suffixes or foreign is not None
                if readable and not inside.name.startswith(".") and not member.isdir():
                    yield member.name, _member(archive, member)
                before = f"member {member.name}"
    except FaceAlignError as error:
        raise FaceAlignError(f"{name}: after {before}: {one_line(error)}; copy it again") from error
    except Exception as error:  # of tarfile, zlib, bz2, lzma and the disk
        reason = f"{name}: cannot be read after {before} ({one_line(error)}); copy it again"
        raise FaceAlignError(reason) from error


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Photo:
    if not member.isreg():
        return FaceAlignError("is a link or a device, not a file; pack the file itself")
    if member.size > MAX_PHOTO_BYTES:
        return FaceAlignError(f"has {member.size} bytes, over the limit of {MAX_PHOTO_BYTES}")
    stream = archive.extractfile(member)
    return stream.read() if stream is not None else b""


def _read_parquet(shard: Shard) -> Iterator[tuple[str, Photo]]:
    pq = import_extra("pyarrow.parquet", "corpus")
    with open_regular(shard.path) as stream:
        with parsing(shard.path, "copy it again"):
            file = pq.ParquetFile(stream)
            found = file.schema_arrow.names
        columns = [name for name in (shard.column, shard.key_column) if name is not None]
        for name in columns:
            if name not in found:
                raise ColumnError(
                    f"{shard.path}: has no column {name!r}, but {', '.join(found)[:300]}; choose "
                    "with --column and --key-column"
                )
        number = 0
        batches = file.iter_batches(batch_size=_ROWS, columns=columns)
        while True:
            with parsing(shard.path, f"its rows from {number} on are not read; copy it again"):
                rows = next(batches, None)
                rows = None if rows is None else rows.to_pylist()
            if rows is None:
                return
            for row in rows:
                key = number if shard.key_column is None else row[shard.key_column]
                yield _row(key, number, row[shard.column], shard)
                number += 1


def _row(key: Any, number: int, value: Any, shard: Shard) -> tuple[str, Photo]:
    if not isinstance(key, (str, int, bytes)):
        return str(number), FaceAlignError(f"row {number} has the key {key!r}; give it a text")
    key = os.fsdecode(key) if isinstance(key, bytes) else str(key)
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return key, Path(shard.path).parent / value
    if isinstance(value, bytes):
        return key, value
    kind = "nothing" if value is None else type(value).__name__
    return key, FaceAlignError(f"row {number} holds {kind}, not an image's bytes or path")


def _read_tfrecord(shard: Shard) -> Iterator[tuple[str, Photo]]:
    with open_regular(shard.path) as stream, parsing(shard.path, "copy it again"):
        records = enumerate(read_records(stream, shard.path, MAX_PHOTO_BYTES))
        for number, record in records:
            try:
                yield _example(record, number, shard)
            except FaceAlignError as error:
                yield str(number), error


def _example(record: bytes | FaceAlignError, number: int, shard: Shard) -> tuple[str, Photo]:
    if isinstance(record, FaceAlignError):
        raise record
    with parsing(f"record {number}", "write a tf.train.Example"):
        features = bytes_features(record)
    for name in (shard.column, shard.key_column):
        if name is not None and len(features.get(name, ())) != 1:
            found = ", ".join(n for n, values in features.items() if len(values) == 1)
            raise ColumnError(
                f"record {number} has no feature {name!r} of one byte string, but {found[:300]}; "
                "choose with --column and --key-column"
            )
    key = number if shard.key_column is None else features[shard.key_column][0]
    return _row(key, number, features[str(shard.column)][0], shard)


_READERS = {
    "photos": _read_files,
    "tar": _read_tar,
    "parquet": _read_parquet,
    "tfrecord": _read_tfrecord,
}
