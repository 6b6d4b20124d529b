"""Reads a folder of pictures with a `.pts` or `.txt` file of the same name beside each.

    NAME.{jpg,png,...}, NAME.pts         the format of 300W, which counts pixels from 1
    NAME.{jpg,png,...}, NAME.txt         a line per point: x y, or x,y, or x y visibility

Text files may also be called NAME_ldmks.txt or NAME_landmarks.txt, have the number of points as
their first line, or all numbers in one line.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from keras_facealign.data.examples import ExamplePaths, pair_below
from keras_facealign.data.files import list_names
from keras_facealign.data.images import IMAGE_SUFFIXES
from keras_facealign.data.labels.raw_labels import (
    MAX_LANDMARKS,
    RawFace,
    RawLabels,
    number,
    visibility_value,
)
from keras_facealign.data.pts import read_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import read_file

_ENDINGS = {"pts_folder": (".pts",), "txt_folder": ("_ldmks.txt", "_landmarks.txt", ".txt")}
_MAX_BYTES = 1_000_000
_FROM_1 = "pixels count from 1 in the files (one_based), so that 1 was subtracted"
_FROM_0 = "pixels count from 0, as in the files"
_ASSUMED_0 = "pixels are taken to count from 0 (one_based=True if the files count from 1)"


def label_files(root: Path, kind: str, images: Path | None = None) -> list[ExamplePaths]:
    """Pairs the pictures of a folder and its subfolders with their label files.

    Args:
        root: The folder of the label files.
        kind: `pts_folder` or `txt_folder`.
        images: The folder of the pictures. Default: `root`.
    """
    endings = _ENDINGS[kind]
    if images is None or images == root:
        return pair_below(root, endings=endings)
    labels = {_stem(s, endings): s for s in pair_below(root, endings=endings) if s.label_path}
    pictures = {_stem(s): s for s in pair_below(images, endings=()) if s.image_path}
    return [
        ExamplePaths(
            pictures[stem].image_path if stem in pictures else None,
            labels[stem].label_path if stem in labels else None,
            (pictures.get(stem) or labels[stem]).file_name,
            stem.rpartition("/")[0],
        )
        for stem in sorted(labels.keys() | pictures.keys())
    ]


def _stem(sample: ExamplePaths, endings: tuple[str, ...] = IMAGE_SUFFIXES) -> str:
    """A file's path below its folder without the ending."""
    name = sample.file_name
    if sample.label_path is not None:
        name = f"{sample.subset}/{sample.label_path.name}".removeprefix("./")
    ending = next(each for each in endings if name.lower().endswith(each))
    return name[: -len(ending)]


def read(
    root: Path, kind: str, one_based: bool | None = None, images: Path | None = None
) -> RawLabels:
    """Reads the label files of a folder.

    Args:
        root: The folder.
        kind: `pts_folder` or `txt_folder`.
        one_based: Whether the files count pixels from 1. Default: `.pts` files do, text files do
            not.
        images: The folder of the pictures. Default: `root`.

    Raises:
        FaceAlignError: No picture has a label file.
    """
    pts = kind == "pts_folder"
    first = 1.0 if (pts if one_based is None else one_based) else 0.0
    counting = _FROM_1 if first else _ASSUMED_0 if one_based is None else _FROM_0
    labels = RawLabels(f"folder of {_ENDINGS[kind][-1]} files", counting)
    samples = label_files(root, kind, images)
    if not any(sample.image_path and sample.label_path for sample in samples):
        raise FaceAlignError(
            f"{root}: holds no pictures with {_ENDINGS[kind][-1]} files of the same name beside "
            "them; give their folder"
        )
    for sample in samples:
        path = sample.label_path
        if path is None:
            continue
        try:
            if sample.image_path is None:
                if pts or _has_points(path):
                    raise FaceAlignError(
                        f"{path}: there is no picture of this name; add it or remove the file"
                    )
                continue
            if pts:
                points, visibility = read_pts(path)
                points = points.astype(np.float64) + (1.0 - first)
            else:
                points, visibility = read_text_points(path)
                points = points - first
            labels.faces.append(RawFace(sample.file_name, points, visibility, str(path)))
        except FaceAlignError as error:
            labels.skipped.append(error)
    labels.notes += _of_one_name(samples)
    return labels


def _of_one_name(samples: list[ExamplePaths]) -> list[str]:
    """Remarks about labeled pictures that share their name with others."""
    notes = []
    used = {sample.image_path for sample in samples}
    stems = {path.with_suffix("") for path in used if path}
    for folder in {path.parent for path in used if path}:
        for name in list_names(folder, IMAGE_SUFFIXES):
            path = folder / name
            if path not in used and path.with_suffix("") in stems:
                notes.append(f"{path} is left out: another picture has the same name")
    return sorted(notes)


def _has_points(path: Path) -> bool:
    try:
        return len(read_text_points(path)[0]) > 0
    except FaceAlignError:
        return False  # A note to people, for example.


def read_text_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the points of a text file as they are.

    Args:
        path: The file.

    Returns:
        float64 (K, 2), NaN where a position is missing, and int32 (K,), the visibility.

    Raises:
        FaceAlignError: The file cannot be read, or is something else.
    """
    content = read_file(path, _MAX_BYTES)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", "replace")
    else:
        # Numbers are ASCII in every other encoding; anything else is named below.
        text = content.decode("utf-8-sig", "replace")
    rows = [
        (place, [token for token in re.split(r"[\s,;]+", line.strip()) if token])
        for place, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    declared = None
    if len(rows) > 1 and len(rows[0][1]) == 1 and re.fullmatch("[0-9]{1,9}", rows[0][1][0]):
        declared = int(rows[0][1][0])
        rows = rows[1:]
    if len(rows) == 1 and len(rows[0][1]) > 3 and len(rows[0][1]) % 2 == 0:
        place, tokens = rows[0]
        rows = [(place, tokens[i : i + 2]) for i in range(0, len(tokens), 2)]
    points, flags = [], []
    for place, tokens in rows[: MAX_LANDMARKS + 1]:
        where = f"{path}: line {place}"
        if len(tokens) not in (2, 3):
            raise FaceAlignError(
                f"{where} has {len(tokens)} numbers; write x, a blank, y, and if known the "
                "visibility"
            )
        points.append([number(token, where) for token in tokens[:2]])
        flags.append(2 if len(tokens) == 2 else visibility_value(tokens[2], where))
    if not points:
        raise FaceAlignError(f"{path}: holds no points; label the face or remove the file")
    if declared is not None and declared != len(points):
        raise FaceAlignError(
            f"{path}: has {len(points)} points where the first line says {declared}; correct it"
        )
    return np.array(points, np.float64), np.array(flags, np.int32)
