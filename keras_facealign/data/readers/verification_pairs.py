"""Pairs of faces for verification: Labeled Faces in the Wild (LFW) and CFP.

root/lfw/NAME/NAME_0001.jpg, root/pairs.txt, root/pairsDevTrain.txt, root/pairsDevTest.txt

root/Data/Images/NNN/{frontal,profile}/NN.jpg, root/Data/Fiducials/NNN/{frontal,profile}/NN.txt
root/Protocol/Pair_list_{F,P}.txt, root/Protocol/Split/{FF,FP}/01..10/{same,diff}.txt
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_facealign.data.images import read_image
from keras_facealign.data.reading import Survey, below, read_text
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = [
    "PUBLISHED_CFP",
    "PUBLISHED_LFW",
    "ImagePair",
    "load_cfp",
    "load_lfw",
    "survey_cfp",
    "survey_lfw",
]

PUBLISHED_LFW = {"test": 6000, "dev_train": 2200, "dev_test": 1000}
"""Pairs of LFW's lists: `test` is View 2 with its ten folds, the others are View 1."""

PUBLISHED_CFP = {"ff": 7000, "fp": 7000}
"""Pairs of CFP: frontal with frontal, and frontal with profile, in ten folds of 700."""

_LFW_LISTS = {
    "test": "pairs.txt",
    "dev_train": "pairsDevTrain.txt",
    "dev_test": "pairsDevTest.txt",
}
_LFW_PICTURES = ("lfw", "lfw_funneled", "lfw-deepfunneled", "lfw-deepfunneled/lfw-deepfunneled")
_CFP_LISTS = {"F": "Protocol/Pair_list_F.txt", "P": "Protocol/Pair_list_P.txt"}
_CFP_FOLDS = 10
_MAX_FIDUCIALS = 1000
_NONE = np.zeros((0, 2), np.float32)


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Two pictures and whether they show the same person.

    Attributes:
        images: Two uint8 (H, W, 3), RGB.
        image_paths: Their files.
        file_names: Their paths below the data set's root, with forward slashes.
        landmarks: For each, float32 (K, 2), x before y, pixels as the set gives them; K is 0 where
            it gives none.
        same: Whether they show one person.
        fold: Part of the cross-validation, from 0.
        key: Unique in the split.
    """

    images: tuple[np.ndarray, np.ndarray]
    image_paths: tuple[Path, Path]
    file_names: tuple[str, str]
    landmarks: tuple[np.ndarray, np.ndarray]
    same: bool
    fold: int
    key: str


def survey_lfw(root: str | os.PathLike[str]) -> Survey:
    """Counts the pairs of LFW in a folder; a list counts where the pictures are there too."""
    root = Path(root)
    found, missing = {}, []
    for split, name in _LFW_LISTS.items():
        if (root / name).is_file():
            found[split] = sum(1 for _ in _lfw_pairs(root / name))
        else:
            missing.append(f"{name} ({PUBLISHED_LFW[split]} pairs)")
    if _lfw_folder(root) is None:
        return Survey({}, ("lfw (the pictures)", *missing))
    return Survey(found, tuple(missing))


def load_lfw(
    root: str | os.PathLike[str],
    split: str = "test",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[ImagePair]:
    """Reads pairs of LFW, one at a time.

    Args:
        root: The folder that holds `lfw` (or `lfw_funneled`, `lfw-deepfunneled`) and the lists.
        split: `test` (View 2, ten folds), `dev_train` or `dev_test` (View 1, one fold each).
        strict: Raise on the first broken pair instead of naming, counting and passing over it.
        on_skip: Called with the error of every pair passed over.

    Returns:
        An iterator of pairs in the list's order.

    Raises:
        FaceAlignError: Pictures or list are missing, or the list is damaged; while iterating, a
            picture is broken and `strict` is set, or all pairs are.
    """
    if split not in PUBLISHED_LFW:
        raise FaceAlignError(f"LFW has no split {split!r}; choose one of {', '.join(_LFW_LISTS)}")
    root = Path(root)
    folder, path = _lfw_folder(root), root / _LFW_LISTS[split]
    if folder is None or not path.is_file():
        raise FaceAlignError(f"{root}: the split {split!r} needs the folder lfw and {path.name}")

    def read(pair: tuple[str, int, bool, str, str]) -> ImagePair:
        where, fold, same, *names = pair
        paths = [below(root, folder, name, where) for name in names]
        return _read_pair(root, where, (paths[0], paths[1]), (_NONE, _NONE), same, fold)

    return iter_valid(_lfw_pairs(path), read, strict, on_skip)


def survey_cfp(root: str | os.PathLike[str]) -> Survey:
    """Counts the pairs of CFP in a folder; a list counts where the pictures are there too."""
    root = Path(root)
    found, missing = {}, []
    for split, published in PUBLISHED_CFP.items():
        folder = root / "Protocol" / "Split" / split.upper()
        files = [folder / f"{fold:02d}" / name for fold, name in _cfp_files()]
        if all(path.is_file() for path in files):
            found[split] = sum(len(read_text(path).split()) for path in files)
        else:
            missing.append(f"Protocol/Split/{split.upper()} ({published} pairs)")
    absent = [name for name in ("Data/Images", *_CFP_LISTS.values()) if not (root / name).exists()]
    if absent:
        return Survey({}, (*absent, *missing))
    if not (root / "Data" / "Fiducials").is_dir():
        missing.append("Data/Fiducials (landmarks)")
    return Survey(found, tuple(missing))


def load_cfp(
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[ImagePair]:
    """Reads pairs of CFP, one at a time.

    Args:
        root: The folder that holds `Data` and `Protocol`.
        split: `ff` (frontal with frontal) or `fp` (frontal with profile).
        strict: Raise on the first broken pair instead of naming, counting and passing over it.
        on_skip: Called with the error of every pair passed over.

    Returns:
        An iterator of pairs, fold by fold, those of one person first; `landmarks` are the set's
        fiducials (30 on frontal faces) where `Data/Fiducials` is there.

    Raises:
        FaceAlignError: Pictures or lists are missing or damaged; while iterating, a picture is
            broken and `strict` is set, or all pairs are.
    """
    if split not in PUBLISHED_CFP:
        raise FaceAlignError(f"CFP has no split {split!r}; choose one of ff, fp")
    root = Path(root)
    first, second = (_cfp_list(root, letter) for letter in split.upper())
    has_fiducials = (root / "Data" / "Fiducials").is_dir()

    def read(pair: tuple[str, int, bool, str, str]) -> ImagePair:
        where, fold, same, *indices = pair
        paths = []
        for index, known in zip(indices, (first, second), strict=True):
            if index not in known:
                raise FaceAlignError(f"{where}: {index[:40]!r} is not in the list of pictures")
            paths.append(known[index])
        labels = [_fiducials(root, path) for path in paths] if has_fiducials else [_NONE, _NONE]
        return _read_pair(root, where, (paths[0], paths[1]), (labels[0], labels[1]), same, fold)

    return iter_valid(_cfp_pairs(root, split), read, strict, on_skip)


def _read_pair(
    root: Path,
    where: str,
    paths: tuple[Path, Path],
    landmarks: tuple[np.ndarray, np.ndarray],
    same: bool,
    fold: int,
) -> ImagePair:
    first, second = (path.relative_to(root).as_posix() for path in paths)
    list_file, _, line = where.rpartition(": line ")
    return ImagePair(
        images=(read_image(paths[0]), read_image(paths[1])),
        image_paths=paths,
        file_names=(first, second),
        landmarks=landmarks,
        same=same,
        fold=fold,
        # A list may have a pair twice; its lines are unique.
        key=f"{Path(list_file).relative_to(root).as_posix()}#{line}",
    )


def _lfw_folder(root: Path) -> Path | None:
    for name in _LFW_PICTURES:
        folder = root / name
        if folder.is_dir() and any(re.match(r"\w+", entry.name) for entry in folder.iterdir()):
            return folder
    return None


def _lfw_pairs(path: Path) -> Iterator[tuple[str, int, bool, str, str]]:
    """The list's pairs: what error messages call the line, fold, whether one person, pictures."""
    lines = [line.split() for line in read_text(path, 10_000_000).splitlines()]
    head = lines[0] if lines else []
    if not 1 <= len(head) <= 2 or not all(re.fullmatch(r"[0-9]{1,5}", token) for token in head):
        raise FaceAlignError(
            f"{path}: begins with {' '.join(head)[:40]!r} where the number of folds (if more than "
            "one) and of pairs are due; get the list anew"
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
            due = "a name and two numbers" if same else "two names, each with a number,"
            raise FaceAlignError(
                f"{where} has {' '.join(tokens)[:60]!r} where {due} are due; get the list anew"
            )
        names = (tokens[0], tokens[0]) if same else (tokens[0], tokens[2])
        pictures = [f"{n}/{n}_{int(i):04d}.jpg" for n, i in zip(names, numbers, strict=True)]
        yield where, fold, same, pictures[0], pictures[1]


def _cfp_files() -> list[tuple[int, str]]:
    return [(fold, name) for fold in range(1, _CFP_FOLDS + 1) for name in ("same.txt", "diff.txt")]


def _cfp_list(root: Path, letter: str) -> dict[str, Path]:
    """Pictures by their index in a list of lines such as `1 ../Data/Images/001/frontal/01.jpg`."""
    path = root / _CFP_LISTS[letter]
    known = {}
    for number, line in enumerate(read_text(path, 10_000_000).splitlines(), start=1):
        if not line.strip():
            continue
        index, _, picture = line.strip().partition(" ")
        where = f"{path}: line {number}"
        if not picture.strip():
            raise FaceAlignError(f"{where} has {line[:60]!r}, not an index and a path")
        known[index] = below(root, path.parent, picture.strip(), where)
    return known


def _cfp_pairs(root: Path, split: str) -> Iterator[tuple[str, int, bool, str, str]]:
    for fold, name in _cfp_files():
        path = root / "Protocol" / "Split" / split.upper() / f"{fold:02d}" / name
        for number, line in enumerate(read_text(path, 10_000_000).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            indices = [index.strip() for index in line.split(",")]
            if len(indices) != 2:
                raise FaceAlignError(f"{where} has {line[:60]!r} where two indices are due")
            yield where, fold - 1, name == "same.txt", indices[0], indices[1]


def _fiducials(root: Path, picture: Path) -> np.ndarray:
    """The landmarks of a picture, float32 (K, 2)."""
    images = root / "Data" / "Images"
    if not picture.is_relative_to(images):
        raise FaceAlignError(f"{picture}: does not lie in {images}; correct the list of pictures")
    path = root / "Data" / "Fiducials" / picture.relative_to(images).with_suffix(".txt")
    lines = [re.split(r"[,\s]+", line.strip()) for line in read_text(path, 100_000).splitlines()]
    lines = [line for line in lines if line != [""]]
    try:
        points = np.array([[float(x), float(y)] for x, y in lines], np.float64)
    except ValueError:
        raise FaceAlignError(f"{path}: has a line that is not two numbers; get it anew") from None
    if not 0 < len(points) <= _MAX_FIDUCIALS or not np.isfinite(points).all():
        raise FaceAlignError(f"{path}: holds no finite landmarks; get it anew")
    return points.astype(np.float32)
