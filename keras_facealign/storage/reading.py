"""Opens and parses files that are not trusted.

Only regular files are opened, sizes are checked before memory is taken, and what other libraries'
parsers raise on damage becomes one `FaceAlignError`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from keras_facealign.errors import FaceAlignError

MAX_FILE_BYTES = 2**31
"""Largest file of a network that is read: FlatBuffers and protocol buffers end here."""

# Unix and Windows have one of these each.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Memory that a reader may take whatever the size of its file, and for each byte of the file.
_FREE_BYTES, _TIMES_FILE = 64_000_000, 4
# What Python's objects take for a JSON document: for each comma or colon, for each bracket.
_ITEM_BYTES, _HOLDER_BYTES = 40, 100
# And for each row of a CSV file.
_ROW_BYTES = 200


def one_line(error: BaseException) -> str:
    """Shortens the message of another library's error to one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def open_regular(path: str | os.PathLike[str], name: str | None = None) -> IO[bytes]:
    """Opens a regular file for reading in binary.

    Args:
        path: The file. Links to it are followed.
        name: What error messages call the file. Default: its path.

    Returns:
        The open file.

    Raises:
        FaceAlignError: If it is missing, may not be read, or is a folder, a pipe or a device.
    """
    name = name or str(path)
    try:
        # A pipe without a writer would block the opening.
        handle = os.open(path, os.O_RDONLY | _FLAGS)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise FaceAlignError(f"{name}: is not a regular file; give a file's path")
        return os.fdopen(handle, "rb")
    except (OSError, ValueError) as error:  # ValueError: a zero character in the path
        if isinstance(error, FaceAlignError):
            raise
        reason = getattr(error, "strerror", None) or one_line(error)
        raise FaceAlignError(
            f"{name}: cannot be opened ({reason}); check the path and its permissions"
        ) from error


def read_file(path: str | os.PathLike[str], max_bytes: int, name: str | None = None) -> bytes:
    """Reads a regular file that is not empty.

    Args:
        path: The file.
        max_bytes: Larger files are refused.
        name: What error messages call the file. Default: its path.

    Raises:
        FaceAlignError: If it cannot be opened, is no regular file, is empty, or is larger than
            `max_bytes`.
    """
    name = name or str(path)
    with open_regular(path, name) as stream, parsing(name, "check its disk"):
        size = os.fstat(stream.fileno()).st_size
        # As many bytes as are asked for are allocated. One more shows that the file grows.
        content = stream.read(size + 1) if size <= max_bytes else b""
    if max(size, len(content)) > max_bytes:
        raise FaceAlignError(f"{name}: is larger than {max_bytes} bytes; check the file")
    if not content:
        raise FaceAlignError(f"{name}: the file is empty; replace or remove it")
    return content


@contextmanager
def parsing(name: str | os.PathLike[str], advice: str = "replace it") -> Iterator[None]:
    """Turns what a parser of another library raises on a damaged file into a `FaceAlignError`.

    Parsers meet damage with errors of every kind: of `struct` and `zlib`, `KeyError`,
    `OverflowError`, `RecursionError`, `MemoryError`. So little more than
    calls of such a parser belongs inside: mistakes of this package have to be seen.

    Args:
        name: What the message calls the file.
        advice: What the message advises.

    Raises:
        FaceAlignError: Instead of any other error; its cause is that error.

    Example:
        >>> with parsing("boxes.json"):
        ...     json.loads("{")
        Traceback (most recent call last):
        ...
        keras_facealign.errors.FaceAlignError: boxes.json: cannot be read (...); replace it
    """
    try:
        yield
    except FaceAlignError:
        raise
    except Exception as error:
        raise FaceAlignError(f"{name}: cannot be read ({one_line(error)}); {advice}") from error


def check_memory(
    name: str | os.PathLike[str], claimed: int, file_bytes: int, what: str = "its content"
) -> None:
    """Checks that what a file is about to take in memory is in proportion to its size.

    Args:
        name: What the message calls the file.
        claimed: Bytes that reading it will take.
        file_bytes: Size of the file.
        what: What takes them.

    Raises:
        FaceAlignError: If it is more than 64 MB and four times the file's size.
    """
    limit = _FREE_BYTES + _TIMES_FILE * file_bytes
    if claimed > limit:
        raise FaceAlignError(
            f"{name}: {what} would take {claimed} bytes of memory, and the limit for a file of "
            f"{file_bytes} bytes is {limit}; check the file"
        )


def parse_json(content: bytes, name: str | os.PathLike[str], advice: str = "correct it") -> Any:
    """Parses a JSON document.

    Args:
        content: UTF-8, UTF-16 or UTF-32.
        name: What error messages call the file.
        advice: What they advise.

    Returns:
        The value.

    Raises:
        FaceAlignError: If it is not JSON, or would take much more memory than the file.
    """
    items, holders = content.count(b",") + content.count(b":"), content.count(b"[")
    holders += content.count(b"{")
    claimed = _ITEM_BYTES * items + _HOLDER_BYTES * holders
    check_memory(name, claimed, len(content), f"{items} values")
    with parsing(name, advice):
        return json.loads(content)


def decode_text(content: bytes, name: str | os.PathLike[str]) -> str:
    """Decodes text in UTF-8, with or without a byte order mark.

    Raises:
        FaceAlignError: If it is not text.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FaceAlignError(f"{name}: is not a text file in UTF-8; replace it") from error


def csv_rows(path: str | os.PathLike[str], max_bytes: int = 100_000_000) -> Iterator[list[str]]:
    """Yields the rows of a CSV file that are not empty.

    Args:
        path: A text file in UTF-8.
        max_bytes: Larger files are refused.

    Raises:
        FaceAlignError: If it cannot be read, is no text, or has so many rows and cells that they
            would take much more memory than the file.
    """
    content = read_file(path, max_bytes)
    rows, cells = content.count(b"\n"), content.count(b",")
    check_memory(path, _ROW_BYTES * rows + _ITEM_BYTES * cells, len(content), f"{rows} rows")
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    with parsing(path, "give a CSV file in UTF-8"):
        yield from (row for row in csv.reader(stream, skipinitialspace=True) if row)
