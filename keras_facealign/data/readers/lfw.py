"""Reads the verification pairs of Labeled Faces in the Wild (LFW).

root/lfw/NAME/NAME_0001.jpg, root/pairs.txt, root/pairsDevTrain.txt, root/pairsDevTest.txt
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_facealign.data.files import Survey, check_choice, read_text, resolve_inside
from keras_facealign.data.readers.image_pairs import ImagePair, ListedPair, read_pair
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 0

PUBLISHED = {"test": 6000, "dev_train": 2200, "dev_test": 1000}
"""Pairs of the lists: `test` is View 2 with its ten folds, the others are View 1."""

_LISTS = {"test": "pairs.txt", "dev_train": "pairsDevTrain.txt", "dev_test": "pairsDevTest.txt"}
_FOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled", "lfw-deepfunneled/lfw-deepfunneled")


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the pairs of LFW in a folder; they count only if the images are there too."""
    root = Path(root)
    found, missing = {}, []
    for split, name in _LISTS.items():
        if (root / name).is_file():
            found[split] = sum(1 for _ in _pairs(root / name))
        else:
            missing.append(f"{name} ({PUBLISHED[split]} pairs)")
    if _image_folder(root) is None:
        return Survey({}, ("lfw (the images)", *missing))
    return Survey(found, tuple(missing))


@reader
def load_samples(root: Path, split: str = "test") -> Any:
    """Reads pairs of LFW, one at a time.

    Args:
        root: The folder that holds `lfw` (or `lfw_funneled`, `lfw-deepfunneled`) and the lists.
        split: `test` (View 2, ten folds), `dev_train` or `dev_test` (View 1, one fold each).
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of `ImagePair`s in the list's order.

    Raises:
        FaceAlignError: Images or list are missing, or the list is damaged; while iterating, an
            image is broken and `strict` is set, or all pairs are.
    """
    check_choice(split, PUBLISHED, "LFW has no split")
    folder, path = _image_folder(root), root / _LISTS[split]
    if folder is None or not path.is_file():
        raise FaceAlignError(f"{root}: the split {split!r} needs the folder lfw and {path.name}")

    def read(pair: ListedPair) -> ImagePair:
        return read_pair(root, pair, [resolve_inside(root, folder, n, pair[0]) for n in pair[3:]])

    return _pairs(path), read


def _image_folder(root: Path) -> Path | None:
    for name in _FOLDERS:
        folder = root / name
        if folder.is_dir() and any(re.match(r"\w+", entry.name) for entry in folder.iterdir()):
            return folder
    return None


def _pairs(path: Path) -> Iterator[ListedPair]:
    lines = [line.split() for line in read_text(path, 10_000_000).splitlines()]
    head = lines[0] if lines else []
    if not 1 <= len(head) <= 2 or not all(re.fullmatch(r"[0-9]{1,5}", token) for token in head):
        raise FaceAlignError(
            f"{path}: begins with {' '.join(head)[:40]!r}; the number of folds (if more than one) "
            "and of pairs are needed; replace the list"
        )
    half = int(head[-1])
    for number, tokens in enumerate(lines[1:], start=2):
        where = f"{path}: line {number}"
        fold, place = divmod(number - 2, 2 * half) if half else (0, 0)
        same = place < half
        if not tokens and number == len(lines):
            break
        numbers = tokens[1:] if same else tokens[1::2]
        if len(tokens) != (3 if same else 4) or not all(
            re.fullmatch(r"[0-9]{1,4}", token) for token in numbers
        ):
            needed = "a name and two numbers" if same else "two names, each with a number,"
            raise FaceAlignError(
                f"{where} has {' '.join(tokens)[:60]!r}, but {needed} are needed; replace the list"
            )
        names = (tokens[0], tokens[0]) if same else (tokens[0], tokens[2])
        images = [f"{n}/{n}_{int(i):04d}.jpg" for n, i in zip(names, numbers, strict=True)]
        yield where, fold, same, images[0], images[1]
