"""The data sets that `tfds_builders` packages, and how to find and read a user's copies of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keras_facealign.data import face_profiling
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.files import Survey, check_choice
from keras_facealign.data.readers import (
    aflw2000_3d,
    aflw_3d_crops,
    cfp,
    cfp_landmarks,
    cofw,
    cofw68,
    face_synthetics,
    ibug_300w,
    lfw,
    menpo2d,
    merl_rav,
    pts_folder,
    w300_lp,
    wflw,
)
from keras_facealign.errors import FaceAlignError


@dataclass(frozen=True)
class DataSet:
    """A data set as its authors published it.

    Attributes:
        name: The builder's name; after a slash the configuration, where its faces differ.
        title: The set's usual name.
        homepage: Where to get it.
        landmarks: Landmarks of a face; 0 for pairs of images.
        published: Samples of each split.
        survey: Counts what a folder holds.
        load: Reads the samples of a split; see `load`.
    """

    name: str
    title: str
    homepage: str
    landmarks: int
    published: Mapping[str, int]
    survey: Callable[[Path], Survey]
    load: Callable[..., Iterator[Any]]


def _read_by(reader: Any, name: str, title: str, homepage: str) -> DataSet:
    """The data set that a module of `keras_facealign.data.readers` reads."""
    return DataSet(
        name,
        title,
        homepage,
        reader.NUM_LANDMARKS,
        reader.PUBLISHED,
        reader.survey,
        reader.load_samples,
    )


_3DDFA = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"

CATALOG = (
    _read_by(ibug_300w, "ibug_300w", "300W", "https://ibug.doc.ic.ac.uk/resources/300-W/"),
    *(
        DataSet(
            f"menpo2d/{pose}",
            f"Menpo2D, {pose.replace('_', '-')}",
            "https://github.com/jiankangdeng/MenpoBenchmark",
            landmarks,
            menpo2d.PUBLISHED[pose],
            partial(menpo2d.survey, pose=pose),
            partial(menpo2d.load_samples, pose=pose),
        )
        for pose, landmarks in menpo2d.POSES.items()
    ),
    _read_by(cofw, "cofw", "COFW", "https://data.caltech.edu/records/bc0bf-nc666"),
    _read_by(cofw68, "cofw68", "COFW68", "https://github.com/golnazghiasi/cofw68-benchmark"),
    _read_by(w300_lp, "w300_lp", "300W-LP", _3DDFA),
    _read_by(aflw2000_3d, "aflw2000_3d", "AFLW2000-3D", _3DDFA),
    _read_by(wflw, "wflw", "WFLW", "https://wywu.github.io/projects/LAB/WFLW.html"),
    _read_by(merl_rav, "merl_rav", "MERL-RAV", "https://github.com/abhi1kumar/MERL-RAV_dataset"),
    _read_by(
        face_synthetics,
        "face_synthetics",
        "FaceSynthetics",
        "https://github.com/microsoft/FaceSynthetics",
    ),
    _read_by(lfw, "lfw_pairs", "LFW", "http://vis-www.cs.umass.edu/lfw/"),
    _read_by(cfp, "cfp", "CFP", "http://www.cfpw.io/"),
)
"""Every data set, in the order in which the command `datasets` lists them."""

LOADERS: dict[str, Callable[..., Iterator[FaceExample]]] = {
    **{data_set.name: data_set.load for data_set in CATALOG if data_set.landmarks},
    **{
        f"{name}/{labels}": partial(reader.load_samples, labels=labels)
        for name, reader in (("aflw2000_3d", aflw2000_3d), ("w300_lp", w300_lp))
        for labels in reader.LABELS
    },
    "aflw_3d_crops": aflw_3d_crops.load_samples,
    "cfp/landmarks": cfp_landmarks.load_samples,
    "face_synthetics/ibug68": partial(face_synthetics.load_samples, pupils=False),
    "menpo2d": menpo2d.load_samples,
    "pts_folder": pts_folder.load_samples,
    "turned_faces": face_profiling.load_samples,
}
"""Readers of the faces of a data set, by its builder's name, with or without a configuration.

`turned_faces` is what the command `synthesize-poses` wrote, `pts_folder` pictures of one's own with
`.pts` files beside them; these, `aflw_3d_crops` and `cfp/landmarks` have no builder.
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
        root: The folder that its builder uses as `manual_dir`.
        split: One of the data set's splits.
        strict: Raise on the first broken face instead of skipping it.
        on_skip: Called with the error of every skipped face; see `iter_valid`.

    Returns:
        An iterator of examples.

    Raises:
        FaceAlignError: The data set or split is unknown or not there; while iterating, a face is
            broken and `strict` is set, or all are.

    Example:
        >>> faces = load("wflw", "/data/wflw", "test_blur")  # doctest: +SKIP
    """
    check_choice(name, sorted(LOADERS), "There is no data set")
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
    folder = Path(folder)
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    surveys = [(path, data_set.survey(path)) for path in (folder, *subfolders)]
    return max(surveys, key=lambda pair: (sum(pair[1].found.values()), -len(pair[1].missing)))
