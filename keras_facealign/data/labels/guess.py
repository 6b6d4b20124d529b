"""Guesses what wrote a file or folder of labels, by its content."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

from keras_facealign.data.files import list_names
from keras_facealign.data.labels import labelme, text_folder
from keras_facealign.data.labels.table_rows import first_row
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.json_stream import stream_json
from keras_facealign.storage.reading import open_regular
from keras_facealign.storage.xml_stream import stream_xml

# Elements of a JSON file that are looked at; the header of a COCO file has a few dozen.
_LOOKED_AT = 1000
_VIA_COLUMNS = {"filename", "region_shape_attributes"}


def guess_kind(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> tuple[str, Path]:
    """Guesses the format of labels.

    Args:
        path: A label file, or a folder: of pictures with label files beside them, or with one
            label file in it.
        images: The folder of the pictures. Default: that of the labels.

    Returns:
        A key of `KINDS`, and the file or folder that has this format.

    Raises:
        FaceAlignError: It is none of the formats, or may be several.

    Example:
        >>> guess_kind("export/labels.json")  # doctest: +SKIP
        ('coco', PosixPath('export/labels.json'))
    """
    path = Path(path)
    if path.is_dir():
        return _guess_folder(path, None if images is None else Path(images))
    return _guess_file(path), path


def _guess_folder(folder: Path, images: Path | None) -> tuple[str, Path]:
    for kind in ("pts_folder", "txt_folder"):
        samples = text_folder.label_files(folder, kind, images)
        paths = [sample.label_path for sample in samples if sample.image_path]
        if any(path and (kind == "pts_folder" or _is_points(path)) for path in paths):
            return kind, folder
    if any(_is_kind(path, "labelme") for path in labelme.label_files(folder)[:20]):
        return "labelme", folder
    known = []
    for name in list_names(folder, (".json", ".xml", ".csv", ".tsv"))[:20]:
        try:
            known.append((_guess_file(folder / name), folder / name))
        except FaceAlignError:
            continue
    if len(known) == 1:
        return known[0]
    if known:
        names = ", ".join(f"{path.name} ({kind})" for kind, path in known[:4])
        raise FaceAlignError(f"{folder}: holds several label files, {names}; give one of them")
    raise FaceAlignError(
        f"{folder}: holds neither pictures with .pts, .txt or LabelMe's .json files of the same "
        "name beside them, nor a label file; give the file or folder of the labels"
    )


def _is_points(path: Path) -> bool:
    try:
        text_folder.read_text_points(path)
    except FaceAlignError:
        return False
    return True


def _is_kind(path: Path, kind: str) -> bool:
    try:
        return _guess_file(path) == kind
    except FaceAlignError:
        return False


def _guess_file(path: Path) -> str:
    with open_regular(path) as stream:
        head = stream.read(4096)
    if not head:
        raise FaceAlignError(f"{path}: the file is empty; replace or remove it")
    # Without the zeros of UTF-16 and the byte order marks.
    start = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
    if start in (b"{", b"["):
        kind = _guess_json(path)
    elif start == b"<":
        kind = _guess_xml(path)
    else:
        titles = {cell.strip() for cell in first_row(path)}
        kind = "via_csv" if titles >= _VIA_COLUMNS else "csv"
    if kind is None:
        raise FaceAlignError(
            f"{path}: is of no known kind; give COCO keypoints, LabelMe, Label Studio, VIA, dlib "
            "or CVAT, or name the kind"
        )
    return kind


def _guess_json(path: Path) -> str | None:
    for key, place, value in islice(stream_json(path), _LOOKED_AT):
        fields: Any = value if isinstance(value, dict) else {}
        if key == "" and isinstance(place, int):
            if _is_task(fields):
                return "label_studio"
        elif key == "_via_img_metadata" or place == "regions" or "regions" in fields:
            return "via_json"
        elif (key == "images" and "file_name" in fields) or (
            key == "annotations" and ("keypoints" in fields or "face_kpts" in fields)
        ):
            return "coco"
        elif (key == "shapes" and isinstance(place, int)) or key in ("imagePath", "imageData"):
            return "labelme"
    return None


def _is_task(fields: dict[str, Any]) -> bool:
    """Whether an element is a task of Label Studio, of either of its JSON exports."""
    if "annotations" in fields or "completions" in fields:
        return True
    first = [value[0] for value in fields.values() if isinstance(value, list) and value]
    return any(isinstance(each, dict) and "keypointlabels" in each for each in first)


def _guess_xml(path: Path) -> str | None:
    for tag, _, _ in stream_xml(path):
        return {"dataset": "dlib", "annotations": "cvat"}.get(tag)
    return None
