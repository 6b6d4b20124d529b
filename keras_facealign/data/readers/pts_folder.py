"""Reads pictures of one's own, each with a `.pts` file of the same name beside it.

    root/**/NAME.{jpg,png,...}, root/**/NAME.pts

All faces have the same number of landmarks, any. Subfolders named `train`, `validation` and so on
are splits of these names; without a folder `train`, this split is the whole folder.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from keras_facealign.data.examples import ExamplePaths, pair_below, read_sample
from keras_facealign.data.pts import read_pts
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

_TRAIN = "train"
# Label files that decide how many landmarks a face has.
_COUNTED = 100


def find_samples(root: Path, split: str = _TRAIN) -> list[ExamplePaths]:
    """Lists the files of a split without reading them, those without a partner included.

    Raises:
        FaceAlignError: If there is no such folder, or no label in it.
    """
    folder = root / split
    if split == _TRAIN and not folder.is_dir():
        folder = root
    samples = pair_below(root, folder)
    if not any(sample.label_path and sample.image_path for sample in samples):
        raise FaceAlignError(
            f"{folder}: holds no pictures with .pts files of the same name beside them; give their "
            "folder"
        )
    return samples


@reader
def load_samples(root: Path, split: str = _TRAIN) -> Any:
    """Reads a split, one example at a time.

    Args:
        root: The folder of the pictures.
        split: `train`, or the name of a subfolder.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of examples, all with the number of landmarks that most label files have.

    Raises:
        FaceAlignError: There are no labels; while iterating, a file is broken or has another number
            of landmarks and `strict` is set, or all are.

    Example:
        >>> for example in load_samples("mine"):  # doctest: +SKIP
        ...     print(example.file_name, example.landmarks.shape)
    """
    samples = find_samples(root, split)
    return samples, partial(read_sample, num_landmarks=_num_landmarks(samples))


def _num_landmarks(samples: list[ExamplePaths]) -> int | None:
    """The most frequent number of landmarks; None if no file can be read."""
    counts: Counter[int] = Counter()
    for path in islice((s.label_path for s in samples if s.label_path), _COUNTED):
        try:
            counts[len(read_pts(path)[0])] += 1
        except FaceAlignError:
            continue  # It is named when it is read as a sample.
    return counts.most_common(1)[0][0] if counts else None
