"""Reads keypoints in the JSON format of COCO.

    {"images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
     "categories": [{"id": 1, "keypoints": ["nose", ...], "skeleton": [[1, 2], ...]}],
     "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [x, y, v, ...],
                      "bbox": [x, y, width, height]}]}

Pixels count from 0; v is 0 for a point that is not labeled, 1 for a hidden and 2 for a visible one,
as in this library. Of COCO-WholeBody, the 68 points of the face (`face_kpts`, `face_box`) are read.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.labels.raw_labels import (
    RawFace,
    RawLabels,
    box_of,
    number,
    short_name,
    shown,
    size_of,
    visibility_value,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.json_stream import stream_json

TITLE = "COCO keypoints"
COUNTING = "pixels count from 0, as in the file"

# What files tell about who a face is of; COCO itself does not.
_GROUPS = ("person_id", "subject_id", "identity", "person", "subject", "group", "video_id")


def read(path: Path) -> RawLabels:
    """Reads a file, of any size: only its labels are kept.

    Args:
        path: The JSON file.

    Raises:
        FaceAlignError: It is not JSON, or has no images or annotations.
    """
    return _Reader(path).labels


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels = RawLabels(TITLE, COUNTING)
        self.images: dict[Any, tuple[str, tuple[int, int] | None, str | None]] = {}
        self.categories: dict[Any, dict[str, Any]] = {}
        found: list[tuple[Any, Any, RawFace]] = []
        empty: list[tuple[Any, Any]] = []
        for key, place, value in stream_json(path):
            if key not in ("images", "categories", "annotations") or place is None:
                continue
            where = f"{path}: {key[:-1]} {place}"
            try:
                if not isinstance(value, dict):
                    raise FaceAlignError(f"{where} is {shown(value)}; it must be an object")
                if key == "images":
                    self._image(value, where)
                elif key == "categories":
                    self.categories[_identifier(value, "id", where)] = value
                else:
                    image = _identifier(value, "image_id", where)
                    face = self._face(value, where)
                    if face is not None:
                        found.append((image, value.get("category_id"), face))
                    elif "bbox" in value:
                        empty.append((image, value["bbox"]))
            except FaceAlignError as error:
                self.labels.skipped.append(error)
        self._resolve(found, empty)

    def _image(self, value: dict[str, Any], where: str) -> None:
        name = value.get("file_name")
        if not isinstance(name, str) or not name:
            raise FaceAlignError(f"{where} has the file_name {shown(name)}; name its picture")
        identifier = _identifier(value, "id", where)
        if identifier in self.images:
            raise FaceAlignError(
                f"{where} ({short_name(name)}) has the id {shown(identifier)} of an earlier image; "
                "give each image one of its own"
            )
        size = size_of(value.get("width"), value.get("height"))
        self.images[identifier] = name, size, _group(value)

    def _face(self, value: dict[str, Any], where: str) -> RawFace | None:
        """The face of an annotation; None if it has no labeled point."""
        whole_body = "face_kpts" in value
        key, box_key = ("face_kpts", "face_box") if whole_body else ("keypoints", "bbox")
        triples = value.get(key)
        if not triples or value.get("iscrowd") or (whole_body and not value.get("face_valid")):
            return None
        if not isinstance(triples, list) or len(triples) % 3:
            raise FaceAlignError(
                f"{where} has {key} {shown(triples)}; give x, y and visibility of each landmark"
            )
        points = [[number(v, where) for v in triples[i::3]] for i in (0, 1)]
        if whole_body:  # There it is a score.
            flags = [2 if number(v, where) > 0 else 0 for v in triples[2::3]]
        else:
            flags = [visibility_value(v, where) for v in triples[2::3]]
        if not any(flags):
            return None
        box = value.get(box_key)
        corners = None
        if isinstance(box, list) and len(box) == 4 and any(box):
            x, y, width, height = (number(v, where) for v in box)
            corners = box_of((x, y, x + width, y + height), where)
        points = np.array(points, np.float64).T
        return RawFace(
            "", points, np.array(flags, np.int32), where, box=corners, group=_group(value)
        )

    def _resolve(self, found: list[tuple[Any, Any, RawFace]], empty: list[tuple[Any, Any]]) -> None:
        """Adds the images, which may stand after the annotations in the file."""
        labels = self.labels
        if not self.images:
            raise FaceAlignError(
                f"{self.path}: has no images; give a file of COCO keypoints with images and "
                "annotations"
            )
        names = Counter(name for name, _, _ in self.images.values())
        name, most = names.most_common(1)[0]
        if most > 1:
            labels.notes.append(
                f"{self.path} has {sum(n - 1 for n in names.values())} images whose file_name is "
                f"there before, such as {short_name(name)}"
            )
        counts = Counter(shown(category) for _, category, _ in found)
        main = counts.most_common(1)[0][0] if counts else None
        if len(counts) > 1:
            labels.notes.append(
                f"{self.path} has points in {len(counts)} categories; those of category {main} are "
                f"read, and {sum(counts.values()) - counts[str(main)]} others left out"
            )
        used = set()
        for image, category, face in found:
            used.add(image)
            if image not in self.images:
                labels.skipped.append(
                    FaceAlignError(
                        f"{face.where} is of the image {shown(image)}, which is not in the file; "
                        "add it"
                    )
                )
            elif shown(category) == main:
                name, size, group = self.images[image]
                where = f"{face.where} ({short_name(name)})"
                labels.faces.append(
                    RawFace(
                        name,
                        face.points,
                        face.visibility,
                        where,
                        box=face.box,
                        group=face.group or group,
                        size=size,
                    )
                )
        for image, box in empty:
            if image in self.images and isinstance(box, list) and len(box) == 4:
                used.add(image)
                try:
                    x, y, width, height = (number(v, "") for v in box)
                    corners = x, y, x + width, y + height
                except FaceAlignError:
                    continue
                labels.empty_boxes.append((self.images[image][0], corners))
        labels.pictures += [name for key, (name, _, _) in self.images.items() if key not in used]
        category = next((c for key, c in self.categories.items() if shown(key) == main), {})
        labels.names, labels.edges = _names(category), _edges(category)


def _identifier(value: dict[str, Any], key: str, where: str) -> Any:
    found = value.get(key)
    if not isinstance(found, (int, str)):
        raise FaceAlignError(f"{where} has the {key} {shown(found)}; give a number")
    return found


def _group(value: dict[str, Any]) -> str | None:
    for key in _GROUPS:
        if isinstance(value.get(key), (int, str)) and value[key] != "":
            return str(value[key])
    return None


def _names(category: dict[str, Any]) -> tuple[str, ...] | None:
    names = category.get("keypoints")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def _edges(category: dict[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """The skeleton, whose numbers start at 1."""
    skeleton = category.get("skeleton")
    if not isinstance(skeleton, list) or not skeleton:
        return None
    edges = [
        (edge[0] - 1, edge[1] - 1)
        for edge in skeleton
        if isinstance(edge, list) and len(edge) == 2 and all(type(end) is int for end in edge)
    ]
    return tuple(edges) or None
