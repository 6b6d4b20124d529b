"""MERL-RAV: AFLW faces with 68 landmarks and their visibility, read without TensorFlow.

    root/{frontal,left,lefthalf,right,righthalf}/{trainset,testset}/{images,labels}

The labels are `.pts` files whose signs tell occlusion (see `keras_facealign.data.pts`). They are
published alone, so the AFLW picture of the same stem has to be put into `images` beside `labels`,
or beside its label, as the authors' script puts both into `merl_rav_organized`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from keras_facealign.data.examples import ExamplePaths, FaceExample, pair_files, read_samples
from keras_facealign.errors import FaceAlignError

__all__ = ["POSES", "SPLITS", "find_samples", "load_samples"]

_logger = logging.getLogger(__name__)

NUM_LANDMARKS = 68

POSES = ("frontal", "left", "lefthalf", "right", "righthalf")
"""The folders of the data set, one for each range of head poses."""

SPLITS = {"train": "trainset", "test": "testset"}
"""The name of each split's folder."""


def find_samples(root: str | os.PathLike[str], split: str) -> list[ExamplePaths]:
    """Lists the files of a split without reading them.

    Args:
        root: The folder that holds `frontal`, `left` and so on.
        split: `train` or `test`.

    Returns:
        The samples by folder and name; the subset of each is such as `lefthalf/trainset`. Poses
        whose folder is missing are named in a warning of this module's logger.

    Raises:
        FaceAlignError: The split is unknown or has no files.

    Example:
        >>> samples = find_samples("merl_rav", "train")  # doctest: +SKIP
    """
    if split not in SPLITS:
        raise FaceAlignError(f"MERL-RAV has no split {split!r}; choose one of {', '.join(SPLITS)}")
    root = Path(root)
    subsets = [f"{pose}/{SPLITS[split]}" for pose in POSES]
    found = {s: pair_files(root, s, "images", "labels") or pair_files(root, s) for s in subsets}
    missing = [subset for subset, samples in found.items() if not samples]
    if len(missing) == len(subsets):
        raise FaceAlignError(
            f"{root}: holds no {'/images or '.join(subsets[:2])}/images; give the folder that "
            f"holds {', '.join(POSES)}"
        )
    if missing:
        _logger.warning("%s: %r without %s (not there).", root, split, ", ".join(missing))
    return [sample for samples in found.values() for sample in samples]


def load_samples(
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[FaceExample]:
    """Reads a split, one example at a time.

    Args:
        root: The folder that holds `frontal`, `left` and so on.
        split: `train` or `test`.
        strict: Raise on the first broken file. Without it, broken files are named in warnings,
            counted and passed over.
        on_skip: Called with the error of every file passed over.

    Returns:
        An iterator of examples with 68 landmarks, of visibility 0 (hidden by the face itself,
        without a position), 1 (behind something) or 2 (visible).

    Raises:
        FaceAlignError: The split is not there; while iterating, a file is broken and `strict` is
            set, or all files are broken.

    Example:
        >>> for example in load_samples("merl_rav", "train"):  # doctest: +SKIP
        ...     print(example.file_name, (example.visibility == 1).sum(), "occluded")
    """
    return read_samples(
        find_samples(root, split),
        num_landmarks=NUM_LANDMARKS,
        signed_visibility=True,
        strict=strict,
        on_skip=on_skip,
    )
