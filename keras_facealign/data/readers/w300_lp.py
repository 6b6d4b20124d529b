"""300W-LP and AFLW2000-3D: pictures with a MATLAB file of 3D morphable model parameters each.

    root/300W_LP/{AFW,HELEN,IBUG,LFPW}{,_Flip}/NAME.{jpg,mat}
    root/300W_LP/landmarks/{AFW,...}/NAME_pts.mat
    root/AFLW2000/imageNNNNN.{jpg,mat}
    root/AFLW2000-3D-Reannotated.pts68.npy, root/AFLW2000-3D.pts68.npy

The files give the head's pitch, yaw and roll in radians; here they are degrees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_facealign.data.mat import read_mat
from keras_facealign.data.reading import (
    LabeledFace,
    Survey,
    first_folder,
    list_names,
    make_face,
)
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = [
    "AFLW2000_LABELS",
    "LABELS",
    "PUBLISHED",
    "PUBLISHED_AFLW2000",
    "available_splits",
    "load_aflw2000",
    "load_samples",
    "survey",
    "survey_aflw2000",
]

NUM_LANDMARKS = 68

SETS = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}
"""The folders of 300W-LP and their pictures; each has a mirror image in `NAME_Flip`."""

PUBLISHED = {"train": sum(SETS.values()), "flip": sum(SETS.values())}
"""Faces of the splits."""

LABELS = ("projected_3d", "contour_2d", "pt2d")
"""Which landmarks to take: `pts_3d` or `pts_2d` of the `landmarks` folder, or the picture's own
`pt2d`, which needs no other file."""

PUBLISHED_AFLW2000 = {"test": 2000}
"""Faces of AFLW2000-3D's one split."""

AFLW2000_LABELS = ("original", "reannotated")
"""Which landmarks to take: `pt3d_68` of the picture's file, or those of the later re-annotation."""

_PARAMETERS = {"Pose_Para": (1, 7), "Shape_Para": (199, 1), "Exp_Para": (29, 1)}
_FOLDERS = ("300W_LP", "300W-LP", "")
_AFLW2000_FOLDERS = ("AFLW2000", "AFLW2000-3D/AFLW2000", "")
_LABEL_FOLDERS = ("", "labels", "AFLW2000", "AFLW2000-3D", "test.configs")
_REANNOTATED = "AFLW2000-3D-Reannotated.pts68.npy"
_ORIGINAL = "AFLW2000-3D.pts68.npy"
_MAX_FACES = 100_000


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the pictures of 300W-LP in a folder."""
    folder = _folder(Path(root))
    found, missing = {}, []
    for split, ending in (("train", ""), ("flip", "_Flip")):
        sizes = {name: len(list_names(folder / (name + ending), (".mat",))) for name in SETS}
        if any(sizes.values()):
            found[split] = sum(sizes.values())
        missing += [f"{name}{ending} ({SETS[name]} faces)" for name in SETS if not sizes[name]]
    if found and not (folder / "landmarks").is_dir():
        missing.append("landmarks (without it, only the labels pt2d)")
    return Survey(found, tuple(missing))


def available_splits(root: str | os.PathLike[str], labels: str = "projected_3d") -> dict[str, int]:
    """The splits whose pictures and landmarks are there, and their pictures.

    Raises:
        FaceAlignError: There are none, or the landmarks are missing.
    """
    folder = _folder(Path(root))
    found = survey(root).found
    if not found:
        raise FaceAlignError(
            f"{root}: holds none of the folders of 300W-LP; give the folder that holds 300W_LP "
            f"with {', '.join(SETS)}"
        )
    if labels == "pt2d":
        return found
    endings = {"train": "", "flip": "_Flip"}
    labeled = {
        split: count
        for split, count in found.items()
        if any((folder / "landmarks" / (name + endings[split])).is_dir() for name in SETS)
    }
    if not labeled:
        raise FaceAlignError(
            f"{folder}: there is no folder 'landmarks' for the labels {labels}; add it or take "
            "the labels pt2d"
        )
    return labeled


def load_samples(
    root: str | os.PathLike[str],
    split: str = "train",
    labels: str = "projected_3d",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads 300W-LP, one face at a time; memory does not grow with the set.

    Args:
        root: The folder that holds `300W_LP`.
        split: `train`, or `flip` for the mirror images.
        labels: One of `LABELS`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Returns:
        An iterator of faces with 68 landmarks, all of visibility 2, and the extras `pose` (pitch,
        yaw, roll in degrees), `pose_parameters` (7,), `shape_parameters` (199,) and
        `expression_parameters` (29,).

    Raises:
        FaceAlignError: Split or labels are unknown or missing; while iterating, a face is broken
            and `strict` is set, or all are.
    """
    if split not in PUBLISHED:
        raise FaceAlignError(f"300W-LP has no split {split!r}; choose one of train, flip")
    _check_choice(labels, LABELS)
    folder = _folder(Path(root))
    if split not in available_splits(root, labels):
        raise FaceAlignError(f"{folder}: the split {split!r} is not there; add its folders")
    array = {"projected_3d": "pts_3d", "contour_2d": "pts_2d"}.get(labels)

    def names() -> Iterator[tuple[str, str]]:
        for subset in SETS:
            name = subset + ("_Flip" if split == "flip" else "")
            yield from ((name, stem) for stem in _stems(folder / name))

    def read(item: tuple[str, str]) -> LabeledFace:
        subset, stem = item
        path = folder / subset / f"{stem}.jpg"
        label_path = path.with_suffix(".mat")
        if array is None:
            parameters = read_mat(label_path, {**_PARAMETERS, "pt2d": (2, 68)})
            points = parameters["pt2d"].T
        else:
            parameters = read_mat(label_path, _PARAMETERS)
            label_path = folder / "landmarks" / subset / f"{stem}_pts.mat"
            points = read_mat(label_path, {array: (68, 2)})[array]
        return make_face(
            path,
            points,
            np.full(68, 2),
            file_name=path.relative_to(root).as_posix(),
            subset=subset,
            label_name=str(label_path),
            extras=_extras(path.with_suffix(".mat"), parameters),
        )

    return iter_valid(names(), read, strict, on_skip)


def survey_aflw2000(root: str | os.PathLike[str]) -> Survey:
    """Counts the pictures of AFLW2000-3D in a folder."""
    root = Path(root)
    names = _aflw2000_names(root)
    missing = [] if names else ["AFLW2000 (2000 pictures with their .mat files)"]
    if first_folder(root, _LABEL_FOLDERS, _REANNOTATED) is None:
        missing.append(f"{_REANNOTATED} (the labels 'reannotated')")
    return Survey({"test": len(names)} if names else {}, tuple(missing))


def load_aflw2000(
    root: str | os.PathLike[str],
    split: str = "test",
    labels: str = "original",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads AFLW2000-3D, one face at a time.

    The re-annotation is one array for all 2000 faces by file name. In a copy with fewer pictures, a
    face is found in it by its original landmarks, which `AFLW2000-3D.pts68.npy` lists likewise.

    Args:
        root: The folder that holds `AFLW2000`.
        split: `test`.
        labels: One of `AFLW2000_LABELS`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Returns:
        An iterator of faces with 68 landmarks, all of visibility 2, and the extras `pose` (pitch,
        yaw, roll in degrees), `depth` (68,) in pixels (of the original landmarks), and the
        parameters that `load_samples` gives.

    Raises:
        FaceAlignError: Pictures or labels are missing; while iterating, a face is broken and
            `strict` is set, or all are.
    """
    if split != "test":
        raise FaceAlignError(f"AFLW2000-3D has no split {split!r}; it has test alone")
    _check_choice(labels, AFLW2000_LABELS)
    root = Path(root)
    names = _aflw2000_names(root)
    if not names:
        raise FaceAlignError(
            f"{root}: holds no AFLW2000/imageNNNNN.jpg with its .mat file; give the folder that "
            "holds AFLW2000"
        )
    folder = _aflw2000_folder(root)
    relabel = _Reannotation(root, len(names)) if labels == "reannotated" else None

    def read(item: tuple[int, str]) -> LabeledFace:
        index, stem = item
        path = folder / f"{stem}.jpg"
        label_path = path.with_suffix(".mat")
        parameters = read_mat(label_path, {**_PARAMETERS, "pt3d_68": (3, 68)})
        original = parameters["pt3d_68"].astype(np.float64)
        points = original[:2] if relabel is None else relabel.points(index, original, label_path)
        extras = _extras(label_path, parameters)
        extras["depth"] = original[2].astype(np.float32)
        return make_face(
            path,
            points.T,
            np.full(68, 2),
            file_name=path.relative_to(root).as_posix(),
            subset="AFLW2000",
            label_name=str(label_path),
            extras=extras,
        )

    return iter_valid(enumerate(names), read, strict, on_skip)


class _Reannotation:
    """The landmarks of the re-annotation, for whole and for partial copies."""

    def __init__(self, root: Path, pictures: int) -> None:
        self._new = _load_npy(root, _REANNOTATED, (None, 2, 68))
        self._old = None
        if pictures != len(self._new):
            self._old = _load_npy(root, _ORIGINAL, (len(self._new), 3, 68))

    def points(self, index: int, original: np.ndarray, path: Path) -> np.ndarray:
        """float (2, 68) of the face that is `index`-th here and has these original landmarks."""
        if self._old is not None:
            distance = np.abs(self._old[:, :2] - original[:2]).max(axis=(1, 2))
            index = int(distance.argmin())
            if not distance[index] < 1e-2:
                raise FaceAlignError(
                    f"{path}: {_ORIGINAL} has no face with its landmarks; get both anew"
                )
        return self._new[index]


def _load_npy(root: Path, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    folder = first_folder(root, _LABEL_FOLDERS, name)
    if folder is None:
        raise FaceAlignError(f"{root}: there is no {name}; put it beside the folder AFLW2000")
    path = folder / name
    try:
        with path.open("rb") as stream:
            # The header is read first, since it may claim any size.
            version = np.lib.format.read_magic(stream)
            if version != (1, 0):
                raise ValueError(f"version {version}")
            found, _, dtype = np.lib.format.read_array_header_1_0(stream)
            due = shape if shape[0] is not None else (*found[:1], *shape[1:])
            if found != due or dtype.kind != "f" or found[0] > _MAX_FACES:
                raise FaceAlignError(f"{path}: is {dtype} {found}, where {due} numbers are due")
            stream.seek(0)
            return np.load(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, FaceAlignError):
            raise
        raise FaceAlignError(f"{path}: is not a whole .npy array; get it anew") from error


def _extras(path: Path, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    pose = parameters["Pose_Para"].ravel().astype(np.float32)
    extras = {
        "pose": np.rad2deg(pose[:3]).astype(np.float32),
        "pose_parameters": pose,
        "shape_parameters": parameters["Shape_Para"].ravel().astype(np.float32),
        "expression_parameters": parameters["Exp_Para"].ravel().astype(np.float32),
    }
    for name, values in extras.items():
        if not np.isfinite(values).all():
            raise FaceAlignError(f"{path}: {name} is not finite; correct or remove the file")
    return extras


def _check_choice(labels: str, known: tuple[str, ...]) -> None:
    if labels not in known:
        raise FaceAlignError(f"There are no labels {labels!r}; choose one of {', '.join(known)}")


def _folder(root: Path) -> Path:
    for name in (*SETS, *(f"{name}_Flip" for name in SETS)):
        folder = first_folder(root, _FOLDERS, name)
        if folder is not None:
            return folder
    return root


def _aflw2000_folder(root: Path) -> Path:
    for name in _AFLW2000_FOLDERS:
        if any(file.startswith("image") for file in list_names(root / name, (".mat",))):
            return root / name
    return root


def _aflw2000_names(root: Path) -> list[str]:
    return [stem for stem in _stems(_aflw2000_folder(root)) if stem.startswith("image")]


def _stems(folder: Path) -> list[str]:
    """Names of pictures or labels, without their endings; what lacks its partner is among them."""
    return sorted({name.rpartition(".")[0] for name in list_names(folder, (".jpg", ".mat"))})
