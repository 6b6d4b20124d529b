"""Reads Caltech Occluded Faces in the Wild (COFW), with 29 landmarks.

    root/COFW_train_color.mat, root/COFW_test_color.mat       MATLAB 7.3, images and labels

The grayscale files (`COFW_train.mat`, `COFW_test.mat`) are read as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import Survey, check_choice, first_folder
from keras_facealign.data.images import MAX_PIXELS, read_image
from keras_facealign.data.mat import Mat73, open_mat73
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 29

PUBLISHED = {"train": 1345, "test": 507}
"""Faces of COFW's splits."""

# Names of the arrays: images, landmarks, boxes.
_ARRAYS = {"train": ("IsTr", "phisTr", "bboxesTr"), "test": ("IsT", "phisT", "bboxesT")}
_FILES = {
    "train": ("COFW_train_color.mat", "COFW_train.mat"),
    "test": ("COFW_test_color.mat", "COFW_test.mat"),
}
# The archives unpack to the long path; COFW68's instructions move the file to its own labels.
_FOLDERS = ("", "COFW", "COFW_color", "COFW68_Data", "common/xpburgos/behavior/code/pose")


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of COFW in a folder."""
    found, missing = {}, []
    for split, published in PUBLISHED.items():
        path = find_file(Path(root), split)
        if path is None:
            missing.append(f"{_FILES[split][0]} ({published} faces)")
        else:
            with open_mat73(path) as file:
                found[split] = len(file.references(_ARRAYS[split][0]))
    return Survey(found, tuple(missing))


@reader
def load_samples(root: Path, split: str) -> Any:
    """Reads a split of COFW, one face at a time.

    Args:
        root: The folder with the two `.mat` files.
        split: `train` or `test`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 29 landmarks, visibility 1 (occluded) or 2, and the extra
        `published_box` (x0, y0, x1, y1).

    Raises:
        FaceAlignError: The file is missing or not COFW's; while iterating, a face is broken and
            `strict` is set, or all are.

    Example:
        >>> for face in load_samples("cofw", "test"):  # doctest: +SKIP
        ...     print(face.file_name, (face.visibility == 1).sum(), "occluded")
    """
    check_choice(split, PUBLISHED, "COFW has no split")
    path = required_file(root, split)
    images, points, boxes = _ARRAYS[split]

    def items() -> Iterator[tuple[Mat73, int, Any, np.ndarray, np.ndarray]]:
        with open_mat73(path) as file:
            references = file.references(images)
            count = len(references)
            labels = file.array(points, (3 * NUM_LANDMARKS, count))
            given = file.array(boxes, (4, count))
            for index, reference in enumerate(references):
                yield file, index + 1, reference, labels[:, index], given[:, index]

    def read(item: tuple[Mat73, int, Any, np.ndarray, np.ndarray]) -> FaceExample:
        file, number, reference, labels, box = item
        x, y, occluded = labels.reshape(3, NUM_LANDMARKS)
        name = f"{path.name}#{number:04d}"
        return make_example(
            read_stored_image(file, reference, f"{images} {number}", f"{path}: {name}"),
            np.stack([x, y], axis=1) - 1,
            np.where(occluded > 0.5, 1, 2),
            file_name=name,
            subset=split,
            label_name=f"{path}: {points} {number}",
            extras={"published_box": box_corners(box)},
        )

    return items(), read


def find_file(root: Path, split: str) -> Path | None:
    """The file of a split, color or else grayscale; None if neither is there."""
    for name in _FILES[split]:
        folder = first_folder(root, _FOLDERS, name)
        if folder is not None:
            return folder / name
    return None


def required_file(root: Path, split: str) -> Path:
    """The file of a split; raises `FaceAlignError` if it is not there."""
    path = find_file(root, split)
    if path is None:
        raise FaceAlignError(
            f"{root}: there is no {_FILES[split][0]}, which holds the {PUBLISHED[split]} {split} "
            "images; put COFW's file there"
        )
    return path


def read_stored_image(file: Mat73, reference: Any, name: str, image_name: str) -> np.ndarray:
    """Reads an image, uint8 (H, W, 3), that is stored as (3, W, H) or (W, H)."""
    stored = file.follow(reference, name)
    if stored.dtype != np.uint8 or stored.ndim not in (2, 3) or stored.size > 3 * MAX_PIXELS:
        raise FaceAlignError(
            f"{image_name}: the image is {stored.dtype} {stored.shape}, but uint8 (3, W, H) or "
            "(W, H) is needed; replace the file"
        )
    return read_image(np.ascontiguousarray(stored.T), name=image_name)


def box_corners(box: np.ndarray) -> np.ndarray:
    """Converts MATLAB's 1-based x, y, w, h to 0-based x0, y0, x1, y1."""
    x, y, width, height = np.asarray(box, np.float64)
    return np.array([x - 1, y - 1, x - 1 + width, y - 1 + height], np.float32)
