"""Wider Facial Landmarks in the Wild (WFLW): 98 landmarks, one line of a list for each face.

    root/WFLW_images/<event>/<picture>.jpg
    root/WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt
    root/WFLW_annotations/list_98pt_test/list_98pt_test_{largepose,...}.txt

A line has 196 coordinates (0-based), and in the first two lists the corners of a box and six flags,
then the picture's path below WFLW_images. A picture may have several faces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from keras_facealign.data.reading import LabeledFace, Survey, below, make_face
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = ["ATTRIBUTES", "PUBLISHED", "load_samples", "survey"]

NUM_LANDMARKS = 98

PUBLISHED = {
    "train": 7500,
    "test": 2500,
    "test_largepose": 326,
    "test_expression": 314,
    "test_illumination": 698,
    "test_makeup": 206,
    "test_occlusion": 736,
    "test_blur": 773,
}
"""Faces of each split; the six last are subsets of `test`."""

ATTRIBUTES = ("pose", "expression", "illumination", "make_up", "occlusion", "blur")
"""What the six flags of a face say is out of the ordinary."""

_RECT_LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test"
_SUBSET_LISTS = "WFLW_annotations/list_98pt_test"
_MAX_LINE = 10_000


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of WFLW in a folder."""
    root = Path(root)
    found, missing = {}, []
    for split in PUBLISHED:
        path = _list_file(root, split)
        if path.is_file():
            with path.open("rb") as stream:
                found[split] = sum(bool(line.strip()) for line in stream)
        else:
            missing.append(f"{path.relative_to(root).as_posix()} ({PUBLISHED[split]} faces)")
    if not (root / "WFLW_images").is_dir():
        return Survey({}, ("WFLW_images (the pictures)", *missing))
    if "test" not in found:  # The subsets have their boxes and flags from the list of them all.
        found = {split: count for split, count in found.items() if split == "train"}
    return Survey(found, tuple(missing))


def load_samples(
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads a split, one face at a time.

    Args:
        root: The folder that holds `WFLW_images` and `WFLW_annotations`.
        split: A key of `PUBLISHED`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Returns:
        An iterator of faces with 98 landmarks, all of visibility 2, and the extras `published_box`
        (x0, y0, x1, y1) and `attributes` (6,), see `ATTRIBUTES`.

    Raises:
        FaceAlignError: The split is unknown or a file is missing; while iterating, a face is broken
            and `strict` is set, or all are.
    """
    if split not in PUBLISHED:
        raise FaceAlignError(f"WFLW has no split {split!r}; choose one of {', '.join(PUBLISHED)}")
    root = Path(root)
    path = _list_file(root, split)
    if not (root / "WFLW_images").is_dir() or not path.is_file():
        raise FaceAlignError(
            f"{root}: the split {split!r} needs WFLW_images and {path.relative_to(root)}; give the "
            "folder that holds both"
        )
    known = _rects_and_flags(_list_file(root, "test")) if split.startswith("test_") else None
    return iter_valid(_lines(path), partial(_read, root, split, known), strict, on_skip)


def _read(
    root: Path,
    split: str,
    known: dict[tuple[str, ...], tuple[str, ...]] | None,
    line: tuple[str, tuple[str, ...]],
) -> LabeledFace:
    where, tokens = line
    if known is not None and len(tokens) == 197:
        if _identity(tokens) not in known:
            raise FaceAlignError(f"{where}: its face is not in the list of all test faces")
        tokens = known[_identity(tokens)]
    if len(tokens) != 207:
        raise FaceAlignError(
            f"{where}: has {len(tokens)} entries where 207 are due (196 coordinates, 4 of the box, "
            "6 flags, the picture); get the list anew"
        )
    try:
        numbers = np.array([float(token) for token in tokens[:206]])
    except ValueError:
        raise FaceAlignError(f"{where}: has an entry that is not a number; get it anew") from None
    flags = numbers[200:]
    if not np.isfinite(numbers).all() or not np.isin(flags, (0, 1)).all():
        raise FaceAlignError(
            f"{where}: has the flags {' '.join(tokens[200:206])} or a coordinate that is not "
            "finite; flags are 0 or 1"
        )
    images = root / "WFLW_images"
    path = below(root, images, tokens[206], where)
    name = path.relative_to(root).as_posix()
    return make_face(
        path,
        numbers[:196].reshape(98, 2),
        np.full(98, 2),
        file_name=name,
        subset=split,
        label_name=where,
        key=f"{name}#{where.rpartition(' ')[2]}",
        extras={
            "published_box": numbers[196:200].astype(np.float32),
            "attributes": flags.astype(np.int32),
        },
    )


def _list_file(root: Path, split: str) -> Path:
    if split.startswith("test_"):
        return root / _SUBSET_LISTS / f"list_98pt_{split}.txt"
    return root / _RECT_LISTS / f"list_98pt_rect_attr_{split}.txt"


def _lines(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The entries of each line, with what error messages call it: path, "line", number."""
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise FaceAlignError(
                        f"{path}: line {number} is longer than {_MAX_LINE} bytes; get it anew"
                    )
                tokens = line.decode("utf-8-sig", "replace").split()
                if tokens:
                    yield f"{path}: line {number}", tuple(tokens)
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror}); check the path and its permissions"
        ) from error


def _identity(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """What two lists say alike of one face: its picture and its first landmarks."""
    return (tokens[-1], *tokens[:8])


def _rects_and_flags(path: Path) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {_identity(tokens): tokens for _, tokens in _lines(path) if len(tokens) == 207}
