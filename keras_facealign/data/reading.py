"""What the readers of data sets share: examples with further labels, checks, files and paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_facealign._deprecated import deprecated_names
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box

__all__ = [
    "LabeledFace",
    "Survey",
    "below",
    "first_folder",
    "list_names",
    "make_face",
    "read_text",
]

# A landmark farther out than this is a damaged file, not a position in a picture.
_MAX_COORDINATE = 1e6


@dataclass(frozen=True, eq=False)
class LabeledFace(FaceExample):
    """An `FaceExample` with what its data set labels beyond landmarks and visibility.

    Attributes:
        key: Unique in its split: the file name, numbered where one picture has several faces.
        image_path: The picture's file; None where the picture lies inside a larger file.
        extras: Further labels by name, such as `pose` or `published_box`.
    """

    key: str = ""
    image_path: Path | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """What a folder holds of a data set.

    Attributes:
        found: Samples of each split that is there at all.
        missing: What is not there, in words: files or folders and what they cost.
    """

    found: dict[str, int]
    missing: tuple[str, ...] = ()


def make_face(
    image: str | os.PathLike[str] | np.ndarray,
    landmarks: np.ndarray,
    visibility: np.ndarray,
    *,
    file_name: str,
    subset: str,
    label_name: str,
    key: str | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
) -> LabeledFace:
    """Puts a picture and its labels together once they are known to fit.

    Args:
        image: File to read, or uint8 (H, W, 3).
        landmarks: (K, 2), x before y, 0-based pixels.
        visibility: (K,), 0 without a position, 1 occluded, 2 visible.
        file_name: Name of the picture below the data set's root.
        subset: Part of the data set.
        label_name: What error messages call the labels: a file, or a line of one.
        key: See `LabeledFace`. Default: `file_name`.
        extras: See `LabeledFace`.

    Returns:
        The face, with the tight box of the landmarks that have a position.

    Raises:
        FaceAlignError: The picture is broken, or the landmarks are not finite, span no area, or lie
            outside the picture altogether.
    """
    visibility = np.asarray(visibility, np.int32)
    points = np.where(visibility[:, None] > 0, np.asarray(landmarks, np.float64), 0.0)
    if not (visibility > 0).any():
        raise FaceAlignError(
            f"{label_name}: no landmark has a position; label the face or remove it"
        )
    wrong = ~(np.abs(points) <= _MAX_COORDINATE).all(axis=1)
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise FaceAlignError(
            f"{label_name}: landmark {index} is {points[index].tolist()}, no position in a "
            "picture; correct it"
        )
    points = points.astype(np.float32)
    box = landmarks_box(points, visibility)
    x0, y0, x1, y1 = (float(v) for v in box)
    if x1 <= x0 or y1 <= y0:
        raise FaceAlignError(
            f"{label_name}: the landmarks' box {box.tolist()} has no area; correct the labels"
        )
    path = None
    if not isinstance(image, np.ndarray):
        path = Path(image)
        image = read_image(path)
    height, width = image.shape[:2]
    if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
        raise FaceAlignError(
            f"{label_name}: the landmarks' box {box.tolist()} lies outside the {width}x{height} "
            "image; check that the two belong together"
        )
    return LabeledFace(
        image=image,
        landmarks=points,
        visibility=visibility,
        box=box,
        file_name=file_name,
        subset=subset,
        key=key or file_name,
        image_path=path,
        extras=extras or {},
    )


def first_folder(root: Path, candidates: Iterable[str], holds: str) -> Path | None:
    """The first of several folders below `root` that has an entry called `holds`, or None."""
    for candidate in candidates:
        if (root / candidate / holds).exists():
            return root / candidate
    return None


def list_names(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[str]:
    """Sorted names of a folder's files with one of these endings; empty without the folder.

    Names and not paths: the largest sets have a hundred thousand files.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and entry.name.lower().endswith(suffixes)
            and entry.is_file()
        )


def read_text(path: Path, max_bytes: int = 100_000_000) -> str:
    """The content of a text file.

    Raises:
        FaceAlignError: It cannot be opened, is larger than `max_bytes`, or is not text.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror}); check the path and its permissions"
        ) from error
    if len(content) > max_bytes:
        raise FaceAlignError(f"{path}: is larger than {max_bytes} bytes; check the file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FaceAlignError(f"{path}: is not a text file; get it anew") from error


def below(root: Path, folder: Path, relative: str, where: str) -> Path:
    """A path that a list file gives, once it is known to stay below the data set's root.

    Args:
        root: The data set's root.
        folder: What the path is relative to.
        relative: The path as the file has it.
        where: What error messages call the place that has the path.

    Raises:
        FaceAlignError: The path leads out of `root`.
    """
    path = Path(os.path.normpath(folder / relative.replace("\\", "/")))
    if not path.is_relative_to(os.path.normpath(root)):
        raise FaceAlignError(
            f"{where}: the path {relative[:80]!r} leads out of the data set; correct it"
        )
    return path


__getattr__ = deprecated_names(__name__)
