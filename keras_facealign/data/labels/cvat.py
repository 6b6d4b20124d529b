"""Reads "CVAT for images" XML files: skeletons, and points.

    <annotations><image name="a.jpg" width="640" height="480">
      <skeleton label="face"><points label="nose" points="10.5,20.1" occluded="0" outside="0"/>...
      <points label="face" points="10.5,20.1;30.2,20.4;..."/>   a face, points in order
      <points label="nose" points="10.5,20.1" group_id="1"/>    a point of face 1
      <box xtl="5" ytl="10" xbr="45" ybr="50" group_id="1"/>

`outside` points have no position, `occluded` ones are hidden.
"""

from __future__ import annotations

import re
from pathlib import Path

from keras_facealign.data.labels.picture_shapes import CORNER, FROM_CORNER, PictureShapes
from keras_facealign.data.labels.raw_labels import (
    RawLabels,
    box_of,
    number,
    short_name,
    shown,
    size_of,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.xml_stream import stream_xml

TITLE = "CVAT XML"

# Each is looked for in time in proportion to the text, whatever it holds.
_ELEMENT = re.compile(r"<(line|circle)\b([^<>]*)>")
_ATTRIBUTE = re.compile(r"(?<![\w-])([\w-]+)=\"([^\"]*)\"")


def read(path: Path) -> RawLabels:
    """Reads a file, of any size.

    Args:
        path: The XML file.

    Raises:
        FaceAlignError: It is no XML of CVAT, or of videos.
    """
    return _Reader(path).labels


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels = RawLabels(TITLE, FROM_CORNER)
        self.known: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.picture: PictureShapes | None = None
        self.skeleton: tuple[dict[str, str], list[dict[str, str]]] | None = None
        self.skeletons: set[str] = set()
        self.drawings: dict[str, str] = {}
        self.label = ""
        seen = False
        for tag, attributes, text in stream_xml(path):
            seen = seen or tag == "annotations"
            if not seen:
                raise FaceAlignError(
                    f"{path}: begins with <{tag[:40]}>, where CVAT has <annotations>"
                )
            if tag == "track":
                raise FaceAlignError(
                    f"{path}: holds tracks of a video; export the task as CVAT for images"
                )
            try:
                if attributes is not None:
                    self._start(tag, attributes)
                else:
                    self._end(tag, text)
            except FaceAlignError as error:
                self.labels.skipped.append(error)
        if len(self.skeletons) == 1:
            svg = self.drawings.get(next(iter(self.skeletons)), "")
            self.labels.names, self.labels.edges = parse_skeleton(svg)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        picture = self.picture
        if tag == "image":
            name = attributes.get("name", "")
            size = size_of(attributes.get("width"), attributes.get("height"))
            self.picture = PictureShapes(name, f"{self.path}: image {short_name(name)}", size)
        elif picture is None:
            return
        elif tag == "skeleton":
            self.skeleton = attributes, []
        elif tag == "points" and self.skeleton is not None:
            self.skeleton[1].append(attributes)
        elif tag == "points":
            self._points(picture, attributes)
        elif tag == "box":
            sides = [attributes.get(side) for side in ("xtl", "ytl", "xbr", "ybr")]
            x0, y0, x1, y1 = box_of(sides, picture.where)
            corners = x0 - CORNER, y0 - CORNER, x1 - CORNER, y1 - CORNER
            picture.box(corners, _group(attributes))

    def _end(self, tag: str, text: str) -> None:
        if tag == "name":
            self.label = text
        elif tag == "svg":
            self.drawings[self.label] = text
        elif tag == "image" and self.picture is not None:
            self.picture.add_to(self.labels, self.known)
            self.picture = None
        elif tag == "skeleton" and self.skeleton is not None and self.picture is not None:
            (attributes, parts), self.skeleton = self.skeleton, None
            self.skeletons.add(attributes.get("label", ""))
            positions = [self._positions(self.picture, part) for part in parts]
            for part, points in zip(parts, positions, strict=True):
                if len(points) != 1:
                    raise FaceAlignError(
                        f"{self.picture.where}: the point {shown(part.get('label'))} of a skeleton "
                        f"has {len(points)} positions; give it one"
                    )
            if parts:
                self.picture.face(
                    [points[0] for points in positions],
                    [_visibility(part) for part in parts],
                    [part.get("label", "") for part in parts],
                    _group(attributes),
                )

    def _points(self, picture: PictureShapes, attributes: dict[str, str]) -> None:
        points = self._positions(picture, attributes)
        flag, group = _visibility(attributes), _group(attributes)
        if len(points) == 1:
            picture.point(attributes.get("label", ""), *points[0], flag, group)
        else:
            picture.face(points, [flag] * len(points), None, group)

    def _positions(
        self, picture: PictureShapes, attributes: dict[str, str]
    ) -> list[tuple[float, float]]:
        positions = []
        for pair in attributes.get("points", "").split(";"):
            x, comma, y = pair.partition(",")
            if not comma:
                raise FaceAlignError(
                    f"{picture.where}: has the points {pair[:40]!r}; they must be x,y;x,y;..."
                )
            position = number(x, picture.where) - CORNER, number(y, picture.where) - CORNER
            positions.append(position)
        return positions


def _visibility(attributes: dict[str, str]) -> int:
    if attributes.get("outside") == "1":
        return 0
    return 1 if attributes.get("occluded") == "1" else 2


def _group(attributes: dict[str, str]) -> str | None:
    group = attributes.get("group_id")
    return None if group in (None, "", "0") else group


def parse_skeleton(svg: str) -> tuple[tuple[str, ...] | None, tuple[tuple[int, int], ...] | None]:
    """The names and the edges of a skeleton, which CVAT stores as a drawing.

    Example:
        >>> parse_skeleton(
        ...     '<line data-node-from="1" data-node-to="2"></line>'
        ...     '<circle data-node-id="1" data-label-name="a"></circle>'
        ...     '<circle data-node-id="2" data-label-name="b"></circle>'
        ... )
        (('a', 'b'), ((0, 1),))
    """
    nodes: dict[str, str] = {}
    lines: list[tuple[str, str]] = []
    for kind, inside in _ELEMENT.findall(svg):
        fields = dict(_ATTRIBUTE.findall(inside))
        if kind == "circle" and "data-node-id" in fields and "data-label-name" in fields:
            nodes[fields["data-node-id"]] = fields["data-label-name"]
        elif kind == "line" and "data-node-from" in fields and "data-node-to" in fields:
            lines.append((fields["data-node-from"], fields["data-node-to"]))
    if not nodes or len(set(nodes.values())) != len(nodes):
        return None, None
    places = {node: place for place, node in enumerate(nodes)}
    edges = tuple((places[a], places[b]) for a, b in lines if a in places and b in places)
    return tuple(nodes.values()), edges or None
