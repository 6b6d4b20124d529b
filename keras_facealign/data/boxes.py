"""Reads face boxes from a CSV file."""

from __future__ import annotations

import os
from pathlib import Path

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.file_names import unescape_cell
from keras_facealign.storage.reading import csv_rows

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
    rows = csv_rows(path)
    header = [title.strip() for title in next(rows, [])]
    missing = [name for name in ("image", *_COLUMNS) if name not in header]
    if missing:
        raise FaceAlignError(
            f"{path}: has no column {', '.join(missing)}; the first line must be image,x0,y0,x1,y1"
        )
    image, *places = (header.index(name) for name in ("image", *_COLUMNS))
    boxes: dict[str, list[list[float]]] = {}
    for number, row in enumerate(rows, start=2):
        values = [row[place] for place in places if place < len(row)]
        try:
            x0, y0, x1, y1 = (float(value) for value in values)
        except ValueError:
            shown = " ".join(", ".join(values).split())[:80]
            raise FaceAlignError(
                f"{path}: row {number} has the box {shown}; give four numbers"
            ) from None
        name = unescape_cell(row[image] if image < len(row) else "")
        boxes.setdefault(Path(name).as_posix(), []).append([x0, y0, x1, y1])
    return boxes
