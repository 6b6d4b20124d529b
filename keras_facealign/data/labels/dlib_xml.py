"""Reads dlib's XML files, as its tool imglab writes them.

    <dataset><images>
      <image file='a.jpg'><box top='10' left='5' width='40' height='40'>
        <part name='00' x='10' y='20'/> ...

Pixels count from 0. A part that is missing has no position.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_facealign.data.labels.raw_labels import (
    RawFace,
    RawLabels,
    box_of,
    number,
    short_name,
    size_of,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.xml_stream import stream_xml

TITLE = "dlib XML"
COUNTING = "pixels count from 0, as in the file"


def read(path: Path) -> RawLabels:
    """Reads a file, of any size.

    Args:
        path: The XML file.

    Raises:
        FaceAlignError: It is no XML of dlib.
    """
    labels = RawLabels(TITLE, COUNTING)
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    file, size, boxes, ignored = "", None, 0, 0
    box: dict[str, str] = {}
    parts: list[dict[str, str]] = []
    seen = False
    for tag, attributes, _ in stream_xml(path):
        if attributes is not None:
            seen = seen or tag == "dataset"
            if not seen:
                raise FaceAlignError(f"{path}: begins with <{tag[:40]}>, where dlib has <dataset>")
            if tag == "image":
                file, boxes = attributes.get("file", ""), 0
                size = size_of(attributes.get("width"), attributes.get("height"))
            elif tag == "box":
                box, parts = attributes, []
                boxes += 1
            elif tag == "part":
                parts.append(attributes)
        elif tag == "image" and not boxes:
            labels.pictures.append(file)
        elif tag == "box":
            if box.get("ignore") == "1":
                ignored += 1
                continue
            where = f"{path}: box {boxes} of {short_name(file)}"
            try:
                _add_face(labels, file, size, box, parts, where, known)
            except FaceAlignError as error:
                labels.skipped.append(error)
    if ignored:
        labels.notes.append(f"{path} has {ignored} boxes that are marked to be ignored")
    return labels


def _add_face(
    labels: RawLabels,
    file: str,
    size: tuple[int, int] | None,
    box: dict[str, str],
    parts: list[dict[str, str]],
    where: str,
    known: dict[tuple[str, ...], tuple[str, ...]],
) -> None:
    left, top, width, height = (
        number(box.get(side), where) for side in ("left", "top", "width", "height")
    )
    # The last pixel of dlib's rectangles is inside.
    corners = box_of((left, top, left + width - 1, top + height - 1), where)
    if not parts:
        labels.empty_boxes.append((file, corners))
        return
    names = tuple(part.get("name", "") for part in parts)
    points = np.array([[number(part.get(axis), where) for axis in "xy"] for part in parts])
    visibility = np.full(len(parts), 2, np.int32)
    names = known.setdefault(names, names)
    labels.faces.append(RawFace(file, points, visibility, where, names, corners, size=size))
