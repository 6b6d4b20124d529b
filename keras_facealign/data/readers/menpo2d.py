"""Menpo2D: semi-frontal faces with 68 landmarks and profiles with 39, a `.pts` file each.

    root/menpo_train_release/*.{jpg,pts}                       the challenge's training faces, mixed
    root/Menpo2D/{Train,Test}/image/{semifrontal,profile}/*.{jpg,pts}

Folders may have other names: what lies below a folder whose name begins or ends with "test" is the
test split, and the number of landmarks tells semi-frontal faces from profiles.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from keras_facealign.data.images import IMAGE_SUFFIXES
from keras_facealign.data.pts import read_pts
from keras_facealign.data.reading import LabeledFace, Survey, make_face
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = ["POSES", "PUBLISHED", "find_labels", "load_samples", "survey"]

POSES = {"semi_frontal": 68, "profile": 39}
"""The two kinds of faces and their number of landmarks."""

PUBLISHED = {
    "semi_frontal": {"train": 6653, "test": 5335},
    "profile": {"train": 2290, "test": 1946},
}
"""Faces of each kind and split. The 2017 challenge had 5658 and 1906 of the training faces."""

_SUFFIXES = {".pts", *IMAGE_SUFFIXES}


def find_labels(root: str | os.PathLike[str]) -> dict[tuple[str, str], list[str]]:
    """Lists the faces of a copy.

    Args:
        root: The data set's folder; where folders in it have "menpo" in their names, these.

    Returns:
        Paths below `root` without their endings, by pose and split. A file whose kind cannot be
        told (a picture without labels, a damaged `.pts`) is listed as semi-frontal, and reported
        when it is read.
    """
    return _labels_in(Path(root), _menpo_folders(Path(root)) or [Path(root)])


def survey(root: str | os.PathLike[str], pose: str) -> Survey:
    """Counts the faces of one kind in a folder.

    The files alone are like those of other sets, so only folders whose name has "menpo" in it are
    looked through: `root` itself, or else folders in it.
    """
    root = Path(root)
    labels = _labels_in(root, _menpo_folders(root))
    published = PUBLISHED[pose]
    found = {split: len(labels[pose, split]) for split in published if (pose, split) in labels}
    missing = [f"{split} ({published[split]} faces)" for split in published if split not in found]
    return Survey(found, tuple(missing))


def load_samples(
    root: str | os.PathLike[str],
    split: str,
    pose: str = "semi_frontal",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads a split, one face at a time.

    Args:
        root: The data set's folder.
        split: `train` or `test`.
        pose: A key of `POSES`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

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
    root = Path(root)
    stems = find_labels(root).get((pose, split), [])
    if not stems:
        raise FaceAlignError(
            f"{root}: holds no {split} faces with {POSES[pose]} landmarks; give the folder that "
            "holds Menpo2D's .jpg and .pts files"
        )
    return iter_valid(stems, partial(_read, root, POSES[pose]), strict, on_skip)


def _menpo_folders(root: Path) -> list[Path]:
    """`root` if its name says that it is Menpo's, or else the folders in it of which this holds."""
    if "menpo" in root.resolve().name.lower():
        return [root]
    inside = sorted(root.iterdir()) if root.is_dir() else []
    return [path for path in inside if path.is_dir() and "menpo" in path.name.lower()]


def _labels_in(root: Path, folders: list[Path]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for folder, inside, files in (step for top in folders for step in os.walk(top)):
        inside.sort()
        relative = Path(folder).relative_to(root)
        split = "test" if any(_is_test(part) for part in relative.parts) else "train"
        stems = {Path(n).stem for n in files if n[0] != "." and Path(n).suffix.lower() in _SUFFIXES}
        for stem in sorted(stems):
            pose = _pose(Path(folder) / f"{stem}.pts")
            found.setdefault((pose, split), []).append((relative / stem).as_posix())
    return found


def _read(root: Path, num_landmarks: int, stem: str) -> LabeledFace:
    label_path = root / f"{stem}.pts"
    image_path = _picture(root / stem)
    if image_path is None:
        raise FaceAlignError(
            f"{label_path}: there is no image of this name; add it or remove the .pts file"
        )
    if not label_path.is_file():
        raise FaceAlignError(
            f"{image_path}: there is no .pts file of this name; add it or remove the image"
        )
    landmarks, visibility = read_pts(label_path, num_landmarks=num_landmarks)
    return make_face(
        image_path,
        landmarks,
        visibility,
        file_name=image_path.relative_to(root).as_posix(),
        subset=Path(stem).parent.as_posix(),
        label_name=str(label_path),
    )


def _picture(stem: Path) -> Path | None:
    for suffix in IMAGE_SUFFIXES:
        for spelling in (suffix, suffix.upper()):
            path = stem.parent / f"{stem.name}{spelling}"
            if path.is_file():
                return path
    return None


def _pose(path: Path) -> str:
    """The kind of face that a `.pts` file labels, told from its header, or by counting."""
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
