"""Reads 300 Faces in the Wild (300W) from its official folders, without TensorFlow.

    root/afw, root/helen/{trainset,testset}, root/lfpw/{trainset,testset}, root/ibug,
    root/Test/{01_Indoor,02_Outdoor}

Each holds images with a `.pts` file of the same stem. A copy may be incomplete: training uses the
training folders that are present, but a split with published results needs all of its folders, so
that no result is compared with one on other images.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

from keras_facealign.data.examples import ExamplePaths, pair_files, read_sample
from keras_facealign.data.files import Survey, check_choice
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

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

PUBLISHED = {split: sum(FOLDERS[f] for f in folders) for split, folders in SPLITS.items()}
"""Faces of each split."""


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of 300W in a folder; a split counts only if it can be read."""
    sizes = {folder: len(pair_files(Path(root), folder)) for folder in FOLDERS}
    found = {}
    for split, folders in SPLITS.items():
        present = [folder for folder in folders if sizes[folder]]
        if present and (split == "train" or len(present) == len(folders)):
            found[split] = sum(sizes[folder] for folder in present)
    missing = (f"{f} ({FOLDERS[f]} faces)" for f, size in sizes.items() if not size)
    return Survey(found, tuple(missing))


def find_samples(root: str | os.PathLike[str], split: str) -> list[ExamplePaths]:
    """Lists the files of a split without reading them.

    Args:
        root: The folder that holds `afw`, `helen` and so on.
        split: A key of `SPLITS`.

    Returns:
        The samples by folder and name. An image without labels, or labels without an image, is
        listed too and is reported when it is read. Training folders that are missing are named in a
        warning of this module's logger.

    Raises:
        FaceAlignError: The split is unknown, or a folder that it needs is missing.

    Example:
        >>> len(find_samples("300w", "lfpw_test"))  # doctest: +SKIP
        224
    """
    check_choice(split, SPLITS, "300W has no split")
    if not Path(root).is_dir():
        raise FaceAlignError(f"{root}: there is no such folder; give the folder that holds afw")
    found = {folder: pair_files(Path(root), folder) for folder in SPLITS[split]}
    missing = [f for f, samples in found.items() if not any(s.label_path for s in samples)]
    if missing and (split != "train" or len(missing) == len(found)):
        raise FaceAlignError(
            f"{root}: the split {split!r} needs {', '.join(missing)}, which is not there; give the "
            "folder that holds afw, or choose another split"
        )
    if missing:
        _logger.warning("%s: %r without %s (not there).", root, split, ", ".join(missing))
    return [sample for f, samples in found.items() if f not in missing for sample in samples]


@reader
def load_samples(root: Path, split: str) -> Any:
    """Reads a split, one example at a time.

    Args:
        root: The folder that holds `afw`, `helen` and so on.
        split: A key of `SPLITS`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of examples with 68 landmarks, all visible.

    Raises:
        FaceAlignError: The split is not there; while iterating, a file is broken and `strict` is
            set, or all files are broken.

    Example:
        >>> for example in load_samples("300w", "train"):  # doctest: +SKIP
        ...     print(example.file_name, example.image.shape, example.box)
    """
    return find_samples(root, split), partial(read_sample, num_landmarks=NUM_LANDMARKS)
