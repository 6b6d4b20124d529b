"""Reads landmarks from a CSV file, a face or a landmark per row.

Wide, a face per row:

    file,x0,y0,x1,y1,...            numbered landmarks; v0, v1, ... may tell their visibility
    file,nose_x,nose_y,...          named ones, also x_nose,y_nose; nose_v may tell its visibility
    a.jpg,10.5,20,...               without a header

Long, a landmark per row:

    file,name,x,y[,visibility][,face]

The first column is also taken as `image`, `file_name`, `filename`, `path` or `image_name`. Further
columns: `box_x0`, `box_y0`, `box_x1`, `box_y1`, and `group`, `person`, `subject` or `identity`.
Empty cells stand for points that are not labeled. The format does not define whether pixels count
from 0 or from 1: `one_based` tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from keras_facealign.data.labels.raw_labels import (
    MAX_LANDMARKS,
    RawFace,
    RawLabels,
    box_of,
    number,
    short_name,
    shown,
    visibility_value,
)
from keras_facealign.data.labels.table_rows import table_rows
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.file_names import unescape_cell

FILES = ("file", "file_name", "filename", "image", "image_name", "path", "image_path")
_NAMES = ("name", "landmark", "point", "label", "landmark_name", "index")
_GROUPS = ("group", "person", "subject", "identity")
_FACES = ("face", "face_id", "instance")
_VISIBILITIES = ("visibility", "visible", "v")
_BOXES = ("box_x0", "box_y0", "box_x1", "box_y1")
_AXIS_FIRST = re.compile(r"([xyv])[_.\- ]?(.+)")
_AXIS_LAST = re.compile(r"(.+?)[_.\- ]([xyv])")
_LAYOUTS = "the first line must be file,x0,y0,x1,y1,..., file,NAME_x,NAME_y,..., or file,name,x,y"

_COUNTING = {
    True: "pixels count from 1 in the file (one_based), so that 1 was subtracted",
    False: "pixels count from 0, as in the file",
    None: "pixels are taken to count from 0 (one_based=True if the file counts from 1)",
}


def read(path: Path, one_based: bool | None = None) -> RawLabels:
    """Reads a file, row by row.

    Args:
        path: The CSV file.
        one_based: Whether pixels count from 1. Default: from 0.

    Raises:
        FaceAlignError: The file is no CSV, or its columns are others.
    """
    labels = RawLabels("CSV", _COUNTING[one_based])
    rows = table_rows(path)
    first = next(rows, None)
    if first is None:
        raise FaceAlignError(f"{path}: the file is empty; {_LAYOUTS}")
    header = [cell.lower() for cell in first[1]]
    if _is_data(first[1]):
        columns = len(first[1]) - 1
        header = [FILES[0], *(f"{i // 2}_{'xy'[i % 2]}" for i in range(columns))]
        labels.notes.append(f"{path} has no header; its columns are taken as file,x0,y0,x1,y1,...")
        rows = chain([first], rows)
    if len(set(header)) != len(header):
        repeated = next(title for title in header if header.count(title) > 1)
        raise FaceAlignError(f"{path}: has two columns {shown(repeated)}; rename one of them")
    shift = 1.0 if one_based else 0.0
    if "x" in header and "y" in header and any(name in header for name in _NAMES):
        labels.title = "CSV, a landmark per row"
        _read_long(path, rows, header, labels, shift)
    else:
        labels.title = "CSV, a face per row"
        _read_wide(path, rows, _Columns.of(header, path), labels, shift)
    return labels


def _is_data(cells: list[str]) -> bool:
    """Whether a first row has coordinates and not titles."""
    values = [cell for cell in cells[1:] if cell]
    try:
        [float(value) for value in values]
    except ValueError:
        return False
    return len(values) >= 2 and len(cells) % 2 == 1


def _first(header: list[str], titles: tuple[str, ...]) -> int | None:
    return next((header.index(title) for title in titles if title in header), None)


@dataclass
class _Columns:
    """Places of the columns of a wide file."""

    file: int
    names: list[str] = field(default_factory=list)
    x: list[int] = field(default_factory=list)
    y: list[int] = field(default_factory=list)
    visibility: list[int | None] = field(default_factory=list)
    box: list[int] | None = None
    group: int | None = None

    @classmethod
    def of(cls, header: list[str], path: Path) -> _Columns:
        """Finds the columns.

        Raises:
            FaceAlignError: There are none of pictures or points.
        """
        file = _first(header, FILES)
        if file is None:
            raise FaceAlignError(f"{path}: has no column of file names; {_LAYOUTS}")
        columns = cls(file, group=_first(header, _GROUPS))
        if set(_BOXES) <= set(header):
            columns.box = [header.index(title) for title in _BOXES]
        places: dict[str, dict[str, int]] = {}
        for place, title in enumerate(header):
            if place in (file, columns.group) or title in _BOXES:
                continue
            last, before = _AXIS_LAST.fullmatch(title), _AXIS_FIRST.fullmatch(title)
            if last:
                places.setdefault(last[1], {})[last[2]] = place
            elif before:
                places.setdefault(before[2], {})[before[1]] = place
        points = {name: axes for name, axes in places.items() if "x" in axes or "y" in axes}
        for name, axes in points.items():
            if "x" not in axes or "y" not in axes:
                raise FaceAlignError(
                    f"{path}: has only one column for the point {shown(name)}; {_LAYOUTS}"
                )
        if not points or len(points) > MAX_LANDMARKS:
            raise FaceAlignError(f"{path}: has columns for {len(points)} points; {_LAYOUTS}")
        if sorted(header) == sorted((header[file], "x0", "y0", "x1", "y1")):
            raise FaceAlignError(
                f"{path}: has the columns x0, y0, x1, y1, which may be boxes or two points; call "
                "them NAME_x, NAME_y if they are points"
            )
        names = list(points)
        if all(name.isascii() and name.isdigit() for name in names):
            names.sort(key=int)
        columns.names = names
        for name in names:
            columns.x.append(points[name]["x"])
            columns.y.append(points[name]["y"])
            columns.visibility.append(points[name].get("v"))
        return columns


def _read_wide(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: _Columns,
    labels: RawLabels,
    shift: float,
) -> None:
    if not all(name.isdigit() for name in columns.names):
        labels.names = tuple(columns.names)
    last = max((*columns.x, *columns.y, columns.file))
    for line, cells in rows:
        where = f"{path}: line {line}"
        try:
            if len(cells) <= last:
                raise FaceAlignError(
                    f"{where} has {len(cells)} cells where {last + 1} are needed; correct it"
                )
            name = unescape_cell(cells[columns.file])
            where = f"{where} ({short_name(name)})"
            if not name:
                raise FaceAlignError(f"{where} names no picture; add its name")
            points = [[number(cells[i], where) for i in axis] for axis in (columns.x, columns.y)]
            points = np.array(points, np.float64).T - shift
            flags = [
                2 if place is None or not cells[place] else visibility_value(cells[place], where)
                for place in columns.visibility
            ]
            face = _face(name, points, flags, where)
            group = None if columns.group is None else cells[columns.group] or None
            box = None
            if columns.box is not None and all(cells[place] for place in columns.box):
                x0, y0, x1, y1 = box_of([cells[place] for place in columns.box], where)
                box = x0 - shift, y0 - shift, x1 - shift, y1 - shift
            if not face.visibility.any() and box is not None:
                labels.empty_boxes.append((name, box))
                continue
            labels.faces.append(RawFace(name, points, face.visibility, where, box=box, group=group))
        except (FaceAlignError, IndexError) as error:
            if isinstance(error, IndexError):
                error = FaceAlignError(f"{where} has fewer cells than the header; correct it")
            labels.skipped.append(error)


def _face(name: str, points: np.ndarray, flags: list[int], where: str) -> RawFace:
    half = np.isnan(points).sum(axis=1) == 1
    if half.any():
        raise FaceAlignError(
            f"{where} has only one coordinate of point {int(np.flatnonzero(half)[0])}; give both, "
            "or none"
        )
    visibility = np.where(np.isnan(points).any(axis=1), 0, flags).astype(np.int32)
    return RawFace(name, points, visibility, where)


def _read_long(
    path: Path,
    rows: Iterator[tuple[int, list[str]]],
    header: list[str],
    labels: RawLabels,
    shift: float,
) -> None:
    file, name = _first(header, FILES), _first(header, _NAMES)
    if file is None or name is None:
        raise FaceAlignError(f"{path}: has no column of file names; {_LAYOUTS}")
    x, y, visible = header.index("x"), header.index("y"), _first(header, _VISIBILITIES)
    group, person = _first(header, _FACES), _first(header, _GROUPS)
    faces: dict[tuple[str, str], list[tuple[str, float, float, int]]] = {}
    persons: dict[tuple[str, str], str] = {}
    broken: set[tuple[str, str]] = set()
    lines: dict[tuple[str, str], int] = {}
    known: dict[str, str] = {}
    for line, cells in rows:
        where = f"{path}: line {line}"
        if len(cells) < len(header):
            labels.skipped.append(
                FaceAlignError(f"{where} has {len(cells)} cells for {len(header)} columns")
            )
            continue
        key = unescape_cell(cells[file]), "" if group is None else cells[group]
        lines.setdefault(key, line)
        try:
            if not key[0] or not cells[name]:
                raise FaceAlignError(f"{where} names no picture or no landmark; add it")
            flag = 2
            if visible is not None and cells[visible]:
                flag = visibility_value(cells[visible], where)
            label = known.setdefault(cells[name], cells[name])
            point = label, number(cells[x], where) - shift, number(cells[y], where) - shift, flag
            faces.setdefault(key, []).append(point)
            if person is not None and cells[person]:
                persons[key] = cells[person]
        except FaceAlignError as error:
            broken.add(key)
            labels.skipped.append(error)
    tuples: dict[tuple[str, ...], tuple[str, ...]] = {}
    for key, points in faces.items():
        if key in broken:
            continue
        where = f"{path}: line {lines[key]} ({short_name(key[0])})"
        names = tuple(point[0] for point in points)
        names = tuples.setdefault(names, names)
        positions = np.array([point[1:3] for point in points], np.float64)
        face = RawFace(key[0], positions, np.zeros(0, np.int32), where)
        try:
            face = _face(key[0], positions, [point[3] for point in points], where)
        except FaceAlignError as error:
            labels.skipped.append(error)
            continue
        labels.faces.append(
            RawFace(key[0], positions, face.visibility, where, names, group=persons.get(key))
        )
