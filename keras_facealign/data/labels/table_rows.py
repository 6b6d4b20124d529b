"""Rows of delimited text in any of the usual encodings and with any of the usual delimiters."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line, open_regular

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_HEAD = 1 << 16


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a CSV file one at a time, without empty ones.

    Args:
        path: A text file in UTF-8, UTF-16 with a byte order mark, or any encoding that extends
            ASCII: bytes that are not UTF-8 become surrogates, as in names of files. Cells are
            divided by commas, semicolons or tabs, whichever the first line has most of.

    Yields:
        Number of the row's line in the file, and its cells without blanks around them.

    Raises:
        FaceAlignError: The file cannot be read, or is no text.
    """
    with open_regular(path) as stream:
        head = stream.read(_HEAD)
        stream.seek(0)
        if not head:
            raise FaceAlignError(f"{path}: the file is empty; replace or remove it")
        encoding = next((name for bom, name in _BOMS if head.startswith(bom)), "utf-8")
        if b"\0" in head and encoding != "utf-16":
            raise FaceAlignError(f"{path}: is no text file; give a CSV file in UTF-8")
        text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
        first = head.decode(encoding, "replace").lstrip().partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
        try:
            for row in rows:
                if any(row):
                    yield rows.line_num, [cell.strip() for cell in row]
        except (csv.Error, UnicodeError) as error:
            raise FaceAlignError(
                f"{path}: line {max(rows.line_num, 1)} cannot be read ({one_line(error)}); give a "
                "CSV file in UTF-8"
            ) from error


def first_row(path: str | os.PathLike[str]) -> list[str]:
    """The first row of a CSV file; empty if there is none.

    Raises:
        FaceAlignError: As for `table_rows`.
    """
    return next((row for _, row in table_rows(Path(path))), [])
