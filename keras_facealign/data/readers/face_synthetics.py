"""Reads FaceSynthetics: rendered faces with 70 landmarks, iBUG's 68 and the pupils.

    root/NNNNNN.png, root/NNNNNN_ldmks.txt, root/NNNNNN_seg.png (not read)

Landmarks are projections of the head's own points: those on its far side are where they would be
seen through the head.

The set is published as one split. To train on a part of it and measure on another, it is divided
here by the last digit of a face's number: 8 and 9 are `held_out` (a fifth), the others are
`train_part`. A face's part does not depend on how many faces a copy has.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import Survey, check_choice, list_names, read_text
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 70
_PUPILS = 2

PUBLISHED = {"train": 100_000}
"""Faces of the one split; the smaller downloads hold the first 100 or 1000."""

PARTS = {"train_part": tuple("01234567"), "held_out": ("8", "9")}
"""Parts of the split `train`, and the last digits of their faces' numbers."""

_ENDING = "_ldmks.txt"


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of FaceSynthetics in a folder."""
    count = len(list_names(Path(root), (_ENDING,)))
    if count:
        return Survey({"train": count})
    return Survey({}, (f"NNNNNN.png and NNNNNN{_ENDING} (100000 faces)",))


@reader
def load_samples(root: Path, split: str = "train", pupils: bool = True) -> Any:
    """Reads the set, one face at a time; memory does not grow with it.

    Args:
        root: The folder of the images.
        split: `train`, or one of `PARTS`.
        pupils: Whether to keep the last two landmarks; without them, the others are iBUG's 68.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 70 landmarks, or 68, all of visibility 2.

    Raises:
        FaceAlignError: There is no such split, or there are no faces; while iterating, a face is
            broken and `strict` is set, or all are.
    """
    check_choice(split, ("train", *PARTS), "FaceSynthetics has no split")
    names = list_names(root, (".png", _ENDING))
    if not any(name.endswith(_ENDING) for name in names):
        raise FaceAlignError(
            f"{root}: holds no NNNNNN{_ENDING}; give the folder that FaceSynthetics unpacks to"
        )
    # An image without labels, or labels without an image, is reported when it is read.
    stems = {
        n.removesuffix(_ENDING).removesuffix(".png") for n in names if not n.endswith("_seg.png")
    }
    digits = PARTS.get(split, tuple("0123456789"))
    stems = sorted(stem for stem in stems if split not in PARTS or stem.endswith(digits))
    if not stems:
        raise FaceAlignError(f"{root}: no face's number ends in {' or '.join(digits)}")
    return stems, partial(_read, root, pupils)


def _read(root: Path, pupils: bool, stem: str) -> FaceExample:
    path = root / f"{stem}{_ENDING}"
    lines = [line.split() for line in read_text(path, 100_000).splitlines() if line.strip()]
    if len(lines) != NUM_LANDMARKS or any(len(line) != 2 for line in lines):
        raise FaceAlignError(
            f"{path}: holds {len(lines)} lines; {NUM_LANDMARKS} with two numbers each are needed"
        )
    try:
        points = np.array(lines, np.float64)
    except ValueError:
        raise FaceAlignError(f"{path}: has an entry that is not a number; correct it") from None
    return make_example(
        root / f"{stem}.png",
        points if pupils else points[:-_PUPILS],
        file_name=f"{stem}.png",
        subset="train",
        label_name=str(path),
    )
