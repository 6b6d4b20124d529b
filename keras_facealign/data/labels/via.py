"""Reads the VGG Image Annotator's (VIA 2) projects, and its annotations as JSON or CSV.

    {"a.jpg1234": {"filename": "a.jpg", "size": 1234, "regions": [
      {"shape_attributes": {"name": "point", "cx": 10, "cy": 20},
       "region_attributes": {"landmark": "nose", "face": "1"}}]}}

    filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,
    region_attributes

The attributes of a region are the annotator's own: `face`, `face_id`, `person` or `group` tells the
face, any other one the name of a point. VIA writes whole pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_facealign.data.labels.picture_shapes import PictureShapes
from keras_facealign.data.labels.raw_labels import RawLabels, box_of, number, short_name, shown
from keras_facealign.data.labels.table_rows import table_rows
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.json_stream import stream_json
from keras_facealign.storage.reading import open_regular, parse_json

COUNTING = "VIA writes whole pixels, which are taken to count from 0, as in the file"

_GROUPS = ("face", "face_id", "person", "group")
_NAMES = ("landmark", "point", "name", "label", "type", "class", "id")
_HIDDEN = ("occluded", "hidden")
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")


def read(path: Path) -> RawLabels:
    """Reads a file, of any size.

    Args:
        path: The JSON or CSV file.

    Raises:
        FaceAlignError: It is none of VIA.
    """
    labels = RawLabels("VGG VIA", COUNTING)
    with open_regular(path) as stream:
        head = stream.read(8).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    regions = (
        _json_regions(path, labels) if head[:1] in (b"{", b"[") else _csv_regions(path, labels)
    )
    pictures: dict[str, PictureShapes] = {}
    for file, where, shape, attributes in regions:
        picture = pictures.setdefault(file, PictureShapes(file, f"{path}: {short_name(file)}"))
        if shape is None:
            continue
        try:
            _add_region(picture, shape, attributes, where)
        except FaceAlignError as error:
            labels.skipped.append(error)
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for picture in pictures.values():
        picture.add_to(labels, known)
    return labels


_Region = tuple[str, str, Any, Any]


def _json_regions(path: Path, labels: RawLabels) -> Iterator[_Region]:
    """File, place, shape and attributes of each region; no shape for a picture without any."""
    labels.title = "VGG VIA JSON"
    fields: dict[str, Any] = {}
    current = None
    for key, place, value in stream_json(path):
        if key == "_via_img_metadata" and isinstance(value, dict):
            yield from _file_regions(value, f"{path}: {shown(place)}", labels)
        elif not key.startswith("_via_"):
            # An object of annotations alone is streamed field by field.
            if key != current:
                yield from _file_regions(fields, f"{path}: {shown(current)}", labels)
                current, fields = key, {}
            if isinstance(place, str):
                fields[place] = value
    yield from _file_regions(fields, f"{path}: {shown(current)}", labels)


def _file_regions(fields: dict[str, Any], where: str, labels: RawLabels) -> Iterator[_Region]:
    file, regions = fields.get("filename"), fields.get("regions")
    if file is None and regions is None:
        return
    if not isinstance(file, str) or not file or not isinstance(regions, (list, dict, type(None))):
        labels.skipped.append(
            FaceAlignError(f"{where} has the filename {shown(file)}; it must name a picture")
        )
        return
    yield file, where, None, None
    # VIA 1 numbers the regions by keys.
    for index, region in enumerate(
        regions.values() if isinstance(regions, dict) else regions or []
    ):
        if isinstance(region, dict):
            shape, attributes = region.get("shape_attributes"), region.get("region_attributes")
            yield file, f"{where}, region {index}", shape or {}, attributes


def _csv_regions(path: Path, labels: RawLabels) -> Iterator[_Region]:
    labels.title = "VGG VIA CSV"
    rows = table_rows(path)
    _, header = next(rows, (0, []))
    header = [title.lstrip("#") for title in header]
    missing = [title for title in _COLUMNS if title not in header]
    if missing:
        raise FaceAlignError(f"{path}: has no column {', '.join(missing)}, as VIA's CSV files do")
    places = [header.index(title) for title in _COLUMNS]
    for line, cells in rows:
        where = f"{path}: line {line}"
        if len(cells) <= max(places):
            labels.skipped.append(
                FaceAlignError(f"{where} has {len(cells)} cells where {max(places) + 1} are needed")
            )
            continue
        file, shape, attributes = (cells[place] for place in places)
        yield file, where, None, None
        try:
            shape, attributes = (
                parse_json(text.encode("utf-8", "surrogatepass"), where) if text else {}
                for text in (shape, attributes)
            )
        except FaceAlignError as error:
            labels.skipped.append(error)
            continue
        if shape:
            yield file, where, shape, attributes


def _add_region(picture: PictureShapes, shape: Any, attributes: Any, where: str) -> None:
    if not isinstance(shape, dict):
        raise FaceAlignError(f"{where} has the shape {shown(shape)}; it must be an object")
    attributes = attributes if isinstance(attributes, dict) else {}
    group = next((_text(attributes[key]) for key in _GROUPS if _text(attributes.get(key))), None)
    flag = 1 if any(_text(attributes.get(key)) in ("1", "true", "yes") for key in _HIDDEN) else 2
    kind = shape.get("name")
    if kind == "point":
        x, y = number(shape.get("cx"), where), number(shape.get("cy"), where)
        picture.point(_name(attributes), x, y, flag, group)
    elif kind in ("polyline", "polygon"):
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            raise FaceAlignError(f"{where} has a {kind} without as many x as y; label it again")
        points = [(number(x, where), number(y, where)) for x, y in zip(xs, ys, strict=True)]
        if points:
            picture.face(points, [flag] * len(points), None, group)
    elif kind == "rect":
        x, y, width, height = (number(shape.get(k), where) for k in ("x", "y", "width", "height"))
        picture.box(box_of((x, y, x + width, y + height), where), group)


def _name(attributes: dict[str, Any]) -> str:
    """The name of a point: an attribute that is called so, or the first that is not the face's."""
    known = [key for key in _NAMES if key in attributes]
    others = [key for key in attributes if key not in (*_GROUPS, *_HIDDEN)]
    return _text(attributes[(known or others)[0]]) if known or others else ""


def _text(value: Any) -> str:
    """An attribute's value: a text, or the boxes that are checked."""
    if isinstance(value, dict):
        return "+".join(str(key) for key, checked in value.items() if checked)
    return "" if value is None else str(value).strip()
