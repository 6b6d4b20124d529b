"""300 Faces in the Wild (300W): its official folders, read without TensorFlow.

    root/afw, root/helen/{trainset,testset}, root/lfpw/{trainset,testset}, root/ibug,
    root/Test/{01_Indoor,02_Outdoor}

Each holds pictures with a `.pts` file of the same stem. A copy need not be whole: training takes
the training folders that are there, but a split with published results exists only when all of its
folders do, so that no number is compared with one over other pictures.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_facealign.data.examples import ExamplePaths, FaceExample, pair_files, read_samples
from keras_facealign.errors import FaceAlignError

__all__ = ["FOLDERS", "SPLITS", "available_splits", "find_samples", "load_samples"]

_logger = logging.getLogger(__name__)

NUM_LANDMARKS = 68

FOLDERS: dict[str, int] = {
    "afw": 337,
    "helen/trainset": 2000,
    "helen/testset": 330,
    "lfpw/trainset": 811,
    "lfpw/testset": 224,
    "ibug": 135,
    "Test/01_Indoor": 300,
    "Test/02_Outdoor": 300,
}
"""The folders of the official set and their number of faces."""

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "helen_test": ("helen/testset",),
    "lfpw_test": ("lfpw/testset",),
    "common": ("helen/testset", "lfpw/testset"),
    "challenge": ("ibug",),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
    "test": ("Test/01_Indoor", "Test/02_Outdoor"),
}
"""The folders of each split, as the published protocols have them."""


def available_splits(root: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """The splits that a copy of the data set has, each with the folders it is made of.

    What is missing is named in warnings of this module's logger: folders that are not there, the
    splits they cost, and folders with fewer faces than the official ones.

    Args:
        root: The folder that holds `afw`, `helen` and so on.

    Returns:
        Split name to folders; see `SPLITS`.

    Raises:
        FaceAlignError: None of the folders is there.

    Example:
        >>> available_splits("300w")  # doctest: +SKIP
        {'train': ('afw', 'helen/trainset', 'lfpw/trainset'), 'lfpw_test': ('lfpw/testset',)}
    """
    root = Path(root)
    sizes = _folder_sizes(root)
    found: dict[str, tuple[str, ...]] = {}
    for split, folders in SPLITS.items():
        present = tuple(folder for folder in folders if sizes[folder])
        if present and (split == "train" or present == folders):
            found[split] = present
    missing = [folder for folder, size in sizes.items() if not size]
    if missing:
        lost = [split for split in SPLITS if split not in found]
        _logger.warning(
            "%s: left out %s (not there), and so the splits %s.",
            root,
            ", ".join(missing),
            ", ".join(lost) or "none",
        )
    partial = [
        f"{folder} ({size} of {FOLDERS[folder]})"
        for folder, size in sizes.items()
        if 0 < size < FOLDERS[folder]
    ]
    if partial:
        _logger.warning("%s: fewer faces than the official set in %s.", root, ", ".join(partial))
    return found


def find_samples(root: str | os.PathLike[str], split: str) -> list[ExamplePaths]:
    """Lists the files of a split without reading them.

    Args:
        root: The folder that holds `afw`, `helen` and so on.
        split: A key of `SPLITS`.

    Returns:
        The samples by folder and name. A picture without labels, or labels without a picture, is
        among them and is reported when it is read.

    Raises:
        FaceAlignError: The split is unknown, or a folder that it needs is missing.

    Example:
        >>> len(find_samples("300w", "lfpw_test"))  # doctest: +SKIP
        224
    """
    if split not in SPLITS:
        raise FaceAlignError(f"300W has no split {split!r}; choose one of {', '.join(SPLITS)}")
    root = Path(root)
    sizes = _folder_sizes(root)
    missing = [folder for folder in SPLITS[split] if not sizes[folder]]
    present = [folder for folder in SPLITS[split] if sizes[folder]]
    if missing and (split != "train" or not present):
        raise FaceAlignError(
            f"{root}: the split {split!r} needs {', '.join(missing)}, which is not there; add it "
            "or choose another split"
        )
    if missing:
        _logger.warning("%s: %r without %s (not there).", root, split, ", ".join(missing))
    return [sample for folder in present for sample in pair_files(root, folder)]


def load_samples(
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[FaceExample]:
    """Reads a split, one example at a time.

    Args:
        root: The folder that holds `afw`, `helen` and so on.
        split: A key of `SPLITS`.
        strict: Raise on the first broken file. Without it, broken files are named in warnings,
            counted and passed over.
        on_skip: Called with the error of every file passed over.

    Returns:
        An iterator of examples with 68 landmarks, all visible.

    Raises:
        FaceAlignError: The split is not there; while iterating, a file is broken and `strict` is
            set, or all files are broken.

    Example:
        >>> for example in load_samples("300w", "train"):  # doctest: +SKIP
        ...     print(example.file_name, example.image.shape, example.box)
    """
    samples = find_samples(root, split)
    return read_samples(samples, num_landmarks=NUM_LANDMARKS, strict=strict, on_skip=on_skip)


def _folder_sizes(root: Path) -> dict[str, int]:
    """How many `.pts` files each official folder has; zero where it is missing."""
    if not root.is_dir():
        raise FaceAlignError(f"{root}: there is no such folder; give the folder that holds afw")
    sizes = {
        folder: sum(sample.label_path is not None for sample in pair_files(root, folder))
        for folder in FOLDERS
    }
    if not any(sizes.values()):
        raise FaceAlignError(
            f"{root}: holds none of the folders of 300W; give the folder that holds "
            f"{', '.join(FOLDERS)}"
        )
    return sizes
