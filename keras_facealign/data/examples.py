"""Labeled faces as the readers yield them, and image files paired with `.pts` files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_facealign.data.files import list_names
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.data.pts import MAX_COORDINATE, read_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box


@dataclass(frozen=True)
class ExamplePaths:
    """The files of one labeled face.

    Attributes:
        image_path: The image; None when there is none for the labels.
        label_path: The `.pts` file; None when there is none for the image.
        file_name: The image's path below the data set's root, with forward slashes.
        subset: The folder of the data set it is from, such as `helen/trainset`.
    """

    image_path: Path | None
    label_path: Path | None
    file_name: str
    subset: str


@dataclass(frozen=True, eq=False)
class FaceExample:
    """One labeled face.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        landmarks: float32 (K, 2), x before y, 0-based pixels; (0, 0) where visibility is 0.
        visibility: int32 (K,), 0 without a position, 1 occluded, 2 visible.
        box: float32 (4,), x0, y0, x1, y1, tight around the landmarks that have a position, unless
            labels of one's own give another one.
        file_name: The image's path below the data set's root, with forward slashes.
        subset: The folder of the data set it is from, such as `helen/trainset`.
        key: Unique in its split: the file name, numbered where one image has several faces.
        image_path: The image's file; None where the image is stored inside a larger file.
        extras: Further labels by name, such as `pose` or `published_box`.
    """

    image: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray
    box: np.ndarray
    file_name: str
    subset: str
    key: str = ""
    image_path: Path | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)


def make_example(
    image: str | os.PathLike[str] | np.ndarray,
    landmarks: np.ndarray,
    visibility: np.ndarray | None = None,
    *,
    file_name: str,
    subset: str,
    label_name: str,
    key: str | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
    box: np.ndarray | None = None,
) -> FaceExample:
    """Makes an example of an image and its labels after checking that they fit.

    Args:
        image: File to read, or uint8 (H, W, 3).
        landmarks: (K, 2), x before y, 0-based pixels.
        visibility: (K,), 0 without a position, 1 occluded, 2 visible. Default: all visible.
        file_name: Name of the image below the data set's root.
        subset: Part of the data set.
        label_name: What error messages call the labels: a file, or a line of one.
        key: See `FaceExample`. Default: `file_name`.
        extras: See `FaceExample`.
        box: float (4,), x0, y0, x1, y1. Default: tight around the landmarks that have a position.

    Returns:
        The example.

    Raises:
        FaceAlignError: The image is broken, or the landmarks are not finite, span no area, or lie
            outside the image altogether.
    """
    if visibility is None:
        visibility = np.full(len(landmarks), 2)
    visibility = np.asarray(visibility, np.int32)
    points = np.where(visibility[:, None] > 0, np.asarray(landmarks, np.float64), 0.0)
    if not (visibility > 0).any():
        raise FaceAlignError(
            f"{label_name}: no landmark has a position; label the face or remove it"
        )
    wrong = np.flatnonzero(~(np.abs(points) <= MAX_COORDINATE).all(axis=1))
    if wrong.size:
        raise FaceAlignError(
            f"{label_name}: landmark {wrong[0]} is {points[wrong[0]].tolist()}, which is not a "
            "position in an image; correct it"
        )
    points = points.astype(np.float32)
    tight = landmarks_box(points, visibility)
    x0, y0, x1, y1 = (float(v) for v in tight)
    box = tight if box is None else np.asarray(box, np.float32)
    if not (box[2] > box[0] and box[3] > box[1]):
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
            f"{label_name}: the landmarks' box {tight.tolist()} lies outside the {width}x{height} "
            "image; check that the two belong together"
        )
    return FaceExample(
        image, points, visibility, box, file_name, subset, key or file_name, path, extras or {}
    )


def pair_files(
    root: Path,
    subset: str,
    images: str | None = None,
    labels: str | None = None,
    endings: tuple[str, ...] = (".pts",),
) -> list[ExamplePaths]:
    """Finds the images and label files of one folder, paired by their stem.

    A file without its partner is listed too, so that reading it reports it. Where several images
    share a stem, the first of `IMAGE_SUFFIXES` is used. Hidden files are ignored.

    Args:
        root: The data set's root.
        subset: The folder below `root`, with forward slashes.
        images: Folder of the images below `subset`. Default: `subset` itself.
        labels: Folder of the label files below `subset`. Default: `subset` itself.
        endings: What the label files' names have after the stem, the longest first.

    Returns:
        The pairs sorted by their stem; empty if the folders are missing.

    Example:
        >>> samples = pair_files(Path("300w"), "lfpw/testset")
    """

    def by_stem(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
        def ending(name: str) -> int:
            return next(i for i, each in enumerate(endings) if name.lower().endswith(each))

        names = sorted(list_names(folder, endings), key=ending, reverse=True)
        return {name[: -len(endings[ending(name)])]: folder / name for name in names}

    image_paths = by_stem(root / subset / (images or ""), IMAGE_SUFFIXES)
    label_paths = by_stem(root / subset / (labels or ""), endings)
    return [
        ExamplePaths(
            image_path=image_paths.get(stem),
            label_path=label_paths.get(stem),
            file_name=(image_paths.get(stem) or label_paths[stem]).relative_to(root).as_posix(),
            subset=subset,
        )
        for stem in sorted(image_paths.keys() | label_paths.keys())
    ]


def pair_below(
    root: Path, folder: Path | None = None, endings: tuple[str, ...] = (".pts",)
) -> list[ExamplePaths]:
    """Pairs the files of a folder and of all folders below it, as `pair_files` does.

    Args:
        root: What names of files are relative to.
        folder: The folder, `root` or one below it. Default: `root`.
        endings: See `pair_files`.

    Returns:
        The pairs, folder by folder. Hidden folders are left out.
    """
    places = []
    for place, folders, _ in os.walk(folder or root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        places.append(Path(place).relative_to(root).as_posix())
    return [pair for place in sorted(places) for pair in pair_files(root, place, endings=endings)]


def read_sample(
    sample: ExamplePaths, num_landmarks: int | None = None, signed_visibility: bool = False
) -> FaceExample:
    """Reads one image and its labels.

    Args:
        sample: The files.
        num_landmarks: Number of landmarks the labels must have. Default: any.
        signed_visibility: Whether signs in the `.pts` file tell occlusion; see `read_pts`.

    Returns:
        The example.

    Raises:
        FaceAlignError: A file is missing or broken, the labels are of another kind, span no area,
            or lie outside the image altogether.

    Example:
        >>> example = read_sample(pair_files(Path("300w"), "afw")[0])  # doctest: +SKIP
    """
    if sample.image_path is None:
        raise FaceAlignError(
            f"{sample.label_path}: there is no image of this name; add it or remove the .pts file"
        )
    if sample.label_path is None:
        raise FaceAlignError(
            f"{sample.image_path}: there is no .pts file of this name; add it or remove the image"
        )
    landmarks, visibility = read_pts(sample.label_path, num_landmarks, signed_visibility)
    return make_example(
        sample.image_path,
        landmarks,
        visibility,
        file_name=sample.file_name,
        subset=sample.subset,
        label_name=str(sample.label_path),
    )
