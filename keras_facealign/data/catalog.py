"""The data sets that `tfds_builders` packages, and what a user's folders hold of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keras_facealign.data import face_profiling
from keras_facealign.data.examples import FaceExample, pair_files
from keras_facealign.data.readers import (
    aflw_3d_crops,
    cofw,
    face_synthetics,
    ibug_300w,
    menpo2d,
    merl_rav,
    w300_lp,
    wflw,
)
from keras_facealign.data.readers import verification_pairs as pairs
from keras_facealign.data.reading import Survey
from keras_facealign.errors import FaceAlignError

__all__ = [
    "CATALOG",
    "LOADERS",
    "PUBLISHED_300W",
    "PUBLISHED_MERL_RAV",
    "DataSet",
    "find",
    "load",
    "merl_rav_folder",
    "survey_300w",
    "survey_merl_rav",
]

PUBLISHED_300W = {
    split: sum(ibug_300w.FOLDERS[folder] for folder in folders)
    for split, folders in ibug_300w.SPLITS.items()
}
"""Faces of 300W's splits."""

PUBLISHED_MERL_RAV = {"train": 15449, "test": 3865}
"""Faces of MERL-RAV's splits."""


@dataclass(frozen=True)
class DataSet:
    """A data set as its authors published it.

    Attributes:
        name: The builder's name; after a slash the configuration, where its faces differ.
        title: What people call the set.
        landmarks: Landmarks of a face; 0 where pictures and not faces are labeled.
        published: Samples of each split.
        survey: Counts what a folder holds.
        homepage: Where to get it.
    """

    name: str
    title: str
    landmarks: int
    published: dict[str, int]
    survey: Callable[[Path], Survey]
    homepage: str


def survey_300w(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of 300W in a folder, by the same rule by which its splits are built."""
    root = Path(root)
    sizes = {folder: len(pair_files(root, folder)) for folder in ibug_300w.FOLDERS}
    found = {}
    for split, folders in ibug_300w.SPLITS.items():
        present = [folder for folder in folders if sizes[folder]]
        if present and (split == "train" or len(present) == len(folders)):
            found[split] = sum(sizes[folder] for folder in present)
    missing = [
        f"{folder} ({ibug_300w.FOLDERS[folder]} faces)"
        for folder, size in sizes.items()
        if not size
    ]
    return Survey(found, tuple(missing))


def merl_rav_folder(root: str | os.PathLike[str]) -> Path:
    """The folder with MERL-RAV's poses: `root`, or what the authors' script makes in it."""
    root = Path(root)
    organized = root / "merl_rav_organized"
    return organized if organized.is_dir() else root


def survey_merl_rav(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces of MERL-RAV, labels and pictures, in a folder."""
    root = merl_rav_folder(root)
    found, missing = {}, []
    for split, ending in merl_rav.SPLITS.items():
        for pose in merl_rav.POSES:
            subset = f"{pose}/{ending}"
            samples = pair_files(root, subset, "images", "labels") or pair_files(root, subset)
            paired = sum(bool(s.image_path and s.label_path) for s in samples)
            if paired:
                found[split] = found.get(split, 0) + paired
            elif samples:
                missing.append(f"{subset} (pictures of AFLW for {len(samples)} labels)")
            else:
                missing.append(subset)
    return Survey(found, tuple(missing))


def _load_merl_rav(
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[FaceExample]:
    return merl_rav.load_samples(merl_rav_folder(root), split, strict, on_skip)


CATALOG = (
    DataSet(
        "ibug_300w",
        "300W",
        68,
        PUBLISHED_300W,
        survey_300w,
        "https://ibug.doc.ic.ac.uk/resources/300-W/",
    ),
    *(
        DataSet(
            f"menpo2d/{pose}",
            f"Menpo2D, {pose.replace('_', '-')}",
            count,
            menpo2d.PUBLISHED[pose],
            partial(menpo2d.survey, pose=pose),
            "https://github.com/jiankangdeng/MenpoBenchmark",
        )
        for pose, count in menpo2d.POSES.items()
    ),
    DataSet(
        "cofw",
        "COFW",
        cofw.NUM_LANDMARKS,
        cofw.PUBLISHED,
        cofw.survey,
        "https://data.caltech.edu/records/bc0bf-nc666",
    ),
    DataSet(
        "cofw68",
        "COFW68",
        68,
        cofw.PUBLISHED_68,
        cofw.survey_cofw68,
        "https://github.com/golnazghiasi/cofw68-benchmark",
    ),
    DataSet(
        "w300_lp",
        "300W-LP",
        68,
        w300_lp.PUBLISHED,
        w300_lp.survey,
        "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm",
    ),
    DataSet(
        "aflw2000_3d",
        "AFLW2000-3D",
        68,
        w300_lp.PUBLISHED_AFLW2000,
        w300_lp.survey_aflw2000,
        "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm",
    ),
    DataSet(
        "wflw",
        "WFLW",
        wflw.NUM_LANDMARKS,
        wflw.PUBLISHED,
        wflw.survey,
        "https://wywu.github.io/projects/LAB/WFLW.html",
    ),
    DataSet(
        "merl_rav",
        "MERL-RAV",
        68,
        PUBLISHED_MERL_RAV,
        survey_merl_rav,
        "https://github.com/abhi1kumar/MERL-RAV_dataset",
    ),
    DataSet(
        "face_synthetics",
        "FaceSynthetics",
        face_synthetics.NUM_LANDMARKS,
        face_synthetics.PUBLISHED,
        face_synthetics.survey,
        "https://github.com/microsoft/FaceSynthetics",
    ),
    DataSet(
        "lfw_pairs",
        "LFW",
        0,
        pairs.PUBLISHED_LFW,
        pairs.survey_lfw,
        "http://vis-www.cs.umass.edu/lfw/",
    ),
    DataSet("cfp", "CFP", 0, pairs.PUBLISHED_CFP, pairs.survey_cfp, "http://www.cfpw.io/"),
)
"""Every data set, in the order in which the command `datasets` lists them."""


LOADERS: dict[str, Callable[..., Iterator[FaceExample]]] = {
    "aflw2000_3d": w300_lp.load_aflw2000,
    **{
        f"aflw2000_3d/{labels}": partial(w300_lp.load_aflw2000, labels=labels)
        for labels in w300_lp.AFLW2000_LABELS
    },
    "aflw_3d_crops": aflw_3d_crops.load_samples,
    "cofw": cofw.load_samples,
    "cofw68": cofw.load_cofw68,
    "face_synthetics": face_synthetics.load_samples,
    "face_synthetics/ibug68": partial(face_synthetics.load_samples, pupils=False),
    "ibug_300w": ibug_300w.load_samples,
    "menpo2d": menpo2d.load_samples,
    **{f"menpo2d/{pose}": partial(menpo2d.load_samples, pose=pose) for pose in menpo2d.POSES},
    "merl_rav": _load_merl_rav,
    "turned_faces": face_profiling.load_samples,
    "w300_lp": w300_lp.load_samples,
    **{
        f"w300_lp/{labels}": partial(w300_lp.load_samples, labels=labels)
        for labels in w300_lp.LABELS
    },
    "wflw": wflw.load_samples,
}
"""How to read the faces of a data set, by its builder's name, with or without a configuration.

`turned_faces` is what the command `synthesize-poses` wrote; it and `aflw_3d_crops` have no builder.
"""


def load(
    name: str,
    root: str | os.PathLike[str],
    split: str,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[FaceExample]:
    """Reads the faces of a data set from its official files, one at a time.

    Args:
        name: A key of `LOADERS`: a builder's name, such as `"wflw"` or `"w300_lp/pt2d"`.
        root: The folder that its builder takes as `manual_dir`.
        split: One of the data set's splits.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Returns:
        An iterator of examples.

    Raises:
        FaceAlignError: The data set or split is unknown or not there; while iterating, a face is
            broken and `strict` is set, or all are.

    Example:
        >>> faces = load("wflw", "/data/wflw", "test_blur")  # doctest: +SKIP
    """
    if name not in LOADERS:
        raise FaceAlignError(f"There is no data set {name!r}; choose one of {', '.join(LOADERS)}")
    return LOADERS[name](root, split, strict=strict, on_skip=on_skip)


def find(data_set: DataSet, folder: str | os.PathLike[str]) -> tuple[Path, Survey]:
    """Looks for a data set in a folder and in the folders directly below it.

    Args:
        data_set: One of `CATALOG`.
        folder: The data set's own folder, or one that holds several sets.

    Returns:
        The folder with most of its samples, to be given as `manual_dir`, and what is in it; without
        any sample, the folder with the fewest parts missing.

    Raises:
        FaceAlignError: A file that has to be opened to count its samples is damaged.
    """

    def rank(pair: tuple[Path, Survey]) -> tuple[int, int]:
        return sum(pair[1].found.values()), -len(pair[1].missing)

    return max(((path, data_set.survey(path)) for path in _places(Path(folder))), key=rank)


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    yield from sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
