"""Reads Menpo2D: semi-frontal faces with 68 landmarks and profiles with 39, a `.pts` file each.

    root/menpo_train_release/*.{jpg,pts}                       the challenge's training faces, mixed
    root/Menpo2D/{Train,Test}/image/{semifrontal,profile}/*.{jpg,pts}

Folders may have other names: faces in a folder whose name begins or ends with "test", or below it,
are the test split, and the number of landmarks tells semi-frontal faces from profiles.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

from keras_facealign.data.examples import ExamplePaths, pair_files, read_sample
from keras_facealign.data.files import Survey
from keras_facealign.data.pts import read_pts
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

POSES = {"semi_frontal": 68, "profile": 39}
"""The two kinds of faces and their number of landmarks."""

PUBLISHED = {
    "semi_frontal": {"train": 6653, "test": 5335},
    "profile": {"train": 2290, "test": 1946},
}
"""Faces of each kind and split. The 2017 challenge had 5658 and 1906 of the training faces."""


def find_samples(
    root: str | os.PathLike[str], named: bool = False
) -> dict[tuple[str, str], list[ExamplePaths]]:
    """Lists the faces of a copy.

    Args:
        root: The data set's folder; where folders in it have "menpo" in their names, these.
        named: Whether to list faces only if `root` or folders in it have "menpo" in their names.
            The files alone are like those of other sets.

    Returns:
        The files by pose and split. A file whose kind is unknown (an image without labels, a
        damaged `.pts`) is listed as semi-frontal, and reported when it is read.
    """
    root = Path(root)
    folders = [root]
    if "menpo" not in root.resolve().name.lower():
        inside = sorted(root.iterdir()) if root.is_dir() else []
        menpo = [path for path in inside if path.is_dir() and "menpo" in path.name.lower()]
        folders = menpo or ([] if named else [root])
    found: dict[tuple[str, str], list[ExamplePaths]] = {}
    for folder, subfolders, _ in (step for top in folders for step in os.walk(top)):
        subfolders.sort()
        subset = Path(folder).relative_to(root)
        split = "test" if any(_is_test(part) for part in subset.parts) else "train"
        for sample in pair_files(root, subset.as_posix()):
            found.setdefault((_pose(sample.label_path), split), []).append(sample)
    return found


def survey(root: str | os.PathLike[str], pose: str, named: bool = True) -> Survey:
    """Counts the faces of one kind in a folder.

    Args:
        root: The folder.
        pose: A key of `POSES`.
        named: See `find_samples`.
    """
    samples, published = find_samples(root, named), PUBLISHED[pose]
    found = {split: len(samples[pose, split]) for split in published if (pose, split) in samples}
    missing = [f"{split} ({published[split]} faces)" for split in published if split not in found]
    return Survey(found, tuple(missing))


@reader
def load_samples(root: Path, split: str, pose: str = "semi_frontal") -> Any:
    """Reads a split, one face at a time.

    Args:
        root: The data set's folder.
        split: `train` or `test`.
        pose: A key of `POSES`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 or 39 landmarks, all of visibility 2.

    Raises:
        FaceAlignError: The split is not there; while iterating, a face is broken and `strict` is
            set, or all are.
    """
    if pose not in POSES or split not in PUBLISHED[pose]:
        raise FaceAlignError(
            f"Menpo2D has no {split!r} of {pose!r}; choose train or test of {', '.join(POSES)}"
        )
    samples = find_samples(root).get((pose, split), [])
    if not samples:
        raise FaceAlignError(
            f"{root}: holds no {split} faces with {POSES[pose]} landmarks; give the folder that "
            "holds Menpo2D's .jpg and .pts files"
        )
    return samples, partial(read_sample, num_landmarks=POSES[pose])


def _pose(path: Path | None) -> str:
    """The kind of face that a `.pts` file labels, by its header, or else by counting."""
    if path is None:
        return "semi_frontal"
    try:
        with path.open("rb") as stream:
            declared = re.search(rb"n_points\s*:\s*(\d+)", stream.read(200))
        count = int(declared[1]) if declared else len(read_pts(path)[0])
    except (OSError, FaceAlignError):
        return "semi_frontal"
    return "profile" if count == POSES["profile"] else "semi_frontal"


def _is_test(folder: str) -> bool:
    folder = folder.lower()
    return folder.startswith("test") or folder.endswith("test") or "_test_" in folder
