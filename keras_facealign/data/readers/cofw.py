"""Caltech Occluded Faces in the Wild (COFW), with its 29 landmarks and with COFW68's 68.

    root/COFW_train_color.mat, root/COFW_test_color.mat            MATLAB 7.3, pictures and labels
    root/COFW68_Data/test_annotations/{1..507}_points.mat          MATLAB 5, one face each
    root/COFW68_Data/cofw68_test_bboxes.mat

COFW68 labels the test pictures of COFW once more, in the same order, so it needs both. The gray
files (`COFW_test.mat`) do as well as the colored ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from keras_facealign.data.images import MAX_PIXELS, read_image
from keras_facealign.data.mat import Mat73, open_mat73, read_mat
from keras_facealign.data.reading import LabeledFace, Survey, first_folder, make_face
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = ["PUBLISHED", "PUBLISHED_68", "load_cofw68", "load_samples", "survey", "survey_cofw68"]

NUM_LANDMARKS = 29

PUBLISHED = {"train": 1345, "test": 507}
"""Faces of COFW's splits."""

PUBLISHED_68 = {"test": 507}
"""Faces of COFW68's one split."""

# Names of the arrays: pictures, landmarks, boxes.
_ARRAYS = {"train": ("IsTr", "phisTr", "bboxesTr"), "test": ("IsT", "phisT", "bboxesT")}
_FILES = {
    "train": ("COFW_train_color.mat", "COFW_train.mat"),
    "test": ("COFW_test_color.mat", "COFW_test.mat"),
}
# The archives unpack to the long folder; COFW68's instructions move the file beside its labels.
_FOLDERS = ("", "COFW", "COFW_color", "COFW68_Data", "common/xpburgos/behavior/code/pose")
_FOLDERS_68 = ("COFW68_Data", "")


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of COFW in a folder."""
    found, missing = {}, []
    for split, published in PUBLISHED.items():
        path = _find(Path(root), split)
        if path is None:
            missing.append(f"{_FILES[split][0]} ({published} faces)")
        else:
            with open_mat73(path) as file:
                found[split] = len(file.references(_ARRAYS[split][0]))
    return Survey(found, tuple(missing))


def survey_cofw68(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of COFW68, labels and pictures, in a folder."""
    labels = _count_labels(Path(root))
    path = _find(Path(root), "test")
    missing = []
    if not labels:
        missing.append("COFW68_Data/test_annotations (labels)")
    if path is None:
        missing.append("COFW_test_color.mat (the 507 pictures)")
    if missing or path is None:
        return Survey({}, tuple(missing))
    with open_mat73(path) as file:
        return Survey({"test": min(labels, len(file.references("IsT")))})


def load_samples(
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads a split of COFW, one face at a time.

    Args:
        root: The folder with the two `.mat` files.
        split: `train` or `test`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Yields:
        Faces with 29 landmarks, visibility 1 (occluded) or 2, and `published_box` (x0, y0, x1, y1).

    Raises:
        FaceAlignError: The file is missing or not COFW's; a face is broken and `strict` is set; or
            all are.

    Example:
        >>> for face in load_samples("cofw", "test"):  # doctest: +SKIP
        ...     print(face.file_name, (face.visibility == 1).sum(), "occluded")
    """
    if split not in PUBLISHED:
        raise FaceAlignError(f"COFW has no split {split!r}; choose one of train, test")
    path = _required(Path(root), split)
    pictures, points, boxes = _ARRAYS[split]
    with open_mat73(path) as file:
        references = file.references(pictures)
        count = len(references)
        labels = file.array(points, (3 * NUM_LANDMARKS, count))
        given = file.array(boxes, (4, count))

        def read(index: int) -> LabeledFace:
            x, y, occluded = labels[:, index].reshape(3, NUM_LANDMARKS)
            name = f"{path.name}#{index + 1:04d}"
            return make_face(
                _picture(file, references[index], f"{pictures} {index + 1}", f"{path}: {name}"),
                np.stack([x, y], axis=1) - 1,
                np.where(occluded > 0.5, 1, 2),
                file_name=name,
                subset=split,
                label_name=f"{path}: {points} {index + 1}",
                extras={"published_box": _corners(given[:, index])},
            )

        yield from iter_valid(range(count), read, strict, on_skip)


def load_cofw68(
    root: str | os.PathLike[str],
    split: str = "test",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads COFW68, one face at a time.

    Args:
        root: The folder with `COFW68_Data` and `COFW_test_color.mat`.
        split: `test`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Yields:
        Faces with 68 landmarks, visibility 1 (occluded) or 2, and `published_box` (x0, y0, x1, y1).

    Raises:
        FaceAlignError: Labels or pictures are missing; a face is broken and `strict` is set; or all
            are.
    """
    if split != "test":
        raise FaceAlignError(f"COFW68 has no split {split!r}; it labels COFW's test split alone")
    root = Path(root)
    folder = first_folder(root, _FOLDERS_68, "test_annotations")
    if folder is None:
        raise FaceAlignError(
            f"{root}: holds no COFW68_Data/test_annotations; get the labels of COFW68"
        )
    path = _required(root, "test", f"{_count_labels(root)} labels of COFW68 are here, but ")
    boxes = read_mat(folder / "cofw68_test_bboxes.mat", {"bboxes": (None, 4)})["bboxes"]
    with open_mat73(path) as file:
        references = file.references("IsT")
        if len(boxes) != len(references):
            raise FaceAlignError(
                f"{folder / 'cofw68_test_bboxes.mat'}: has {len(boxes)} boxes for the "
                f"{len(references)} pictures of {path}; get both anew"
            )
        read = partial(_read_68, folder, path, file, references, boxes)
        yield from iter_valid(range(len(references)), read, strict, on_skip)


def _read_68(
    folder: Path, path: Path, file: Mat73, references: list, boxes: np.ndarray, index: int
) -> LabeledFace:
    label_path = folder / "test_annotations" / f"{index + 1}_points.mat"
    labels = read_mat(label_path, {"Points": (68, 2), "Occ": (1, 68)})
    name = f"{path.name}#{index + 1:04d}"
    return make_face(
        _picture(file, references[index], f"IsT {index + 1}", f"{path}: {name}"),
        labels["Points"] - 1.0,
        np.where(labels["Occ"][0] > 0, 1, 2),
        file_name=name,
        subset="test",
        label_name=str(label_path),
        extras={"published_box": _corners(boxes[index])},
    )


def _find(root: Path, split: str) -> Path | None:
    for name in _FILES[split]:
        folder = first_folder(root, _FOLDERS, name)
        if folder is not None:
            return folder / name
    return None


def _required(root: Path, split: str, but: str = "") -> Path:
    path = _find(root, split)
    if path is None:
        raise FaceAlignError(
            f"{root}: {but}there is no {_FILES[split][0]}, which holds the "
            f"{PUBLISHED[split]} {split} pictures; put COFW's file there"
        )
    return path


def _count_labels(root: Path) -> int:
    folder = first_folder(root, _FOLDERS_68, "test_annotations")
    return 0 if folder is None else len(list((folder / "test_annotations").glob("*_points.mat")))


def _picture(file: Mat73, reference: object, name: str, image_name: str) -> np.ndarray:
    """A picture as (H, W, 3); MATLAB's (H, W, 3) lies in the file as (3, W, H)."""
    stored = file.follow(reference, name)
    if stored.dtype != np.uint8 or stored.ndim not in (2, 3) or stored.size > 3 * MAX_PIXELS:
        raise FaceAlignError(
            f"{image_name}: the picture is {stored.dtype} {stored.shape}, where uint8 (3, W, H) or "
            "(W, H) is due; get the file anew"
        )
    return read_image(np.ascontiguousarray(stored.T), name=image_name)


def _corners(box: np.ndarray) -> np.ndarray:
    """From MATLAB's x, y, w, h, counted from 1, to x0, y0, x1, y1, counted from 0."""
    x, y, width, height = np.asarray(box, np.float64)
    return np.array([x - 1, y - 1, x - 1 + width, y - 1 + height], np.float32)
