"""What the readers of label files give: faces as the file has them, before pictures are looked for.

Positions are already pixels in the library's sense (the center of the first pixel is (0, 0)), or,
where `RawLabels.units` says so, parts of the picture's size.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_facealign.data.pts import MAX_COORDINATE
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.file_names import printable

MAX_LANDMARKS = 9999
"""Most landmarks of a face."""

_VALUES = (0, 1, 2)
_SURROGATES = re.compile("[\udc80-\udcff]")
# Values may be large and deep.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 2


@dataclass(frozen=True, eq=False)
class RawFace:
    """A face as a label file has it.

    Attributes:
        file: Name of the picture, as the file has it.
        points: float64 (n, 2), x before y; NaN where a position is missing.
        visibility: int32 (n,): 0 without a position, 1 occluded, 2 visible.
        where: What messages call it: the file, and the place in it.
        names: Name of each point (n,), or None where their order tells what they are.
        box: x0, y0, x1, y1 in the units of `points`, or None.
        group: Person or group that the file tells, or None.
        size: Width and height of the picture, as the file has them, or None.
        other_file: A second name under which the picture may be found.
    """

    file: str
    points: np.ndarray
    visibility: np.ndarray
    where: str
    names: tuple[str, ...] | None = None
    box: tuple[float, float, float, float] | None = None
    group: str | None = None
    size: tuple[int, int] | None = None
    other_file: str = ""


@dataclass
class RawLabels:
    """All that a label file has.

    Attributes:
        title: The format, such as `COCO keypoints`.
        counting: How the file counts, and what was done about it, for people.
        faces: The faces with at least one point.
        skipped: What cannot be used, in the file's order.
        notes: Remarks for people.
        empty_boxes: Picture and box of the faces without points.
        pictures: Names of further pictures in the file, without a face.
        names: The landmarks' names, if the file declares them.
        edges: Pairs of landmarks to join by a line, if the file declares them.
        units: `pixels`, `normalized` or `percent`.
    """

    title: str
    counting: str
    faces: list[RawFace] = field(default_factory=list)
    skipped: list[FaceAlignError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    empty_boxes: list[tuple[str, tuple[float, float, float, float]]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    names: tuple[str, ...] | None = None
    edges: tuple[tuple[int, int], ...] | None = None
    units: str = "pixels"


def number(value: Any, where: str) -> float:
    """A coordinate as float; NaN for what stands for a missing one.

    Args:
        value: A number, or its text; None, an empty text or "nan" stand for a missing one.
        where: What a message calls the place.

    Raises:
        FaceAlignError: It is no number, or larger than any coordinate.
    """
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in ("", "nan", "na", "none", "null"):
            return math.nan
    elif value is None:
        return math.nan
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FaceAlignError(f"{where} has {shown(value)} where a number must be; correct it")
    try:
        result = float(value)
    except (ValueError, OverflowError):
        raise FaceAlignError(
            f"{where} has {shown(value)}, which is no number; write digits, and a point before "
            "decimals"
        ) from None
    if abs(result) > MAX_COORDINATE:
        raise FaceAlignError(
            f"{where} has the coordinate {result:g}, beyond {MAX_COORDINATE:.0f} pixels; correct it"
        )
    return result


def visibility_value(value: Any, where: str) -> int:
    """A label's visibility: 0, 1 or 2.

    Raises:
        FaceAlignError: It is another value.
    """
    flag = number(value, where)
    if flag not in _VALUES:
        raise FaceAlignError(
            f"{where} has the visibility {shown(value)}; 0 is not labeled, 1 hidden, 2 visible"
        )
    return int(flag)


def box_of(values: Sequence[Any], where: str) -> tuple[float, float, float, float]:
    """Four corners as floats.

    Raises:
        FaceAlignError: They are no numbers, or span no area.
    """
    x0, y0, x1, y1 = (number(value, where) for value in values)
    if not (x1 > x0 and y1 > y0):
        raise FaceAlignError(
            f"{where} has the box {[x0, y0, x1, y1]} without an area; correct or remove it"
        )
    return x0, y0, x1, y1


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height of a picture; None unless both are positive whole numbers."""
    try:
        sides = int(width), int(height)
    except (TypeError, ValueError, OverflowError):
        return None
    return sides if min(sides) > 0 and max(sides) < 10**7 else None


def readable(name: str) -> str:
    """A name whose bytes were no UTF-8, read as Windows-1252 or Latin-1; others unchanged."""
    if not _SURROGATES.search(name):
        return name
    content = name.encode("utf-8", "surrogateescape")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def short_name(name: str) -> str:
    """The end of a name as one line, for messages."""
    return printable(readable(name[-80:]))


def shown(value: Any) -> str:
    """A short form of any value as one line, for messages."""
    return printable(_SHORT.repr(readable(value[:80]) if isinstance(value, str) else value))
