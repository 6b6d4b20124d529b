"""Reads AFLW2000-3D: images with a MATLAB file of 3D landmarks and model parameters each.

    root/AFLW2000/imageNNNNN.{jpg,mat}
    root/AFLW2000-3D-Reannotated.pts68.npy, root/AFLW2000-3D.pts68.npy

The files give the head's pitch, yaw and roll in radians; the reader converts them to degrees.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import Survey, check_choice, first_folder, require_folder
from keras_facealign.data.npz import read_arrays
from keras_facealign.data.readers.w300_lp import list_stems, read_parameters
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 68

PUBLISHED = {"test": 2000}
"""Faces of AFLW2000-3D's one split."""

LABELS = ("original", "reannotated")
"""Kinds of landmarks: `pt3d_68` of the image's file, or those of the later re-annotation."""

_LABEL_FOLDERS = ("", "labels", "AFLW2000", "AFLW2000-3D", "test.configs")
_REANNOTATED = "AFLW2000-3D-Reannotated.pts68.npy"
_ORIGINAL = "AFLW2000-3D.pts68.npy"


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the images of AFLW2000-3D in a folder."""
    count = len(_stems(Path(root)))
    missing = [] if count else ["AFLW2000 (2000 images with their .mat files)"]
    if first_folder(Path(root), _LABEL_FOLDERS, _REANNOTATED) is None:
        missing.append(f"{_REANNOTATED} (the labels 'reannotated')")
    return Survey({"test": count} if count else {}, tuple(missing))


@reader
def load_samples(root: Path, split: str = "test", labels: str = "original") -> Any:
    """Reads AFLW2000-3D, one face at a time.

    The re-annotation is one array for all 2000 faces by file name. In a copy with fewer images, a
    face is found in it by its original landmarks, which `AFLW2000-3D.pts68.npy` lists in the same
    order.

    Args:
        root: The folder that holds `AFLW2000`.
        split: `test`.
        labels: One of `LABELS`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 landmarks, all of visibility 2, and the extras `pose` (pitch,
        yaw, roll in degrees), `depth` (68,) in pixels (of the original landmarks), and the
        parameters that the reader of 300W-LP gives.

    Raises:
        FaceAlignError: Images or labels are missing; while iterating, a face is broken and `strict`
            is set, or all are.
    """
    check_choice(split, PUBLISHED, "AFLW2000-3D has no split")
    check_choice(labels, LABELS, "AFLW2000-3D has no labels")
    stems = _stems(root)
    if not stems:
        raise FaceAlignError(
            f"{root}: holds no AFLW2000/imageNNNNN.jpg with its .mat file; give the folder that "
            "holds AFLW2000"
        )
    new = old = None
    if labels == "reannotated":
        new = _load_npy(root, _REANNOTATED, 2)
        if len(stems) != len(new):
            old = _load_npy(root, _ORIGINAL, 3)
            if len(old) != len(new):
                raise FaceAlignError(f"{root}: {_ORIGINAL} has {len(old)} faces; {len(new)} needed")

    def read(item: tuple[int, Path]) -> FaceExample:
        index, stem = item
        label_path = stem.with_suffix(".mat")
        arrays, extras = read_parameters(label_path, {"pt3d_68": (3, 68)})
        original = arrays["pt3d_68"].astype(np.float64)
        if old is not None:
            distance = np.abs(old[:, :2] - original[:2]).max(axis=(1, 2))
            index = int(distance.argmin())
            if not distance[index] < 1e-2:
                raise FaceAlignError(
                    f"{label_path}: {_ORIGINAL} has no face with its landmarks; replace both"
                )
        return make_example(
            stem.with_suffix(".jpg"),
            (original[:2] if new is None else new[index]).T,
            file_name=stem.with_suffix(".jpg").relative_to(root).as_posix(),
            subset="AFLW2000",
            label_name=str(label_path),
            extras={**extras, "depth": original[2].astype(np.float32)},
        )

    return enumerate(stems), read


def _stems(root: Path) -> list[Path]:
    """Paths of the faces without their suffixes, from the first folder that has labels."""
    for name in ("AFLW2000", "AFLW2000-3D/AFLW2000", ""):
        stems = [stem for stem in list_stems(root / name) if stem.startswith("image")]
        if any((root / name / f"{stem}.mat").exists() for stem in stems):
            return [root / name / stem for stem in stems]
    return []


def _load_npy(root: Path, name: str, rows: int) -> np.ndarray:
    """Reads float (N, rows, 68), one array for all faces."""
    path = require_folder(root, _LABEL_FOLDERS, name, "put it next to the folder AFLW2000") / name
    labels = read_arrays(path).get("")
    if labels is None or labels.shape[1:] != (rows, 68) or labels.dtype.kind != "f":
        found = "an archive" if labels is None else f"{labels.dtype} {labels.shape}"
        raise FaceAlignError(f"{path}: is {found}, but float (N, {rows}, 68) is needed; replace it")
    return labels
