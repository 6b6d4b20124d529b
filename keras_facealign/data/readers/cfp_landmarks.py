"""Reads the landmarks of Celebrities in Frontal-Profile (CFP): real profiles labeled by hand.

    root/Data/Images/NNN/{frontal,profile}/NN.jpg, root/Data/Fiducials/NNN/{frontal,profile}/NN.txt

The set labels 30 points of the half of a face that shows more, in frontal images of its right half.
Which of the 68 they are is not documented; it was inferred from drawings of them and confirmed by
the predictions of trained networks. CFP has no splits for landmarks: here persons 1 to 100 are for
testing, 101 to 150 for validation, and all others for training.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import check_choice, require_folder
from keras_facealign.data.readers.cfp import read_fiducials
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box
from keras_facealign.landmarks import IBUG68
from keras_facealign.landmarks.mean_face import mean_face

NUM_LANDMARKS = 68

PERSONS = {"train": range(151, 501), "validation": range(101, 151), "test": range(1, 101)}
"""The persons of each part."""

SPLITS = tuple(f"{part}{view}" for part in PERSONS for view in ("", "_frontal", "_profile"))
"""Both kinds of images of each part, and those of one kind."""

# Right jaw, brow and eye, ridge of the nose, nostrils from the middle, mouth from its right corner.
RIGHT_HALF = np.array(
    [*range(9), 17, 19, 21, *range(36, 42), *range(27, 31), 33, 32, 31, 48, 51, 62, 57, 66]
)
"""The points of the 68 that the labels are, where the right half of the face is labeled."""

_RIDGE = slice(18, 22)  # of the 30


@reader
def load_samples(root: Path, split: str = "train") -> Any:
    """Reads the labeled faces of CFP, one at a time.

    Args:
        root: The folder that holds `Data`.
        split: One of `SPLITS`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 landmarks, of which 30 have a position. The box is that of a
        whole face: the labels' and what a mean head fitted to them adds on the other side.

    Raises:
        FaceAlignError: There is no such split, or there are no labels; while iterating, a face is
            broken and `strict` is set, or all are.

    Example:
        >>> for face in load_samples("cfp", "train_profile"):  # doctest: +SKIP
        ...     print(face.file_name, (face.visibility > 0).sum())
    """
    check_choice(split, SPLITS, "The landmarks of CFP have no split")
    part, _, view = split.partition("_")
    folder = require_folder(root, ("",), "Data/Fiducials", "give the folder that holds Data")
    labels = folder / "Data" / "Fiducials"
    files = [
        path
        for person in PERSONS[part]
        for path in sorted((labels / f"{person:03d}").glob(f"{view or '*'}/*.txt"))
    ]
    if not files:
        raise FaceAlignError(f"{labels}: has no labels of the persons of {split}")

    def read(path: Path) -> FaceExample:
        name = path.relative_to(labels).with_suffix(".jpg")
        points = read_fiducials(path).astype(np.float64)
        if len(points) != len(RIGHT_HALF):
            raise FaceAlignError(f"{path}: has {len(points)} points instead of {len(RIGHT_HALF)}")
        numbers = RIGHT_HALF
        if points[:9, 0].mean() > points[_RIDGE, 0].mean():  # the jaw is on the image's right
            numbers = IBUG68.flip_permutation[numbers]
        landmarks, visibility = np.zeros((68, 2)), np.zeros(68, np.int32)
        landmarks[numbers], visibility[numbers] = points, 2
        example = make_example(
            folder / "Data" / "Images" / name,
            landmarks.astype(np.float32),
            visibility,
            file_name=(Path("Data", "Images") / name).as_posix(),
            subset=f"Data/Images/{name.parent.as_posix()}",
            label_name=os.fspath(path),
        )
        return replace(example, box=whole_face_box(points, numbers))

    return files, read


def whole_face_box(points: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Estimates the box of all 68 points from some of them.

    Args:
        points: float (N, 2), pixels; at least four that do not lie in a plane of the head.
        numbers: int (N,), which of the 68 they are.

    Returns:
        float32 (4,), tight around the points and the mean head's 68, whose affine projection is
        fitted to the points.
    """
    head = np.column_stack([mean_face(), np.ones(68)])
    projection, *_ = np.linalg.lstsq(head[numbers], points, rcond=None)
    fitted = head @ projection
    fitted[numbers] = points
    return landmarks_box(fitted)
