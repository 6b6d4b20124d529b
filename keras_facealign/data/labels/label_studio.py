"""Reads the exports JSON and JSON-MIN of Label Studio: key points and rectangles.

    [{"data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"}, "annotations": [{"result": [
        {"type": "keypointlabels", "original_width": 640, "original_height": 480, "parentID": "f1",
         "value": {"x": 10.5, "y": 20.1, "keypointlabels": ["nose"]}},
        {"type": "rectanglelabels", "id": "f1", "value": {"x": 5, "y": 10, "width": 40, ...}}]}]}]

Positions are percent of the picture's size. Points inside of a region (`parentID`) are one face.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_facealign.data.labels.picture_shapes import PictureShapes
from keras_facealign.data.labels.raw_labels import (
    RawLabels,
    box_of,
    number,
    short_name,
    shown,
    size_of,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.json_stream import stream_json

TITLE = "Label Studio JSON"
COUNTING = (
    "positions are percent of the picture's size in the file; 0.5 was subtracted from the pixels, "
    "since they count from the center of the first one here"
)

# What Label Studio puts before the names of uploaded files.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_PICTURE_KEYS = ("image", "img", "picture", "photo", "url")


def read(path: Path) -> RawLabels:
    """Reads a file, of any size.

    Args:
        path: The JSON file.

    Raises:
        FaceAlignError: It is not JSON, or no list of tasks.
    """
    labels = RawLabels(TITLE, COUNTING, units="percent")
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    several = 0
    for key, place, task in stream_json(path):
        if key != "" or not isinstance(place, int):
            raise FaceAlignError(f"{path}: must be a list of tasks, as the export JSON is")
        where = f"{path}: task {place}"
        try:
            if not isinstance(task, dict):
                raise FaceAlignError(f"{where} is {shown(task)}; it must be an object")
            regions, more = _regions(task)
            several += more
            file = _file(task, where)
            base = file.partition("?d=")[2] or file
            other = _UPLOADED.sub("", base.replace("\\", "/").rpartition("/")[2])
            picture = PictureShapes(file, f"{where} ({short_name(file)})", other_file=other)
            for region in regions:
                _add_region(picture, region)
            picture.add_to(labels, known)
        except FaceAlignError as error:
            labels.skipped.append(error)
    if several:
        labels.notes.append(
            f"{several} tasks have several annotations; the first that was not canceled is read"
        )
    return labels


def _file(task: dict[str, Any], where: str) -> str:
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value}
    for key in _PICTURE_KEYS:
        if key in texts:
            return texts[key]
    for value in texts.values():
        if "/" in value or "." in value[-6:]:
            return value
    name = task.get("file_upload")
    if isinstance(name, str) and name:
        return name
    raise FaceAlignError(f"{where} names no picture; its data must have an image")


def _regions(task: dict[str, Any]) -> tuple[list[Any], bool]:
    """The regions of a task, and whether other annotations have more."""
    annotations = task.get("annotations", task.get("completions"))
    if isinstance(annotations, list):
        kept = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
        results = [a["result"] for a in kept if isinstance(a.get("result"), list)]
        return (results[0] if results else []), len(results) > 1
    lists = [value for value in task.values() if isinstance(value, list)]
    return [{"value": each, **each} for v in lists for each in v if isinstance(each, dict)], False


def _add_region(picture: PictureShapes, region: Any) -> None:
    value = region.get("value") if isinstance(region, dict) else None
    if not isinstance(value, dict) or "x" not in value or "y" not in value:
        return  # Of text, or a relation.
    where = picture.where
    size = size_of(region.get("original_width"), region.get("original_height"))
    picture.size = picture.size or size
    if region.get("image_rotation"):
        raise FaceAlignError(
            f"{where}: was turned by {shown(region['image_rotation'])} degrees in Label Studio; "
            "turn the picture's file and label it again"
        )
    x, y = number(value["x"], where), number(value["y"], where)
    parent = region.get("parentID")
    names = value.get("keypointlabels")
    if isinstance(names, list) or region.get("type") == "keypoint":
        name = next(_strings(names), "")
        picture.point(name, x, y, 2, parent if isinstance(parent, str) else None)
    elif "width" in value and "height" in value:
        width, height = number(value["width"], where), number(value["height"], where)
        owner = region.get("id")
        corners = box_of((x, y, x + width, y + height), where)
        picture.box(corners, owner if isinstance(owner, str) else None)


def _strings(values: Any) -> Iterator[str]:
    yield from (each for each in values or () if isinstance(each, str))
