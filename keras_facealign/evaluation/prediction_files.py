"""Predictions of this and of other libraries from files, which are not trusted.

| file | content |
|---|---|
| `.npz` | `prediction` (N, K, 2), and if there are `file_names` (N,) and `confidence` (N, K) |
| `.npy` | (N, K, 2), in the order of the data |
| `.json` | `{"a.jpg": [[x, y], ...], ...}`, or a list of `{"file_name": ..., "landmarks": ...}` |
| `.csv` | a header with `file_name`, `x0`, `y0`, `x1`, ..., and perhaps `confidence0`, ... |
| a folder | `.pts` files named as the pictures; they count pixels from 1 |

All but `.pts` files are in pixels counted from 0. A face that was not found is left out, or all of
its numbers are NaN (an empty cell in CSV, `null` in JSON).
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from keras_facealign.data.pts import read_pts
from keras_facealign.errors import FaceAlignError

__all__ = ["LandmarkFile", "match_names", "read_arrays", "read_landmarks"]

_MAX_BYTES = 1 << 30

_NAME_KEYS = ("file_name", "image", "imgpath", "name")
_NAME_ARRAYS = ("file_names", "images", "names")
_POINT_ARRAYS = ("prediction", "predictions", "landmarks")
_COLUMN = re.compile(r"(x|y|confidence)_?([0-9]{1,4})$")


@dataclass(frozen=True, eq=False)
class LandmarkFile:
    """Landmarks of faces as a file has them.

    Attributes:
        landmarks: float64 (N, K, 2), pixels counted from 0.
        names: N names of pictures; None where the order tells.
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
    if not path.is_file():
        raise FaceAlignError(f"{path}: there is no such file")
    if path.stat().st_size > _MAX_BYTES:
        raise FaceAlignError(f"{path}: is larger than {_MAX_BYTES} bytes; split it")
    return reader(path)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all arrays of an `.npz` file: no pickle, and no more memory than the file declares.

    Raises:
        FaceAlignError: If it is no such file, broken, too large, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > _MAX_BYTES:
                raise FaceAlignError(f"{path}: holds more than {_MAX_BYTES} bytes; split it")
            arrays = {}
            for member in members:
                with archive.open(member) as stream:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _read_array(stream, member.file_size, f"{path}: {name}")
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise FaceAlignError(f"{path}: is not a whole .npz file ({error})") from error


def _read_array(stream: IO[bytes], size: int, where: str) -> np.ndarray:
    """One array in NumPy's format, of at most `size` bytes."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream)
    except (ValueError, KeyError) as error:
        raise FaceAlignError(f"{where}: is not a NumPy array ({error})") from error
    if dtype.hasobject:
        raise FaceAlignError(f"{where}: holds Python objects; save plain numbers and text")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size:
        raise FaceAlignError(
            f"{where}: claims the shape {shape}, which its {size} bytes do not hold"
        )
    content = stream.read(math.prod(shape) * dtype.itemsize)
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise FaceAlignError(f"{where}: is cut off")
    array = np.frombuffer(content, dtype) if dtype.itemsize else np.zeros(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def match_names(expected: list[str], found: list[str]) -> tuple[list[int | None], list[str]]:
    """Finds the prediction of each face of the data by its picture's name.

    Names match if they are equal, or without their endings, without their folders, or without both;
    the first of these by which any two are equal holds for all. Equal names stand for several faces
    of one picture, in their order.

    Args:
        expected: Names of the data.
        found: Names of the predictions.

    Returns:
        For each expected name the place of its prediction, None where there is none; and the names
        of predictions that belong to no face.

    Raises:
        FaceAlignError: If no name matches, or shortened names are ambiguous.
    """
    ways: list[Callable[[str], str]] = [
        lambda name: name.replace("\\", "/"),
        lambda name: str(PurePosixPath(name.replace("\\", "/")).with_suffix("")),
        lambda name: PurePosixPath(name.replace("\\", "/")).name,
        lambda name: PurePosixPath(name.replace("\\", "/")).stem,
    ]
    for way in ways:
        wanted, given = [way(name) for name in expected], [way(name) for name in found]
        if not set(wanted) & set(given):
            continue
        folded = len(set(given)) < len(set(found)) or len(set(wanted)) < len(set(expected))
        if folded:
            twice = [
                name for names in (given, wanted) for name, n in Counter(names).items() if n > 1
            ]
            raise FaceAlignError(
                f"Several pictures are called {twice[0]!r}; name predictions by paths below the "
                f"data set's folder, such as {expected[0]!r}."
            )
        places = {key: place for place, key in enumerate(_numbered(given))}
        result = [places.pop(key, None) for key in _numbered(wanted)]
        return result, [found[place] for place in places.values()]
    ours, theirs = (names[0] if names else "" for names in (expected, found))
    raise FaceAlignError(
        f"None of the {len(found)} predictions is named like one of the {len(expected)} pictures: "
        f"they are called {theirs!r} and so on, the pictures {ours!r}."
    )


def _numbered(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with how often it came before."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        result.append((name, seen[name]))
        seen[name] += 1
    return result


def _read_npz(path: Path) -> LandmarkFile:
    arrays = read_arrays(path)
    key = next((key for key in _POINT_ARRAYS if key in arrays), None)
    if key is None:
        raise FaceAlignError(
            f"{path}: has no array {_POINT_ARRAYS[0]!r}, but {', '.join(sorted(arrays)) or 'none'}"
        )
    name_key = next((key for key in _NAME_ARRAYS if key in arrays), None)
    names = None if name_key is None else [str(name) for name in arrays[name_key].ravel()]
    return _checked(path, arrays[key], names, arrays.get("confidence"))


def _read_npy(path: Path) -> LandmarkFile:
    with path.open("rb") as stream:
        return _checked(path, _read_array(stream, path.stat().st_size, str(path)), None, None)


def _read_json(path: Path) -> LandmarkFile:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FaceAlignError(f"{path}: is not JSON ({error})") from error
    if not isinstance(content, (dict, list)):
        raise FaceAlignError(f"{path}: holds {type(content).__name__}; give an object or a list")
    faces = content.items() if isinstance(content, dict) else enumerate(content)
    names, points, confidences = [], [], []
    for key, face in faces:
        record = face if isinstance(face, dict) else {"landmarks": face}
        name = next((record[k] for k in _NAME_KEYS if k in record), key)
        if "landmarks" not in record:
            raise FaceAlignError(f"{path}: face {name!r} has no landmarks")
        names.append(str(name))
        points.append(record["landmarks"])
        confidences.append(record.get("confidence"))
    named = isinstance(content, dict) or any(
        isinstance(face, dict) and set(face) & set(_NAME_KEYS) for face in content
    )
    whole = confidences if confidences and None not in confidences else None
    return _checked(path, _stack(path, points), names if named else None, whole)


def _read_csv(path: Path) -> LandmarkFile:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream)
            header = next(rows, [])
            body = [row for row in rows if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FaceAlignError(f"{path}: is not a CSV file ({error})") from error
    columns: dict[str, dict[int, int]] = {"x": {}, "y": {}, "confidence": {}}
    for place, title in enumerate(header):
        if match := _COLUMN.match(title.strip().lower()):
            columns[match[1]][int(match[2])] = place
    number = len(columns["x"])
    if not number or any(sorted(columns[axis]) != list(range(number)) for axis in ("x", "y")):
        raise FaceAlignError(f"{path}: its header must name x0, y0, x1, y1, ... without a gap")
    name_column = next((header.index(key) for key in _NAME_KEYS if key in header), None)

    def numbers(kind: str) -> np.ndarray:
        try:
            return np.array(
                [[float(row[columns[kind][k]] or "nan") for k in range(number)] for row in body],
                np.float64,
            ).reshape(len(body), number)
        except (ValueError, IndexError) as error:
            raise FaceAlignError(f"{path}: a row has no number for each of {kind}0, ...") from error

    points = np.stack([numbers("x"), numbers("y")], axis=-1)
    confidence = numbers("confidence") if len(columns["confidence"]) == number else None
    names = None if name_column is None else [row[name_column] for row in body]
    return _checked(path, points, names, confidence)


def _read_folder(path: Path) -> LandmarkFile:
    files = sorted(path.rglob("*.pts"))
    if not files:
        raise FaceAlignError(f"{path}: holds no .pts files")
    names = [file.relative_to(path).as_posix() for file in files]
    return _checked(path, _stack(path, [read_pts(file)[0] for file in files]), names, None)


def _stack(path: Path, points: list[Any]) -> np.ndarray:
    try:
        arrays = [np.asarray(face, np.float64) for face in points]
    except (TypeError, ValueError) as error:
        raise FaceAlignError(f"{path}: landmarks must be pairs of numbers ({error})") from error
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise FaceAlignError(f"{path}: faces have landmarks of the shapes {shapes}; all must agree")
    return np.stack(arrays) if arrays else np.zeros((0, 1, 2))


def _checked(path: Path, points: Any, names: list[str] | None, confidence: Any) -> LandmarkFile:
    landmarks = np.asarray(points)
    if landmarks.ndim != 3 or landmarks.shape[2] not in (2, 3) or landmarks.dtype.kind not in "fiu":
        raise FaceAlignError(
            f"{path}: the landmarks are {landmarks.dtype} {landmarks.shape}; give numbers (N, K, 2)"
        )
    landmarks = landmarks[..., :2].astype(np.float64)
    if names is not None and len(names) != len(landmarks):
        raise FaceAlignError(f"{path}: has {len(names)} names for {len(landmarks)} faces")
    if confidence is not None:
        try:
            confidence = np.asarray(confidence, np.float64)
        except (TypeError, ValueError) as error:
            raise FaceAlignError(f"{path}: confidences must be numbers ({error})") from error
        if confidence.shape != landmarks.shape[:2]:
            raise FaceAlignError(
                f"{path}: confidence has the shape {confidence.shape}, where "
                f"{landmarks.shape[:2]} is due"
            )
    return LandmarkFile(landmarks, names, confidence)
