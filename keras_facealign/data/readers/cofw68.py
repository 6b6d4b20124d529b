"""Reads COFW68: the test images of COFW with 68 landmarks.

    root/COFW68_Data/test_annotations/{1..507}_points.mat          MATLAB 5, one face each
    root/COFW68_Data/cofw68_test_bboxes.mat
    root/COFW_test_color.mat                                       COFW's images

The labels are in the order of COFW's test file, which is needed too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import Survey, check_choice, first_folder, require_folder
from keras_facealign.data.mat import Mat73, open_mat73, read_mat
from keras_facealign.data.readers import cofw
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 68

PUBLISHED = {"test": 507}
"""Faces of COFW68's one split."""

_FOLDERS = ("COFW68_Data", "")
_LABELS = "test_annotations"


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of COFW68, labels and images, in a folder."""
    folder = first_folder(Path(root), _FOLDERS, _LABELS)
    labels = 0 if folder is None else len(list((folder / _LABELS).glob("*_points.mat")))
    path = cofw.find_file(Path(root), "test")
    missing = [] if labels else ["COFW68_Data/test_annotations (labels)"]
    if path is None:
        missing.append("COFW_test_color.mat (the 507 images)")
    if missing or path is None:
        return Survey({}, tuple(missing))
    with open_mat73(path) as file:
        return Survey({"test": min(labels, len(file.references("IsT")))})


@reader
def load_samples(root: Path, split: str = "test") -> Any:
    """Reads COFW68, one face at a time.

    Args:
        root: The folder with `COFW68_Data` and `COFW_test_color.mat`.
        split: `test`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 landmarks, visibility 1 (occluded) or 2, and the extra
        `published_box` (x0, y0, x1, y1).

    Raises:
        FaceAlignError: Labels or images are missing; while iterating, a face is broken and `strict`
            is set, or all are.
    """
    check_choice(split, PUBLISHED, "COFW68 has no split")
    folder = require_folder(root, _FOLDERS, _LABELS, "get COFW68_Data, the labels of COFW68")
    path = cofw.required_file(root, split)
    box_path = folder / "cofw68_test_bboxes.mat"
    boxes = read_mat(box_path, {"bboxes": (None, 4)})["bboxes"]

    def items() -> Iterator[tuple[Mat73, int, Any, np.ndarray]]:
        with open_mat73(path) as file:
            references = file.references("IsT")
            if len(boxes) != len(references):
                raise FaceAlignError(
                    f"{box_path}: has {len(boxes)} boxes for the {len(references)} images of "
                    f"{path}; replace both"
                )
            for index, reference in enumerate(references):
                yield file, index + 1, reference, boxes[index]

    def read(item: tuple[Mat73, int, Any, np.ndarray]) -> FaceExample:
        file, number, reference, box = item
        label_path = folder / _LABELS / f"{number}_points.mat"
        labels = read_mat(label_path, {"Points": (68, 2), "Occ": (1, 68)})
        name = f"{path.name}#{number:04d}"
        return make_example(
            cofw.read_stored_image(file, reference, f"IsT {number}", f"{path}: {name}"),
            labels["Points"] - 1.0,
            np.where(labels["Occ"][0] > 0, 1, 2),
            file_name=name,
            subset="test",
            label_name=str(label_path),
            extras={"published_box": cofw.box_corners(box)},
        )

    return items(), read
