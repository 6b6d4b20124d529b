"""Reads the verification pairs of Celebrities in Frontal-Profile (CFP).

root/Data/Images/NNN/{frontal,profile}/NN.jpg, root/Data/Fiducials/NNN/{frontal,profile}/NN.txt
root/Protocol/Pair_list_{F,P}.txt, root/Protocol/Split/{FF,FP}/01..10/{same,diff}.txt
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.files import Survey, check_choice, read_text, resolve_inside
from keras_facealign.data.readers.image_pairs import ImagePair, ListedPair, read_pair
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 0

PUBLISHED = {"ff": 7000, "fp": 7000}
"""Pairs: frontal with frontal, and frontal with profile, in ten folds of 700."""

_LISTS = {"F": "Protocol/Pair_list_F.txt", "P": "Protocol/Pair_list_P.txt"}
_FOLDS = 10
_MAX_FIDUCIALS = 1000


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the pairs of CFP in a folder; they count only if the images are there too."""
    root = Path(root)
    found, missing = {}, []
    for split, published in PUBLISHED.items():
        files = [path for path, _, _ in _list_files(root, split)]
        if all(path.is_file() for path in files):
            found[split] = sum(len(read_text(path).split()) for path in files)
        else:
            missing.append(f"Protocol/Split/{split.upper()} ({published} pairs)")
    absent = [name for name in ("Data/Images", *_LISTS.values()) if not (root / name).exists()]
    if absent:
        return Survey({}, (*absent, *missing))
    if not (root / "Data" / "Fiducials").is_dir():
        missing.append("Data/Fiducials (landmarks)")
    return Survey(found, tuple(missing))


@reader
def load_samples(root: Path, split: str) -> Any:
    """Reads pairs of CFP, one at a time.

    Args:
        root: The folder that holds `Data` and `Protocol`.
        split: `ff` (frontal with frontal) or `fp` (frontal with profile).
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of `ImagePair`s, fold by fold, those of one person first; `landmarks` are the
        set's fiducials (30 on frontal faces) where their file is there. Verification needs none, so
        a picture without that file stays in its pairs.

    Raises:
        FaceAlignError: Images or lists are missing or damaged; while iterating, an image is broken
            and `strict` is set, or all pairs are.
    """
    check_choice(split, PUBLISHED, "CFP has no split")
    known = [_image_list(root, letter) for letter in split.upper()]

    def read(pair: ListedPair) -> ImagePair:
        paths = []
        for index, images in zip(pair[3:], known, strict=True):
            if index not in images:
                raise FaceAlignError(f"{pair[0]}: {index[:40]!r} is not in the list of images")
            paths.append(images[index])
        return read_pair(root, pair, paths, [_image_fiducials(root, path) for path in paths])

    return _pairs(root, split), read


def _list_files(root: Path, split: str) -> list[tuple[Path, int, bool]]:
    """The lists of a split, each with its fold from 0 and whether its pairs are one person."""
    folder = root / "Protocol" / "Split" / split.upper()
    return [
        (folder / f"{fold + 1:02d}" / f"{name}.txt", fold, name == "same")
        for fold in range(_FOLDS)
        for name in ("same", "diff")
    ]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yields what error messages call each line that is not empty, and the line."""
    for number, line in enumerate(read_text(path, 10_000_000).splitlines(), start=1):
        if line.strip():
            yield f"{path}: line {number}", line.strip()


def _image_list(root: Path, letter: str) -> dict[str, Path]:
    """Images by their index in a list of lines such as `1 ../Data/Images/001/frontal/01.jpg`."""
    path = root / _LISTS[letter]
    known = {}
    for where, line in _lines(path):
        index, _, image = line.partition(" ")
        if not image:
            raise FaceAlignError(f"{where} has {line[:60]!r}, which is not an index and a path")
        known[index] = resolve_inside(root, path.parent, image.strip(), where)
    return known


def _pairs(root: Path, split: str) -> Iterator[ListedPair]:
    for path, fold, same in _list_files(root, split):
        for where, line in _lines(path):
            indices = [index.strip() for index in line.split(",")]
            if len(indices) != 2:
                raise FaceAlignError(f"{where} has {line[:60]!r}, but two indices are needed")
            yield where, fold, same, indices[0], indices[1]


def _image_fiducials(root: Path, image: Path) -> np.ndarray:
    """The landmarks of an image, float32 (K, 2); K is 0 where it has no file of them."""
    images = root / "Data" / "Images"
    if images not in image.parents:
        raise FaceAlignError(f"{image}: is not inside {images}; correct the list of images")
    path = root / "Data" / "Fiducials" / image.relative_to(images).with_suffix(".txt")
    # Unlike the methods of Path, os.path takes names that are too long for the file system.
    return read_fiducials(path) if os.path.exists(path) else np.zeros((0, 2), np.float32)


def read_fiducials(path: Path) -> np.ndarray:
    """Reads the points of one face, a line `x,y` each; returns float32 (K, 2), pixels."""
    try:
        rows = [re.split(r"[,\s]+", line) for _, line in _lines(path)]
        points = np.array([[float(x), float(y)] for x, y in rows], np.float64)
    except FaceAlignError:
        raise
    except ValueError:
        raise FaceAlignError(f"{path}: has a line that is not two numbers; correct it") from None
    if not 0 < len(points) <= _MAX_FIDUCIALS or not np.isfinite(points).all():
        raise FaceAlignError(f"{path}: holds no finite landmarks; replace the file")
    return points.astype(np.float32)
