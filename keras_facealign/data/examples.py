"""What every reader of a labeled data set yields, and how it meets a broken file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.data.pts import read_pts
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box

__all__ = ["ExamplePaths", "FaceExample", "pair_files", "read_sample", "read_samples"]


@dataclass(frozen=True)
class ExamplePaths:
    """Where one labeled face lies on disk.

    Attributes:
        image_path: The picture; None when there is none for the labels.
        label_path: The `.pts` file; None when there is none for the picture.
        file_name: The picture's path below the data set's root, with forward slashes.
        subset: The folder of the data set it is from, such as `helen/trainset`.
    """

    image_path: Path | None
    label_path: Path | None
    file_name: str
    subset: str


@dataclass(frozen=True, eq=False)
class FaceExample:
    """One labeled face, read.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        landmarks: float32 (K, 2), x before y, 0-based pixels; (0, 0) where visibility is 0.
        visibility: int32 (K,), 0 without a position, 1 occluded, 2 visible.
        box: float32 (4,), x0, y0, x1, y1, tight around the landmarks that have a position.
        file_name: The picture's path below the data set's root, with forward slashes.
        subset: The folder of the data set it is from, such as `helen/trainset`.
    """

    image: np.ndarray
    landmarks: np.ndarray
    visibility: np.ndarray
    box: np.ndarray
    file_name: str
    subset: str


def pair_files(
    root: Path, subset: str, images: str | None = None, labels: str | None = None
) -> list[ExamplePaths]:
    """Finds the pictures and `.pts` files of one folder, paired by their stem.

    A file without its partner is listed too, so that reading it reports it. Where several pictures
    share a stem, the first of `IMAGE_SUFFIXES` is taken. Hidden files are passed over.

    Args:
        root: The data set's root.
        subset: The folder below `root`, with forward slashes.
        images: Folder of the pictures below `subset`. Default: `subset` itself.
        labels: Folder of the `.pts` files below `subset`. Default: `subset` itself.

    Returns:
        Samples sorted by their stem; empty if the folders are missing.

    Example:
        >>> samples = pair_files(Path("300w"), "lfpw/testset")
    """
    image_paths: dict[str, Path] = {}
    for path in _visible_files(root / subset / (images or "")):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            rival = image_paths.get(path.stem)
            if rival is None or _rank(path) < _rank(rival):
                image_paths[path.stem] = path
    label_paths = {
        path.stem: path
        for path in _visible_files(root / subset / (labels or ""))
        if path.suffix.lower() == ".pts"
    }
    return [
        ExamplePaths(
            image_path=image_paths.get(stem),
            label_path=label_paths.get(stem),
            file_name=(image_paths.get(stem) or label_paths[stem]).relative_to(root).as_posix(),
            subset=subset,
        )
        for stem in sorted(image_paths.keys() | label_paths.keys())
    ]


def read_sample(
    sample: ExamplePaths, num_landmarks: int | None = None, signed_visibility: bool = False
) -> FaceExample:
    """Reads one picture and its labels.

    Args:
        sample: The files.
        num_landmarks: Number of landmarks the labels must have. Default: any.
        signed_visibility: Whether signs in the `.pts` file tell occlusion; see `read_pts`.

    Returns:
        The example.

    Raises:
        FaceAlignError: A file is missing or broken, the labels are of another kind, span no area,
            or lie outside the picture altogether.

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
    landmarks, visibility = read_pts(
        sample.label_path, num_landmarks=num_landmarks, signed_visibility=signed_visibility
    )
    if not (visibility > 0).any():
        raise FaceAlignError(
            f"{sample.label_path}: no landmark has a position; label the face or remove the file"
        )
    box = landmarks_box(landmarks, visibility)
    x0, y0, x1, y1 = (float(v) for v in box)
    if x1 <= x0 or y1 <= y0:
        raise FaceAlignError(
            f"{sample.label_path}: the landmarks' box {box.tolist()} has no area; correct the file"
        )
    image = read_image(sample.image_path)
    height, width = image.shape[:2]
    if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
        raise FaceAlignError(
            f"{sample.label_path}: the landmarks' box {box.tolist()} lies outside the "
            f"{width}x{height} image; check that the two belong together"
        )
    return FaceExample(image, landmarks, visibility, box, sample.file_name, sample.subset)


def read_samples(
    samples: Iterable[ExamplePaths],
    num_landmarks: int | None = None,
    signed_visibility: bool = False,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[FaceExample]:
    """Reads samples one after the other, passing over those that cannot be used.

    Each one passed over is named, with the reason, in a warning, and their number at the end.

    Args:
        samples: The files.
        num_landmarks: Number of landmarks the labels must have. Default: any.
        signed_visibility: Whether signs in the `.pts` files tell occlusion; see `read_pts`.
        strict: Raise on the first sample that cannot be used instead of passing over it.
        on_skip: Called with the error of every sample passed over, for callers that count or list
            them.

    Returns:
        The examples, read as they are asked for, in the order of the samples.

    Raises:
        FaceAlignError: With `strict`, a sample cannot be used; or none at all can.

    Example:
        >>> skipped = []
        >>> for example in read_samples(samples, on_skip=skipped.append):  # doctest: +SKIP
        ...     show(example.image, example.landmarks)
    """
    return iter_valid(
        samples,
        lambda sample: read_sample(sample, num_landmarks, signed_visibility),
        strict,
        on_skip,
    )


def _visible_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file())


def _rank(path: Path) -> int:
    return IMAGE_SUFFIXES.index(path.suffix.lower())
