"""Reads LabelMe's JSON files: one per picture, in one folder.

    {"imagePath": "a.jpg", "imageWidth": 640, "imageHeight": 480, "shapes": [
      {"label": "nose", "shape_type": "point", "points": [[10.5, 20.1]], "group_id": 1},
      {"label": "face", "shape_type": "rectangle", "points": [[5, 10], [45, 50]], "group_id": 1}]}

The flags `occluded` and `hidden` of a shape mean that a point cannot be seen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_facealign.data.files import list_names
from keras_facealign.data.labels.picture_shapes import CORNER, FROM_CORNER, PictureShapes
from keras_facealign.data.labels.raw_labels import RawLabels, box_of, number, shown, size_of
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import parse_json, read_file

TITLE = "LabelMe JSON"

# The picture may be inside of the file.
_MAX_BYTES = 100_000_000
_LISTS = ("points", "linestrip", "polygon")
_HIDDEN = ("occluded", "hidden")


def label_files(folder: Path) -> list[Path]:
    """Lists the JSON files of a folder and its subfolders, sorted."""
    found = []
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in list_names(Path(place), (".json",))]
    return found


def read(path: Path) -> RawLabels:
    """Reads a folder of files, or one file.

    Args:
        path: The folder or file.

    Raises:
        FaceAlignError: The folder has no JSON file.
    """
    labels = RawLabels(TITLE, FROM_CORNER)
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    files = label_files(path) if path.is_dir() else [path]
    if not files:
        raise FaceAlignError(f"{path}: holds no .json files; give the folder of LabelMe's files")
    for file in files:
        try:
            picture = _picture(file, path if path.is_dir() else file.parent, labels)
            if picture is not None:
                picture.add_to(labels, known)
        except FaceAlignError as error:
            labels.skipped.append(error)
    return labels


def _picture(file: Path, root: Path, labels: RawLabels) -> PictureShapes | None:
    value = parse_json(read_file(file, _MAX_BYTES), file)
    if not isinstance(value, dict) or not isinstance(value.get("shapes"), list):
        labels.notes.append(f"{file} is left out: it is no file of LabelMe")
        return None
    name = value.get("imagePath")
    if not isinstance(name, str) or not name:
        raise FaceAlignError(f"{file}: has the imagePath {shown(name)}; name the picture")
    # The path is relative to the file.
    folder = file.parent.relative_to(root).as_posix()
    beside = name if folder == "." else f"{folder}/{name}"
    size = size_of(value.get("imageWidth"), value.get("imageHeight"))
    picture = PictureShapes(beside, str(file), size, other_file=name)
    for index, shape in enumerate(value["shapes"]):
        _add_shape(picture, shape, f"{file}: shape {index}")
    return picture


def _add_shape(picture: PictureShapes, shape: Any, where: str) -> None:
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise FaceAlignError(f"{where} is {shown(shape)}; it must have points")
    points = []
    for point in shape["points"]:
        if not isinstance(point, list) or len(point) != 2:
            raise FaceAlignError(f"{where} has the point {shown(point)}; give x and y")
        points.append((number(point[0], where) - CORNER, number(point[1], where) - CORNER))
    group = shape.get("group_id")
    group = None if group is None else str(group)
    flags = shape.get("flags")
    hidden = isinstance(flags, dict) and any(flags.get(key) is True for key in _HIDDEN)
    kind = shape.get("shape_type", "polygon")
    if kind == "point" and len(points) == 1:
        x, y = points[0]
        picture.point(str(shape.get("label", "")), x, y, 1 if hidden else 2, group)
    elif kind in _LISTS and len(points) > 1:
        picture.face(points, [1 if hidden else 2] * len(points), None, group)
    elif kind == "rectangle" and len(points) in (2, 4):
        columns = list(zip(*points, strict=True))
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        picture.box(box_of((*low, *high), where), group)
