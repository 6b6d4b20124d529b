"""Reads 300W-LP: images with a MATLAB file of 3D morphable model parameters each.

    root/300W_LP/{AFW,HELEN,IBUG,LFPW}{,_Flip}/NAME.{jpg,mat}
    root/300W_LP/landmarks/{AFW,...}/NAME_pts.mat

The files give the head's pitch, yaw and roll in radians; the reader converts them to degrees.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import Survey, check_choice, first_folder, list_names
from keras_facealign.data.mat import read_mat
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

NUM_LANDMARKS = 68

SETS = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}
"""The folders of 300W-LP and their images; each has a mirror image in `NAME_Flip`."""

_ENDINGS = {"train": "", "flip": "_Flip"}

PUBLISHED = dict.fromkeys(_ENDINGS, sum(SETS.values()))
"""Faces of the splits."""

LABELS = ("projected_3d", "contour_2d", "pt2d")
"""Kinds of landmarks: `pts_3d` or `pts_2d` of the `landmarks` folder, or the image's own `pt2d`,
which needs no other file."""

_PARAMETERS = {"Pose_Para": (1, 7), "Shape_Para": (199, 1), "Exp_Para": (29, 1)}


def survey(root: str | os.PathLike[str], labels: str | None = None) -> Survey:
    """Counts the images of 300W-LP in a folder.

    Args:
        root: The folder.
        labels: One of `LABELS`: count the splits that have these. Default: count all splits.

    Raises:
        FaceAlignError: Images are there, but not the labels.
    """
    folder = _folder(Path(root))
    found, missing = {}, []
    for split, ending in _ENDINGS.items():
        sizes = {name: len(list_names(folder / (name + ending), (".mat",))) for name in SETS}
        missing += [f"{name}{ending} ({SETS[name]} faces)" for name in SETS if not sizes[name]]
        labeled = any((folder / "landmarks" / (name + ending)).is_dir() for name in SETS)
        if any(sizes.values()):
            found[split] = (sum(sizes.values()), labeled)
    if found and not (folder / "landmarks").is_dir():
        missing.append("landmarks (without it, only the labels pt2d)")
    counts = {
        split: count
        for split, (count, labeled) in found.items()
        if labeled or labels in (None, "pt2d")
    }
    if found and not counts:
        raise FaceAlignError(
            f"{folder}: there is no folder 'landmarks' for the labels {labels}; add it or use the "
            "labels pt2d"
        )
    return Survey(counts, tuple(missing))


@reader
def load_samples(root: Path, split: str = "train", labels: str = "projected_3d") -> Any:
    """Reads 300W-LP, one face at a time; memory does not grow with the set.

    Args:
        root: The folder that holds `300W_LP`.
        split: `train`, or `flip` for the mirror images.
        labels: One of `LABELS`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 landmarks, all of visibility 2, and the extras `pose` (pitch,
        yaw, roll in degrees), `pose_parameters` (7,), `shape_parameters` (199,) and
        `expression_parameters` (29,).

    Raises:
        FaceAlignError: Split or labels are unknown or missing; while iterating, a face is broken
            and `strict` is set, or all are.
    """
    check_choice(split, PUBLISHED, "300W-LP has no split")
    check_choice(labels, LABELS, "300W-LP has no labels")
    found = survey(root, labels).found
    if split not in found:
        raise FaceAlignError(
            f"{root}: holds none of the folders of 300W-LP for the split {split!r}; give the "
            f"folder that holds 300W_LP with {', '.join(SETS)}"
        )
    folder = _folder(root)
    array = {"projected_3d": "pts_3d", "contour_2d": "pts_2d"}.get(labels)

    def items() -> Iterator[Path]:
        for name in SETS:
            subfolder = folder / (name + _ENDINGS[split])
            yield from (subfolder / stem for stem in list_stems(subfolder))

    def read(stem: Path) -> FaceExample:
        label_path = parameter_path = stem.with_name(f"{stem.name}.mat")
        if array is None:
            arrays, extras = read_parameters(parameter_path, {"pt2d": (2, 68)})
            points = arrays["pt2d"].T
        else:
            _, extras = read_parameters(parameter_path)
            label_path = folder / "landmarks" / stem.parent.name / f"{stem.name}_pts.mat"
            points = read_mat(label_path, {array: (68, 2)})[array]
        path = stem.with_name(f"{stem.name}.jpg")
        return make_example(
            path,
            points,
            file_name=path.relative_to(root).as_posix(),
            subset=stem.parent.name,
            label_name=str(label_path),
            extras=extras,
        )

    return items(), read


def read_parameters(
    path: Path, others: dict[str, tuple[int, int]] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads the parameter file of an image of 300W-LP or AFLW2000-3D.

    Args:
        path: The MATLAB file.
        others: Further arrays to read from it, and their shapes.

    Returns:
        The arrays, and what `FaceExample.extras` has of them: `pose` in degrees, and the parameters
        of pose, shape and expression.

    Raises:
        FaceAlignError: The file is damaged, or a parameter is not finite.
    """
    arrays = read_mat(path, {**_PARAMETERS, **(others or {})})
    pose, shape, expression = (arrays[name].ravel().astype(np.float32) for name in _PARAMETERS)
    extras = {
        "pose": np.rad2deg(pose[:3]).astype(np.float32),
        "pose_parameters": pose,
        "shape_parameters": shape,
        "expression_parameters": expression,
    }
    for name, values in extras.items():
        if not np.isfinite(values).all():
            raise FaceAlignError(f"{path}: {name} is not finite; correct or remove the file")
    return arrays, extras


def list_stems(folder: Path) -> list[str]:
    """Sorted names without suffix of images and labels, those without a partner included."""
    return sorted({name.rpartition(".")[0] for name in list_names(folder, (".jpg", ".mat"))})


def _folder(root: Path) -> Path:
    """The folder that holds the folders `SETS`."""
    for name in (*SETS, *(f"{name}_Flip" for name in SETS)):
        folder = first_folder(root, ("300W_LP", "300W-LP", ""), name)
        if folder is not None:
            return folder
    return root
