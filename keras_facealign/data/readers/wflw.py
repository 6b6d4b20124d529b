"""Reads Wider Facial Landmarks in the Wild (WFLW): 98 landmarks, one line of a list per face.

    root/WFLW_images/<event>/<image>.jpg
    root/WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt
    root/WFLW_annotations/list_98pt_test/list_98pt_test_{largepose,...}.txt

A line has 196 coordinates (0-based), in the first two lists the corners of a box and six flags, and
the image's path below WFLW_images. An image may have several faces.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import Survey, check_choice, resolve_inside
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import read_file

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
"""The meaning of a face's six flags, each 1 where that attribute is unusual."""

_MAX_BYTES = 50_000_000
_Tokens = tuple[str, ...]


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of WFLW in a folder."""
    root = Path(root)
    found, missing = {}, []
    for split in PUBLISHED:
        path = _list_file(root, split)
        if path.is_file():
            found[split] = sum(1 for _ in _lines(path))
        else:
            missing.append(f"{path.relative_to(root).as_posix()} ({PUBLISHED[split]} faces)")
    if not (root / "WFLW_images").is_dir():
        return Survey({}, ("WFLW_images (the images)", *missing))
    if "test" not in found:  # The subsets' boxes and flags are in the list of all test faces.
        found = {split: count for split, count in found.items() if split == "train"}
    return Survey(found, tuple(missing))


@reader
def load_samples(root: Path, split: str) -> Any:
    """Reads a split, one face at a time.

    Args:
        root: The folder that holds `WFLW_images` and `WFLW_annotations`.
        split: A key of `PUBLISHED`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 98 landmarks, all of visibility 2, and the extras `published_box`
        (x0, y0, x1, y1) and `attributes` (6,), see `ATTRIBUTES`.

    Raises:
        FaceAlignError: The split is unknown or a file is missing; while iterating, a face is broken
            and `strict` is set, or all are.
    """
    check_choice(split, PUBLISHED, "WFLW has no split")
    path = _list_file(root, split)
    if not (root / "WFLW_images").is_dir() or not path.is_file():
        raise FaceAlignError(
            f"{root}: the split {split!r} needs WFLW_images and {path.relative_to(root)}; give the "
            "folder that holds both"
        )
    known = None
    if split.startswith("test_"):
        lines = _lines(_list_file(root, "test"))
        known = {_identity(tokens): tokens for _, tokens in lines if len(tokens) == 207}
    return _lines(path), partial(_read, root, split, known)


def _read(
    root: Path, split: str, known: dict[_Tokens, _Tokens] | None, line: tuple[str, _Tokens]
) -> FaceExample:
    where, tokens = line
    if known is not None and len(tokens) == 197:
        if _identity(tokens) not in known:
            raise FaceAlignError(f"{where}: its face is not in the list of all test faces")
        tokens = known[_identity(tokens)]
    if len(tokens) != 207:
        raise FaceAlignError(
            f"{where}: has {len(tokens)} entries, but 207 are needed (196 coordinates, 4 of the "
            "box, 6 flags, the image); replace the list"
        )
    try:
        numbers = np.array([float(token) for token in tokens[:206]])
    except ValueError:
        raise FaceAlignError(f"{where}: has an entry that is not a number; correct it") from None
    flags = numbers[200:]
    if not np.isfinite(numbers).all() or not np.isin(flags, (0, 1)).all():
        raise FaceAlignError(
            f"{where}: has the flags {' '.join(tokens[200:206])} or a coordinate that is not "
            "finite; flags are 0 or 1"
        )
    path = resolve_inside(root, root / "WFLW_images", tokens[206], where)
    name = path.relative_to(root).as_posix()
    return make_example(
        path,
        numbers[:196].reshape(98, 2),
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
        return root / "WFLW_annotations/list_98pt_test" / f"list_98pt_{split}.txt"
    folder = root / "WFLW_annotations/list_98pt_rect_attr_train_test"
    return folder / f"list_98pt_rect_attr_{split}.txt"


def _lines(path: Path) -> Iterator[tuple[str, _Tokens]]:
    """Yields what error messages call each line that is not empty, and its entries."""
    # A byte that is not UTF-8 costs one face and not the whole list.
    text = read_file(path, _MAX_BYTES).decode("utf-8-sig", "replace")
    for number, line in enumerate(text.split("\n"), start=1):
        if tokens := tuple(line.split()):
            yield f"{path}: line {number}", tokens


def _identity(tokens: _Tokens) -> _Tokens:
    """What identifies a face in two lists: its image and its first landmarks."""
    return (tokens[-1], *tokens[:8])
