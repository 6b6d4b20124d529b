"""Reading and writing `.pts` files, the landmarks of 300W, Menpo, 300VW and MERL-RAV.

The usual form is

    version: 1
    n_points:  68
    {
    97.480633 125.821602
    ...
    }

Copies differ in the header (`version: 1.0`, one blank or two) and in their line ends, and some have
no header. The files count pixels from 1, the library counts from 0.
"""

from __future__ import annotations

import os
import re

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.reading import read_file

MAX_COORDINATE = 1e6
"""Largest coordinate of a landmark in pixels; larger ones come from damaged files."""

# Each takes time in proportion to a line, whatever is on it.
_HEADER = re.compile(r"(version|n_points)\s*(?::\s*)?(\S*)$", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$", re.ASCII)


def read_pts(
    source: str | os.PathLike[str] | bytes,
    num_landmarks: int | None = None,
    signed_visibility: bool = False,
    name: str | None = None,
    max_bytes: int = 1_000_000,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the landmarks of one face.

    With `signed_visibility` the signs of the coordinates are read as MERL-RAV writes them:
    `-x -y` is a landmark at (x, y) occluded by another object, `-1 -1` one hidden by the face
    itself, without a position. Where labels were moved into a crop, a landmark left of or above the
    crop has one negative coordinate, so a line with two different signs is ambiguous: `-4 105` is
    visible 4 pixels left of the crop or occluded 105 above it, `9 -94` is occluded 9 pixels left of
    it or visible 94 above. The interpretation closer to the crop is used.

    Args:
        source: Path of the file, or its bytes.
        num_landmarks: Number of landmarks K that the file must hold. Default: any.
        signed_visibility: Read occlusion from the signs. Without it negative coordinates are
            positions outside the image.
        name: What error messages call the file. Default: its path.
        max_bytes: Larger files are refused.

    Returns:
        landmarks: float32 (K, 2), x before y, 0-based pixels; (0, 0) where visibility is 0.
        visibility: int32 (K,), 0 without a position, 1 occluded, 2 visible.

    Raises:
        FaceAlignError: The file is missing, too large or truncated, or does not hold the expected
            number of finite coordinates.

    Example:
        >>> landmarks, visibility = read_pts(b"n_points: 1\\n{\\n11.5 21\\n}")
        >>> landmarks.tolist(), visibility.tolist()
        ([[10.5, 20.0]], [2])
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, content = name or "the .pts bytes", bytes(source)
    else:
        name = name or str(source)
        content = read_file(source, max_bytes, name)
    points = _parse(content, num_landmarks, name)
    if signed_visibility:
        points, visibility = _split_signs(points)
    else:
        visibility = np.full(len(points), 2, np.int32)
    landmarks = np.where(visibility[:, None] > 0, points - 1.0, 0.0).astype(np.float32)
    return landmarks, visibility


def write_pts(path: str | os.PathLike[str], landmarks: np.ndarray) -> None:
    """Writes the landmarks of one face, 1-based, with six decimals.

    Args:
        path: The file to write; an existing one is replaced.
        landmarks: (K, 2), x before y, 0-based pixels. `read_pts` reads them with an error of at
            most 1e-6 pixels, or with the precision of float32.

    Raises:
        FaceAlignError: The landmarks are not finite (K, 2), or the file cannot be written.

    Example:
        >>> write_pts("face.pts", np.zeros((68, 2)))  # doctest: +SKIP
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise FaceAlignError(f"{path}: landmarks have shape {points.shape}; give (K, 2)")
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise FaceAlignError(
            f"{path}: landmark {bad} is {points[bad].tolist()}; give finite coordinates"
        )
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points + 1.0)
    text = f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n"
    atomic_write(path, lambda file: file.write(text.encode("ascii")), sync=False)


def _parse(content: bytes, num_landmarks: int | None, name: str) -> np.ndarray:
    """The coordinates as the file has them: float64 (K, 2)."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FaceAlignError(f"{name}: is not a text file; give a .pts file") from error
    declared: int | None = None
    opened = closed = False
    points: list[tuple[float, float]] = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        where = f"{name}: line {number}"
        header = _HEADER.match(line)
        if closed:
            raise FaceAlignError(f"{where} has {line[:40]!r} after the closing brace; remove it")
        if line == "{" and not opened and not points:
            opened = True
        elif line == "}" and opened:
            closed = True
        elif header and not opened and not points:
            if header[1].lower() == "n_points":
                declared = _count(header[2], where)
        else:
            points.append(_point(line, where))
    if opened and not closed:
        raise FaceAlignError(
            f"{name}: is truncated after {len(points)} landmarks, without the closing brace; "
            "get the whole file"
        )
    if not points:
        raise FaceAlignError(f"{name}: holds no landmarks; label the face or remove the file")
    for expected, source in ((declared, "the header says"), (num_landmarks, "there must be")):
        if expected is not None and expected != len(points):
            raise FaceAlignError(
                f"{name}: holds {len(points)} landmarks where {source} {expected}; correct the file"
            )
    return np.array(points, np.float64)


def _count(token: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", token):
        raise FaceAlignError(f"{where} has {token[:40]!r} as n_points; write a whole number")
    return int(token)


def _point(line: str, where: str) -> tuple[float, float]:
    tokens = line.split()
    if len(tokens) != 2:
        raise FaceAlignError(
            f"{where} has {line[:40]!r}, which is not two coordinates; write x, a blank, and y"
        )
    for token in tokens:
        if token.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise FaceAlignError(f"{where} has {token}; give finite coordinates")
        if not _NUMBER.match(token):
            raise FaceAlignError(f"{where} has {token[:40]!r}, which is not a number; correct it")
        if abs(float(token)) > MAX_COORDINATE:
            raise FaceAlignError(
                f"{where} has {token[:40]}, not a position in an image; correct it"
            )
    return float(tokens[0]), float(tokens[1])


def _split_signs(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1-based positions (K, 2) and visibility (K,) from signed coordinates."""
    without_position = (points == -1).all(axis=1)
    signs_differ = (points[:, 0] < 0) != (points[:, 1] < 0)
    size = np.abs(points)
    # Of two different signs, the smaller coordinate is the one outside the image.
    smaller_is_x = size[:, 0] < size[:, 1]
    outside = np.where(smaller_is_x[:, None], [-1.0, 1.0], [1.0, -1.0]) * size
    position = np.where(signs_differ[:, None], outside, size)
    occluded = (position != points).any(axis=1)
    visibility = np.where(without_position, 0, np.where(occluded, 1, 2)).astype(np.int32)
    return position, visibility
