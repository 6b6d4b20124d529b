"""Reads predictions of this and of other libraries from files, which are not trusted.

| file | content |
|---|---|
| `.npz` | `prediction` (N, K, 2), and if there are `file_names` (N,) and `confidence` (N, K) |
| `.npy` | (N, K, 2), in the order of the data |
| `.json` | `{"a.jpg": [[x, y], ...], ...}`, or a list of `{"file_name": ..., "landmarks": ...}` |
| `.csv` | a header with `file_name`, `x0`, `y0`, `x1`, ..., and perhaps `confidence0`, ... |
| a folder | `.pts` files named as the images; they count pixels from 1 |

All but `.pts` files are in pixels counted from 0. A face that was not found is left out, or all of
its numbers are NaN (an empty cell in CSV, `null` in JSON).
"""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_facealign.data.npz import read_arrays
from keras_facealign.data.pts import read_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.file_names import unescape_cell
from keras_facealign.storage.reading import csv_rows, one_line, parse_json, read_file

_MAX_BYTES = 1 << 30

_NAME_KEYS = ("file_name", "image", "imgpath", "name")
_NAME_ARRAYS = ("file_names", "images", "names")
_POINT_ARRAYS = ("prediction", "predictions", "landmarks")
_COLUMN = re.compile(r"(x|y|confidence)_?([0-9]{1,4})$")


@dataclass(frozen=True, eq=False)
class LandmarkFile:
    """Landmarks of the faces in a file.

    Attributes:
        landmarks: float64 (N, K, 2), pixels, the first at 0.
        names: N names of images; None where faces are in the data's order.
        confidence: float64 (N, K), if the file has it.
    """

    landmarks: np.ndarray
    names: list[str] | None = None
    confidence: np.ndarray | None = None


def read_landmarks(path: str | os.PathLike[str]) -> LandmarkFile:
    """Reads predictions; see this module for the formats.

    Args:
        path: A file or a folder.

    Returns:
        The faces.

    Raises:
        FaceAlignError: If it is missing, too large, of another kind, or its faces do not have equal
            numbers of landmarks.

    Example:
        >>> read_landmarks("predictions.csv").landmarks.shape  # doctest: +SKIP
        (689, 68, 2)
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    readers: dict[str, Callable[[Path], LandmarkFile]] = {
        ".npz": _read_npz,
        ".npy": _read_npy,
        ".json": _read_json,
        ".csv": _read_csv,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FaceAlignError(
            f"{path}: predictions are read from {', '.join(readers)} and folders of .pts files"
        )
    return reader(path)


def match_names(expected: list[str], found: list[str]) -> tuple[list[int | None], list[str]]:
    """Finds the prediction of each face of the data by its image's name.

    Names match if they are equal, or without their endings, without their folders, or without both;
    the first of these by which any two are equal holds for all. Equal names stand for several faces
    of one image, in their order.

    Args:
        expected: Names of the data.
        found: Names of the predictions.

    Returns:
        For each expected name the place of its prediction, None where there is none; and the names
        of predictions that belong to no face.

    Raises:
        FaceAlignError: If no name matches, or shortened names are ambiguous.
    """
    ways: list[Callable[[PurePosixPath], str]] = [
        str,
        lambda path: str(path.with_suffix("")) if path.name else "",
        lambda path: path.name,
        lambda path: path.stem,
    ]
    for way in ways:
        ours, theirs = (
            [way(PurePosixPath(name.replace("\\", "/"))) for name in names]
            for names in (expected, found)
        )
        if not set(ours) & set(theirs):
            continue
        if len(set(theirs)) < len(set(found)) or len(set(ours)) < len(set(expected)):
            name = Counter(theirs).most_common(1)[0]
            name = name if name[1] > 1 else Counter(ours).most_common(1)[0]
            raise FaceAlignError(
                f"Several images are called {name[0][:80]!r}; name predictions by paths below the "
                f"data set's folder, such as {expected[0][:80]!r}."
            )
        places = {key: place for place, key in enumerate(_numbered(theirs))}
        result = [places.pop(key, None) for key in _numbered(ours)]
        return result, [found[place] for place in places.values()]
    names = (repr(names[0][:80]) if names else "nothing" for names in (found, expected))
    raise FaceAlignError(
        f"None of the {len(found)} predictions is named like one of the {len(expected)} images: "
        "they are called {} and so on, the images {}.".format(*names)
    )


def _numbered(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with the number of its occurrences before."""
    seen: defaultdict[str, count[int]] = defaultdict(count)
    return [(name, next(seen[name])) for name in names]


def _read_npz(path: Path) -> LandmarkFile:
    arrays = read_arrays(path)
    points = next((arrays[key] for key in _POINT_ARRAYS if key in arrays), None)
    if points is None:
        raise FaceAlignError(
            f"{path}: has no array {_POINT_ARRAYS[0]!r}, but {', '.join(sorted(arrays)) or 'none'}"
        )
    names = next((arrays[key] for key in _NAME_ARRAYS if key in arrays), None)
    if names is not None:
        _check_count(path, names.size, len(points) if points.ndim else 0)
    names = None if names is None else [str(name) for name in names.ravel()]
    return _checked(path, points, names, arrays.get("confidence"))


def _read_npy(path: Path) -> LandmarkFile:
    return _checked(path, next(iter(read_arrays(path).values()), None))


def _read_json(path: Path) -> LandmarkFile:
    content = parse_json(read_file(path, _MAX_BYTES), path)
    if not isinstance(content, (dict, list)):
        raise FaceAlignError(f"{path}: holds {type(content).__name__}; give a list or an object")
    faces = list(content.items()) if isinstance(content, dict) else [("", f) for f in content]
    records = [(key, f if isinstance(f, dict) else {"landmarks": f}) for key, f in faces]
    names = [
        str(next((f[k] for k in _NAME_KEYS if k in f), key or number))
        for number, (key, f) in enumerate(records)
    ]
    for name, (_, record) in zip(names, records, strict=True):
        if "landmarks" not in record:
            raise FaceAlignError(f"{path}: face {name[:80]!r} has no landmarks")
    named = isinstance(content, dict) or any(set(f) & set(_NAME_KEYS) for _, f in records)
    confidence = [record.get("confidence") for _, record in records]
    return _checked(
        path,
        [record["landmarks"] for _, record in records],
        names if named else None,
        None if None in confidence or not records else confidence,
    )


def _read_csv(path: Path) -> LandmarkFile:
    rows = csv_rows(path, _MAX_BYTES)
    header = next(rows, [])
    matches = [_COLUMN.match(title.strip().lower()) for title in header]
    places = {f"{m[1]}{int(m[2])}": place for place, m in enumerate(matches) if m}
    number = sum(key[0] in "xy" for key in places) // 2
    if not number or any(f"{axis}{k}" not in places for axis in "xy" for k in range(number)):
        raise FaceAlignError(f"{path}: its header must name x0, y0, x1, y1, ... without a gap")
    has_confidence = all(f"confidence{k}" in places for k in range(number))
    kinds = ("x", "y", "confidence") if has_confidence else ("x", "y")
    columns = [(f"{kind}{k}", places[f"{kind}{k}"]) for k in range(number) for kind in kinds]
    name_column = next((header.index(key) for key in _NAME_KEYS if key in header), None)
    values, names, count = array("d"), [], 0
    for count, row in enumerate(rows, start=1):
        if len(row) < len(header):
            raise FaceAlignError(
                f"{path}: face {count} has {len(row)} cells, and the header {len(header)}"
            )
        for title, place in columns:
            try:
                values.append(float(row[place] or "nan"))
            except ValueError:
                raise FaceAlignError(
                    f"{path}: face {count} has {row[place][:40]!r} as {title}; give a number"
                ) from None
        if name_column is not None:
            names.append(unescape_cell(row[name_column]))
    points = np.array(values).reshape(count, number, len(kinds))
    return _checked(
        path,
        points[..., :2],
        None if name_column is None else names,
        points[..., 2] if has_confidence else None,
    )


def _read_folder(path: Path) -> LandmarkFile:
    files = sorted(path.rglob("*.pts"))
    if not files:
        raise FaceAlignError(f"{path}: holds no .pts files")
    names = [file.relative_to(path).as_posix() for file in files]
    return _checked(path, [read_pts(file)[0] for file in files], names)


def _checked(
    path: Path, points: Any, names: list[str] | None = None, confidence: Any = None
) -> LandmarkFile:
    if isinstance(points, list):
        shapes = sorted({np.shape(_floats(path, face)) for face in points})
        if len(shapes) > 1:
            raise FaceAlignError(f"{path}: faces have landmarks of the shapes {shapes}, not of one")
        points = _floats(path, points) if points else np.zeros((0, 1, 2))
    landmarks = np.asarray(points)
    if landmarks.ndim != 3 or landmarks.shape[2] not in (2, 3) or landmarks.dtype.kind not in "fiu":
        raise FaceAlignError(
            f"{path}: the landmarks are {landmarks.dtype} {landmarks.shape}; give numbers (N, K, 2)"
        )
    if not landmarks.shape[1]:
        raise FaceAlignError(f"{path}: its faces have no landmarks")
    landmarks = landmarks[..., :2].astype(np.float64)
    if names is not None:
        _check_count(path, len(names), len(landmarks))
    if confidence is not None:
        confidence = _floats(path, confidence)
        if confidence.shape != landmarks.shape[:2]:
            raise FaceAlignError(
                f"{path}: confidence has the shape {confidence.shape}; give {landmarks.shape[:2]}"
            )
    return LandmarkFile(landmarks, names, confidence)


def _check_count(path: Path, names: int, faces: int) -> None:
    if names != faces:
        raise FaceAlignError(f"{path}: has {names} names for {faces} faces")


def _floats(path: Path, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FaceAlignError(
            f"{path}: landmarks must be pairs of numbers, confidences numbers ({one_line(error)})"
        ) from error
