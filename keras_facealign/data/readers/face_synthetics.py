"""FaceSynthetics: rendered faces with 70 landmarks, iBUG's 68 and the pupils.

    root/NNNNNN.png, root/NNNNNN_ldmks.txt, root/NNNNNN_seg.png (not read)

Landmarks are projections of the head's own points: those on its far side lie where they would be
seen through the head.

The set is published as one split. To train on it and still have faces to measure on, it is divided
here by the last digit of a face's number: 8 and 9 are `held_out` (a fifth), the others are
`train_part`. A face's part does not depend on how many faces a copy has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from keras_facealign.data.reading import (
    LabeledFace,
    Survey,
    list_names,
    make_face,
    read_text,
)
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = ["PARTS", "PUBLISHED", "load_samples", "survey"]

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


def load_samples(
    root: str | os.PathLike[str],
    split: str = "train",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
    pupils: bool = True,
) -> Iterator[LabeledFace]:
    """Reads the set, one face at a time; memory does not grow with it.

    Args:
        root: The folder of the pictures.
        split: `train`, or one of `PARTS`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.
        pupils: Whether to keep the last two landmarks; without them, the others are iBUG's 68.

    Returns:
        An iterator of faces with 70 landmarks, or 68, all of visibility 2.

    Raises:
        FaceAlignError: There is no such split, or no faces are there; while iterating, a face is
            broken and `strict` is set, or all are.
    """
    if split != "train" and split not in PARTS:
        known = ", ".join(("train", *PARTS))
        raise FaceAlignError(f"FaceSynthetics has no split {split!r}; choose one of {known}")
    root = Path(root)
    names = list_names(root, (".png", _ENDING))
    stems = sorted(
        {
            name.removesuffix(_ENDING).removesuffix(".png")
            for name in names
            if not name.endswith("_seg.png")
        }
    )
    if not any(name.endswith(_ENDING) for name in names):
        raise FaceAlignError(
            f"{root}: holds no NNNNNN{_ENDING}; give the folder that FaceSynthetics unpacks to"
        )
    if split in PARTS:
        stems = [stem for stem in stems if stem.endswith(PARTS[split])]
        if not stems:
            raise FaceAlignError(f"{root}: no face's number ends in {' or '.join(PARTS[split])}")
    return iter_valid(stems, partial(_read, root, pupils=pupils), strict, on_skip)


def _read(root: Path, stem: str, pupils: bool) -> LabeledFace:
    path = root / f"{stem}{_ENDING}"
    lines = [line.split() for line in read_text(path, 100_000).splitlines() if line.strip()]
    if len(lines) != NUM_LANDMARKS or any(len(line) != 2 for line in lines):
        raise FaceAlignError(
            f"{path}: holds {len(lines)} lines where {NUM_LANDMARKS} with two numbers each are due"
        )
    try:
        points = np.array(lines, np.float64)
    except ValueError:
        raise FaceAlignError(f"{path}: has an entry that is not a number; get it anew") from None
    if not pupils:
        points = points[:-_PUPILS]
    return make_face(
        root / f"{stem}.png",
        points,
        np.full(len(points), 2),
        file_name=f"{stem}.png",
        subset="train",
        label_name=str(path),
    )
