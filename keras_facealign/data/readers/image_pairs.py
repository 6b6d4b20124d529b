"""Pairs of face images for verification, as the readers of LFW and CFP yield them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_facealign.data.images import read_image

ListedPair = tuple[str, int, bool, str, str]
"""A line of a list: what error messages call it, fold, whether both are one person, two images."""


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Two images and whether they show the same person.

    Attributes:
        images: Two uint8 (H, W, 3), RGB.
        image_paths: Their files.
        file_names: Their paths below the data set's root, with forward slashes.
        landmarks: For each, float32 (K, 2), x before y, pixels as the set gives them; K is 0 where
            it gives none.
        same: Whether they show one person.
        fold: Part of the cross-validation, from 0.
        key: Unique in the split.
    """

    images: tuple[np.ndarray, ...]
    image_paths: tuple[Path, ...]
    file_names: tuple[str, ...]
    landmarks: tuple[np.ndarray, ...]
    same: bool
    fold: int
    key: str


def read_pair(
    root: Path,
    pair: ListedPair,
    paths: list[Path],
    landmarks: list[np.ndarray] | None = None,
) -> ImagePair:
    """Reads the two images of a line of a list.

    Args:
        root: The data set's root.
        pair: The line.
        paths: The two image files.
        landmarks: The landmarks of each, float32 (K, 2). Default: none.
    """
    where, fold, same, _, _ = pair
    list_file, _, line = where.rpartition(": line ")
    return ImagePair(
        images=tuple(read_image(path) for path in paths),
        image_paths=tuple(paths),
        file_names=tuple(path.relative_to(root).as_posix() for path in paths),
        landmarks=tuple(landmarks or [np.zeros((0, 2), np.float32)] * 2),
        same=same,
        fold=fold,
        # A list may have a pair twice; its lines are unique.
        key=f"{Path(list_file).relative_to(root).as_posix()}#{line}",
    )
