"""Loads labels of one's own from whatever format they are in."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Literal

from keras_facealign.data.files import check_choice
from keras_facealign.data.labels.assembling import Units, assemble
from keras_facealign.data.labels.guess import guess_kind
from keras_facealign.data.labels.label_set import LabelSet
from keras_facealign.errors import FaceAlignError

KINDS = {
    "pts_folder": "text_folder",
    "txt_folder": "text_folder",
    "coco": "coco",
    "dlib": "dlib_xml",
    "cvat": "cvat",
    "labelme": "labelme",
    "label_studio": "label_studio",
    "via_csv": "via",
    "via_json": "via",
    "csv": "csv_labels",
}
"""The formats, and the module of this package that reads each."""

_FOLDERS = ("pts_folder", "txt_folder")
# Formats that do not define, or whose files often do not follow, from which number pixels count.
_ASKED = ("pts_folder", "txt_folder", "csv")


def load(
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    one_based: bool | None = None,
    units: Units | None = None,
    boxes: Literal["file", "points"] = "file",
) -> LabelSet:
    """Loads labels of one's own, with any number of landmarks.

    Args:
        path: A label file, or a folder of pictures with label files beside them.
        kind: The format, a key of `KINDS`. Default: guessed by the content; `describe()` of the
            result tells what was guessed.
        images: Folder of the pictures. Default: the folder of the labels.
        one_based: Whether the center of the first pixel is (1, 1), for CSV and text files, which do
            not define it. Default: it is (0, 0); of `.pts` files it is (1, 1). The other formats
            define it.
        units: `pixels`, `normalized` (parts of the picture's width and height) or `percent` of
            them. Default: pixels; refused if they are hardly pixels.
        boxes: `file` for the file's boxes, where it has them, or `points` for those of the
            landmarks.

    Returns:
        The faces. What does not fit is left out and listed in `skipped`: other numbers of points,
        labels without a picture, labels that are there twice. `unlabeled` lists pictures without
        labels.

    Raises:
        FaceAlignError: The file cannot be read, is of no known format, or no face can be used.

    Example:
        >>> labels = load("labels.json")  # doctest: +SKIP
        >>> print(labels.describe())  # doctest: +SKIP
        >>> labels.num_landmarks, len(labels)  # doctest: +SKIP
        (21, 200)
    """
    path = Path(path)
    guessed = kind is None
    source = path
    if kind is None:
        kind, source = guess_kind(path, images)
    check_choice(kind, KINDS, f"{path}: there is no kind of labels")
    _check_options(path, kind, one_based, units, boxes)
    if kind in _FOLDERS and not path.is_dir():
        raise FaceAlignError(f"{path}: is no folder; {kind} is a folder of pictures and labels")
    module = importlib.import_module(f"keras_facealign.data.labels.{KINDS[kind]}")
    root = Path(images) if images is not None else source if source.is_dir() else source.parent
    options: dict[str, Any] = {"kind": kind, "images": root} if kind in _FOLDERS else {}
    if kind in _ASKED:
        options["one_based"] = one_based
    raw = module.read(source, **options)
    return assemble(raw, source, kind, guessed, root, boxes, units)


def _check_options(path: Path, kind: str, one_based: Any, units: Any, boxes: Any) -> None:
    check_choice(boxes, ("file", "points"), "There is no choice of boxes")
    if units is not None:
        check_choice(units, ("pixels", "normalized", "percent"), "There are no units")
    if one_based is not None and kind not in _ASKED:
        raise FaceAlignError(
            f"{path}: one_based is for CSV and text files; {kind} defines how pixels count"
        )
    if units not in (None, "pixels") and kind == "label_studio":
        raise FaceAlignError(f"{path}: Label Studio's coordinates are percent; leave out units")
    if units not in (None, "pixels") and one_based is not None:
        raise FaceAlignError(
            f"{path}: {units} coordinates do not count pixels; leave out one_based"
        )
