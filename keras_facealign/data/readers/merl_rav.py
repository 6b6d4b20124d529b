"""Reads MERL-RAV: AFLW faces with 68 landmarks and their visibility, without TensorFlow.

    root/{frontal,left,lefthalf,right,righthalf}/{trainset,testset}/{images,labels}

The labels are `.pts` files whose signs tell occlusion (see `keras_facealign.data.pts`). They are
published alone: put the AFLW image of the same stem into `images`, or next to its label, as the
authors' script does in `merl_rav_organized`.
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

POSES = ("frontal", "left", "lefthalf", "right", "righthalf")
"""The folders of the data set, one for each range of head poses."""

SPLITS = {"train": "trainset", "test": "testset"}
"""The name of each split's folder."""

PUBLISHED = {"train": 15449, "test": 3865}
"""Faces of each split."""


def _organized(root: Path) -> Path:
    """The folder with the poses: `root`, or what the authors' script makes in it."""
    return root / "merl_rav_organized" if (root / "merl_rav_organized").is_dir() else root


def _pairs(root: Path, split: str) -> dict[str, list[ExamplePaths]]:
    """The samples of a split by pose and split, such as `lefthalf/trainset`."""
    subsets = [f"{pose}/{SPLITS[split]}" for pose in POSES]
    return {s: pair_files(root, s, "images", "labels") or pair_files(root, s) for s in subsets}


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of MERL-RAV, labels and images, in a folder."""
    found, missing = {}, []
    for split in SPLITS:
        for subset, samples in _pairs(_organized(Path(root)), split).items():
            paired = sum(bool(s.image_path and s.label_path) for s in samples)
            if paired:
                found[split] = found.get(split, 0) + paired
            elif samples:
                missing.append(f"{subset} (images of AFLW for {len(samples)} labels)")
            else:
                missing.append(subset)
    return Survey(found, tuple(missing))


def find_samples(root: str | os.PathLike[str], split: str) -> list[ExamplePaths]:
    """Lists the files of a split without reading them.

    Args:
        root: The folder that holds `frontal`, `left` and so on, or `merl_rav_organized`.
        split: `train` or `test`.

    Returns:
        The samples by folder and name; the subset of each is such as `lefthalf/trainset`. Poses
        whose folder is missing are named in a warning of this module's logger.

    Raises:
        FaceAlignError: The split is unknown or has no files.

    Example:
        >>> samples = find_samples("merl_rav", "train")  # doctest: +SKIP
    """
    check_choice(split, SPLITS, "MERL-RAV has no split")
    found = _pairs(_organized(Path(root)), split)
    missing = [subset for subset, samples in found.items() if not samples]
    if len(missing) == len(found):
        raise FaceAlignError(
            f"{root}: holds no {'/images or '.join(missing[:2])}/images; give the folder that "
            f"holds {', '.join(POSES)}"
        )
    if missing:
        _logger.warning("%s: %r without %s (not there).", root, split, ", ".join(missing))
    return [sample for samples in found.values() for sample in samples]


@reader
def load_samples(root: Path, split: str) -> Any:
    """Reads a split, one example at a time.

    Args:
        root: The folder that holds `frontal`, `left` and so on, or `merl_rav_organized`.
        split: `train` or `test`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of examples with 68 landmarks, of visibility 0 (hidden by the face itself,
        without a position), 1 (occluded by another object) or 2 (visible).

    Raises:
        FaceAlignError: The split is not there; while iterating, a file is broken and `strict` is
            set, or all files are broken.

    Example:
        >>> for example in load_samples("merl_rav", "train"):  # doctest: +SKIP
        ...     print(example.file_name, (example.visibility == 1).sum(), "occluded")
    """
    read = partial(read_sample, num_landmarks=NUM_LANDMARKS, signed_visibility=True)
    return find_samples(root, split), read
