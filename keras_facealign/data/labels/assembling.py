"""Makes a set of what a label file has: finds its pictures, and leaves out what does not fit.

Whatever is left out is counted and named, and no label is moved without saying so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from keras_facealign.data.images import image_size
from keras_facealign.data.labels.label_set import FaceLabels, LabelSet
from keras_facealign.data.labels.pictures import Pictures
from keras_facealign.data.labels.raw_labels import (
    MAX_LANDMARKS,
    RawFace,
    RawLabels,
    readable,
    shown,
)
from keras_facealign.data.pts import MAX_COORDINATE
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box

Units = Literal["pixels", "normalized", "percent"]

# Pictures whose size tells whether coordinates up to 100 may be percent, and the least side of
# pictures in which faces all within the first 100 pixels are unlikely.
_SAMPLED, _LARGE = 20, 250
# Boxes of the file that are so many times as long as those of the points are hardly those of faces.
_WIDE = 4.0
_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")


@dataclass
class _Work:
    """A set that is being made."""

    raw: RawLabels
    pictures: Pictures
    kept: list[FaceLabels] = field(default_factory=list)
    skipped: list[FaceAlignError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def assemble(
    raw: RawLabels,
    path: Path,
    kind: str,
    guessed: bool,
    root: Path,
    boxes: Literal["file", "points"] = "file",
    units: Units | None = None,
) -> LabelSet:
    """Makes a set of the faces of a label file.

    Args:
        raw: What the file has.
        path: The file or folder.
        kind: Its format.
        guessed: Whether that was guessed.
        root: Folder of the pictures.
        boxes: Whether the file's boxes are used, or those of the points.
        units: Units of the coordinates. Default: pixels, if they can be pixels.

    Raises:
        FaceAlignError: No face can be used, or the coordinates are hardly pixels.
    """
    if not raw.faces:
        reason = f"; the first problem: {raw.skipped[0]}" if raw.skipped else ""
        raise FaceAlignError(f"{path}: holds no labeled face ({raw.title}){reason}")
    work = _Work(raw, Pictures(root), skipped=list(raw.skipped), notes=list(raw.notes))
    faces, names = _in_order(work, path)
    found = _with_pictures(work, faces)
    if units is None and raw.units == "pixels":
        _check_pixels([face for face, _ in found], [image for _, image in found], path)
    counting = raw.counting
    if units in ("normalized", "percent"):
        raw.units, counting = units, _PARTS[units]
    for face, image in found:
        try:
            work.kept.append(_finish(face, image, work, boxes))
        except FaceAlignError as error:
            work.skipped.append(error)
    kept = _without_repeats(work)
    if not kept:
        raise FaceAlignError(
            f"{path}: none of the {len(raw.faces)} faces can be used; the first problem: "
            f"{work.skipped[0]}"
        )
    _note(work, kept)
    empty_boxes = _empty_boxes(work)
    labeled = {face.file_name for face in kept}
    unlabeled = {name for name in _without_faces(work) if name not in labeled}
    unlabeled |= {*work.pictures.unused()}
    return LabelSet(
        path,
        kind,
        guessed,
        raw.title,
        counting,
        root,
        len(kept[0].landmarks),
        tuple(kept),
        names,
        raw.edges if raw.edges and _fit(raw.edges, len(kept[0].landmarks)) else None,
        tuple(sorted(unlabeled)),
        empty_boxes,
        tuple(work.notes),
        tuple(work.skipped),
    )


_PARTS = {
    "normalized": "coordinates are parts of the picture's width and height; times these, less 0.5, "
    "they are pixels, whose centers count from 0",
    "percent": "coordinates are percent of the picture's width and height; times these, less 0.5, "
    "they are pixels, whose centers count from 0",
}


def _fit(edges: tuple[tuple[int, int], ...], count: int) -> bool:
    return all(0 <= end < count for edge in edges for end in edge)


# Order of the points -----------------------------------------------------------------------------


def _in_order(work: _Work, path: Path) -> tuple[list[RawFace], tuple[str, ...] | None]:
    """Faces with equally many points in one order, and the points' names."""
    faces = work.raw.faces
    given = [face.names for face in faces if face.names is not None]
    distinct = list(dict.fromkeys(name for names in dict.fromkeys(given) for name in names))
    # A tool that asks for a label gets "point" for all of them.
    alike = len(distinct) == 1 and max(len(face.points) for face in faces) > 1
    named = not alike and 2 * len(given) > len(faces)
    if 0 < len(given) < len(faces) and not alike:
        faces = _of_one_sort(work, named)
    if named:
        declared: tuple[str, ...] = work.raw.names or ()
        order = declared if set(distinct) <= set(declared) else natural_order(distinct)
        if len(order) > MAX_LANDMARKS:
            raise FaceAlignError(
                f"{path}: has {len(order)} names of points, such as {shown(distinct[0])}; give the "
                "same landmark the same name in all faces"
            )
        return _by_name(work, faces, order), tuple(map(readable, order))
    return _by_number(work, faces), _own_names(work, faces)


def _of_one_sort(work: _Work, named: bool) -> list[RawFace]:
    """The faces with, or those without names of points, whichever most are."""
    has, others = ("no names", "names") if named else ("names", "none")
    for face in work.raw.faces:
        if (face.names is not None) != named:
            work.skipped.append(
                FaceAlignError(
                    f"{face.where}: its points have {has}, where those of most faces have "
                    f"{others}; label all faces in one way"
                )
            )
    return [face for face in work.raw.faces if (face.names is not None) == named]


def natural_order(names: list[str]) -> tuple[str, ...]:
    """Names in the order of their numbers if all are one word and a number, else as given.

    Example:
        >>> natural_order(["p10", "p2"]), natural_order(["nose", "chin"])
        (('p2', 'p10'), ('nose', 'chin'))
    """
    matches = [_NUMBERED.fullmatch(name) for name in names]
    if all(matches) and len({match[1] for match in matches if match}) == 1:
        numbers = {match[0]: int(match[2]) for match in matches if match}
        if len(set(numbers.values())) == len(names):
            return tuple(sorted(names, key=lambda name: numbers[name]))
    return tuple(names)


def _by_name(work: _Work, faces: list[RawFace], order: tuple[str, ...]) -> list[RawFace]:
    places = {name: place for place, name in enumerate(order)}
    kept = []
    for face in faces:
        names = face.names or ()
        repeated = [name for name, number in Counter(names).items() if number > 1]
        if repeated:
            work.skipped.append(
                FaceAlignError(
                    f"{face.where} has the point {shown(repeated[0])} {names.count(repeated[0])} "
                    "times; if it is several faces, give each a group of its own"
                )
            )
            continue
        points, visibility = np.full((len(order), 2), np.nan), np.zeros(len(order), np.int32)
        index = [places[name] for name in names]
        points[index], visibility[index] = face.points, face.visibility
        kept.append(replace(face, points=points, visibility=visibility, names=None))
    return kept


def _by_number(work: _Work, faces: list[RawFace]) -> list[RawFace]:
    """The faces with the most frequent number of points."""
    count, number = Counter(len(face.points) for face in faces).most_common(1)[0]
    if count > MAX_LANDMARKS:
        raise FaceAlignError(
            f"{faces[0].where}: has {count} points, and the limit is {MAX_LANDMARKS}"
        )
    for face in faces:
        if len(face.points) != count:
            work.skipped.append(
                FaceAlignError(
                    f"{face.where}: has {len(face.points)} points where {number} of {len(faces)} "
                    f"faces have {count}; label the missing ones, or remove the face"
                )
            )
    return [face for face in faces if len(face.points) == count]


def _own_names(work: _Work, faces: list[RawFace]) -> tuple[str, ...] | None:
    names = work.raw.names
    count = Counter(len(face.points) for face in faces).most_common(1)[0][0]
    return tuple(map(readable, names)) if names and len(names) == count else None


# Pictures and units ------------------------------------------------------------------------------


def _with_pictures(work: _Work, faces: list[RawFace]) -> list[tuple[RawFace, Path]]:
    found = []
    for face in faces:
        try:
            found.append((face, work.pictures.find(face.file, face.other_file)))
        except FaceAlignError as error:
            work.skipped.append(FaceAlignError(f"{face.where}: the picture {error}"))
    return found


def _check_pixels(faces: list[RawFace], images: list[Path], path: Path) -> None:
    """Refuses coordinates that are likely parts or percent of the picture's size.

    Raises:
        FaceAlignError: They are all within 0 to 1, or within 0 to 100 in large pictures.
    """
    largest = -np.inf
    for face in faces:
        points = face.points[face.visibility > 0]
        if np.isnan(points).all() or np.nanmin(points) < 0:
            continue
        largest = max(largest, float(np.nanmax(points)))
        if largest > 100:
            return
    if not np.isfinite(largest):
        return
    units = "normalized" if largest <= 1 else "percent"
    if units == "percent":
        sides = []
        for image in images[:: max(1, len(images) // _SAMPLED)]:
            try:
                sides.append(min(image_size(image)))
            except FaceAlignError:
                continue
        if not sides or min(sides) < _LARGE:
            return
    bound, parts = (1, "parts") if units == "normalized" else (100, "percent")
    raise FaceAlignError(
        f"{path}: no coordinate is larger than {bound}, so that they are hardly pixels; give "
        f"units={units!r} if they are {parts} of the picture's width and height, and "
        "units='pixels' if not"
    )


def _without_faces(work: _Work) -> list[str]:
    """The pictures that the file names without a face, below the folder where they are there."""
    names = []
    for name in work.raw.pictures:
        try:
            names.append(work.pictures.relative(work.pictures.find(name)))
        except FaceAlignError:
            names.append(readable(name))
    return names


def _empty_boxes(work: _Work) -> tuple[tuple[str, tuple[float, float, float, float]], ...]:
    boxes = []
    for name, box in work.raw.empty_boxes:
        try:
            path = work.pictures.find(name)
            if work.raw.units != "pixels":
                box = tuple(_pixels(np.reshape(box, (2, 2)), image_size(path), work).ravel())
            boxes.append((work.pictures.relative(path), tuple(float(side) for side in box)))
        except FaceAlignError as error:
            work.skipped.append(error)
    return tuple(boxes)


def _pixels(points: np.ndarray, size: tuple[int, int], work: _Work) -> np.ndarray:
    """Parts or percent of a picture's size as pixels, whose centers count from 0."""
    whole = 100.0 if work.raw.units == "percent" else 1.0
    return points * (np.array(size, np.float64) / whole) - 0.5


def _finish(face: RawFace, image: Path, work: _Work, boxes: str) -> FaceLabels:
    """The light record of a face, in pixels."""
    points, box, size = face.points, face.box, face.size
    if work.raw.units != "pixels":
        size = size or image_size(image)
        points = _pixels(points, size, work)
        if box is not None:
            box = tuple(_pixels(np.reshape(box, (2, 2)), size, work).ravel())
    missing = np.isnan(points).any(axis=1)
    visibility = np.where(missing, 0, face.visibility).astype(np.int32)
    points = np.where(visibility[:, None] > 0, points, 0.0)
    if not visibility.any():
        raise FaceAlignError(f"{face.where}: no landmark has a position; label the face")
    if np.abs(points).max() > MAX_COORDINATE:
        worst = int(np.abs(points).max(axis=1).argmax())
        raise FaceAlignError(
            f"{face.where}: landmark {worst} is {points[worst].tolist()}, which is not a position "
            "in an image; correct it"
        )
    source = "file" if box is not None and boxes == "file" else "points"
    corners = np.array(box, np.float32) if source == "file" else landmarks_box(points, visibility)
    return FaceLabels(
        image,
        work.pictures.relative(image),
        points.astype(np.float32),
        visibility,
        corners,
        source,
        face.where,
        None if face.group is None else readable(face.group),
        size,
    )


# Several faces in a picture ----------------------------------------------------------------------


def _without_repeats(work: _Work) -> list[FaceLabels]:
    """The faces with keys of their own, without those whose labels are there twice."""
    kept: list[FaceLabels] = []
    seen: dict[tuple[str, bytes], str] = {}
    numbers: Counter[str] = Counter()
    for face in work.kept:
        labels = face.file_name, face.landmarks.tobytes()
        if labels in seen:
            work.skipped.append(
                FaceAlignError(
                    f"{face.where}: has the same labels of the same picture as {seen[labels]}; "
                    "remove one of them"
                )
            )
            continue
        seen[labels] = face.where
        numbers[face.file_name] += 1
        number = numbers[face.file_name]
        key = face.file_name if number == 1 else f"{face.file_name}#{number}"
        kept.append(replace(face, key=key))
    return kept


def _note(work: _Work, kept: list[FaceLabels]) -> None:
    """Adds remarks about what is odd, but usable."""
    several = Counter(face.file_name for face in kept)
    name, most = several.most_common(1)[0]
    if most > 1:
        number = sum(count > 1 for count in several.values())
        work.notes.append(f"{number} pictures have several faces, such as {name} with {most}")
    outside = [(face, index) for face in kept if (index := points_outside(face)).size]
    if outside:
        face, index = outside[0]
        work.notes.append(
            f"{sum(len(i) for _, i in outside)} points of {len(outside)} faces lie outside of "
            f"their pictures, such as point {index[0]} of {face.file_name}"
        )
    ratios = [
        np.ptp(np.reshape(face.box, (2, 2)), axis=0).max()
        / max(np.ptp(face.landmarks[face.visibility > 0], axis=0).max(), 1e-6)
        for face in kept
        if face.box_source == "file" and (face.visibility > 0).sum() > 1
    ]
    if ratios and np.median(ratios) > _WIDE:
        work.notes.append(
            f"the file's boxes are {np.median(ratios):.1f} times as long as those of the points; "
            'if they are not boxes of faces, give boxes="points"'
        )
    if any("\udc80" <= c <= "\udcff" for face in work.raw.faces for c in face.file):
        work.notes.append("names that are not UTF-8 were read as Windows-1252 (Latin-1)")
    if work.pictures.truncated:
        work.notes.append(
            f"{work.pictures.root} holds too many files to list; pictures without labels were not "
            "counted"
        )


def points_outside(face: FaceLabels, size: tuple[int, int] | None = None) -> np.ndarray:
    """The numbers of a face's points that lie outside of its picture.

    Args:
        face: The labels.
        size: Width and height of the picture. Default: those that the file tells, if it does.
    """
    size = size or face.image_size
    if size is None:
        return np.zeros(0, int)
    points = face.landmarks
    # Tools let a point be set on the edge, half a pixel away from the last center.
    beyond = ((points < -1.0) | (points > np.array(size, np.float32))).any(axis=1)
    return np.flatnonzero(beyond & (face.visibility > 0))
