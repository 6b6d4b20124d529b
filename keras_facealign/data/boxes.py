"""Reads face boxes from a CSV file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from keras_facealign.data.files import read_text
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.file_names import unescape_cell

_COLUMNS = ("x0", "y0", "x1", "y1")


def read_boxes(path: str | os.PathLike[str]) -> dict[str, list[list[float]]]:
    """Reads boxes by the name of their image.

    Args:
        path: A CSV file with a header and the columns image, x0, y0, x1, y1 (others are ignored);
            one face per line; pixels, tight around the landmarks.

    Returns:
        The boxes of each image, in order; names are those of the file with forward slashes, and
        without the apostrophe that protects spreadsheets (see `file_names`).

    Raises:
        FaceAlignError: If the file cannot be read, a column is missing, or a box is not four
            numbers.

    Example:
        >>> read_boxes("boxes.csv")  # doctest: +SKIP
        {'afw/1.jpg': [[10.0, 12.0, 90.0, 88.0]]}
    """
    # Names may contain line breaks, inside quotes.
    text = io.StringIO(read_text(path), newline="")
    rows = csv.DictReader(text, skipinitialspace=True)
    missing = [name for name in ("image", *_COLUMNS) if name not in (rows.fieldnames or ())]
    if missing:
        raise FaceAlignError(
            f"{path}: has no column {', '.join(missing)}; the first line must be image,x0,y0,x1,y1"
        )
    boxes: dict[str, list[list[float]]] = {}
    for row in rows:
        try:
            box = [float(row[name]) for name in _COLUMNS]
        except (TypeError, ValueError):
            values = ", ".join(str(row[name]) for name in _COLUMNS)
            raise FaceAlignError(
                f"{path}: line {rows.line_num} has the box {values}; give four numbers"
            ) from None
        boxes.setdefault(Path(unescape_cell(row["image"] or "")).as_posix(), []).append(box)
    return boxes
