"""Gathers the shapes that a labeling tool has in one picture into faces.

Tools know points and boxes, not faces. Points with the same group are a face; so are all points of
a picture without groups, unless a name occurs twice and each point is in exactly one of several
boxes. A shape of several points is a face of its own, whose points are told by their order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from keras_facealign.data.labels.raw_labels import RawFace, RawLabels, short_name
from keras_facealign.errors import FaceAlignError

Box = tuple[float, float, float, float]

CORNER = 0.5
"""What is subtracted from positions that count from the corner of the first pixel."""

FROM_CORNER = (
    "positions count from the corner of the first pixel in the file; 0.5 was subtracted, since "
    "they count from its center here"
)


@dataclass
class _Face:
    names: list[str] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    visibility: list[int] = field(default_factory=list)


@dataclass
class PictureShapes:
    """The shapes of one picture.

    Args:
        file: Name of the picture in the label file.
        where: What messages call its place in the label file.
        size: Width and height of the picture, if the file tells them.
        other_file: A second name under which the picture may be found.
    """

    file: str
    where: str
    size: tuple[int, int] | None = None
    other_file: str = ""
    _faces: dict[str | None, _Face] = field(default_factory=dict)
    _whole: list[tuple[str | None, _Face, bool]] = field(default_factory=list)
    _boxes: list[tuple[str | None, Box]] = field(default_factory=list)

    def point(
        self, name: str, x: float, y: float, visibility: int = 2, group: str | None = None
    ) -> None:
        """Adds a point of a face."""
        face = self._faces.setdefault(group, _Face())
        face.names.append(name)
        face.points.append((x, y))
        face.visibility.append(visibility)

    def face(
        self,
        points: list[tuple[float, float]],
        visibility: list[int],
        names: list[str] | None = None,
        group: str | None = None,
    ) -> None:
        """Adds a face, with names or in the scheme's order."""
        face = _Face(names or [""] * len(points), points, visibility)
        self._whole.append((group, face, names is not None))

    def box(self, corners: Box, group: str | None = None) -> None:
        """Adds a box."""
        self._boxes.append((group, corners))

    def add_to(self, labels: RawLabels, known: dict[tuple[str, ...], tuple[str, ...]]) -> None:
        """Adds the faces to the labels of a file.

        Args:
            labels: The labels.
            known: Names of points that have occurred, so that each is stored once.
        """
        faces = [*self._whole, *((group, face, True) for group, face in self._split())]
        boxes = list(self._boxes)
        if not faces and not boxes:
            labels.pictures.append(self.file)
        for group, face, named in faces:
            names = tuple(face.names)
            points = np.array(face.points, np.float64)
            many = f", group {short_name(group)}" if group is not None and len(faces) > 1 else ""
            if self._whole and self._faces:
                labels.skipped.append(
                    FaceAlignError(
                        f"{self.where}: has single points beside shapes of several points; label "
                        "all faces in one way"
                    )
                )
                break
            box = _take_box(boxes, group, points, alone=len(faces) == 1)
            labels.faces.append(
                RawFace(
                    self.file,
                    points,
                    np.array(face.visibility, np.int32),
                    f"{self.where}{many}",
                    known.setdefault(names, names) if named else None,
                    box,
                    None,
                    self.size,
                    self.other_file,
                )
            )
        labels.empty_boxes += [(self.file, box) for _, box in boxes]

    def _split(self) -> list[tuple[str | None, _Face]]:
        """The faces of single points; without groups they may be told apart by the boxes."""
        if list(self._faces) != [None] or len(self._boxes) < 2:
            return list(self._faces.items())
        face = self._faces[None]
        if max(Counter(face.names).values()) == 1:
            return [(None, face)]
        parts = [_Face() for _ in self._boxes]
        for name, point, flag in zip(face.names, face.points, face.visibility, strict=True):
            inside = [i for i, (_, box) in enumerate(self._boxes) if _contains(box, point)]
            if len(inside) != 1:
                return [(None, face)]
            part = parts[inside[0]]
            part.names.append(name)
            part.points.append(point)
            part.visibility.append(flag)
        return [(str(i + 1), part) for i, part in enumerate(parts) if part.points]


def _contains(box: Box, point: tuple[float, float]) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _take_box(
    boxes: list[tuple[str | None, Box]], group: str | None, points: np.ndarray, alone: bool
) -> Box | None:
    """Takes the box of a face out of the list: that of its group, or the one around its middle."""
    middle = np.nanmean(points, axis=0) if not np.isnan(points).all() else np.full(2, np.nan)
    for number, (owner, box) in enumerate(boxes):
        same = group is not None and owner == group
        around = owner is None or group is None or alone
        if same or (around and _contains(box, (float(middle[0]), float(middle[1])))):
            return boxes.pop(number)[1]
    return None
