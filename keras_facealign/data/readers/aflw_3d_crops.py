"""Crops of AFLW faces with 3D landmarks mapped in from AFLW2000-3D.

    root/labels.npz     names (N,), aflw2000_index (N,), pts3d (N, 68, 3) in the crops' pixels
    root/images/NAME.jpg

AFLW2000-3D labels AFLW's pictures. Who has crops of these pictures and the labels alone can bring
the two together; the landmarks are then off by about 1 % of the face. This is no benchmark, and a
result on it stands for none on AFLW2000-3D: it tells how models compare on faces of all poses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_facealign.data.face_profiling.arrays import read_npz
from keras_facealign.data.reading import LabeledFace, below, first_folder, make_face
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError

__all__ = ["load_samples"]

_LABELS = "labels.npz"
_MAX_BYTES = 20_000_000
_FOLDERS = ("", "approximate_crops")
_WANTED = {
    "names": ("U", (None,)),
    "aflw2000_index": ("iu", (None,)),
    "pts3d": ("f", (None, 68, 3)),
}


def load_samples(
    root: str | os.PathLike[str],
    split: str = "test",
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads the crops, one at a time.

    Args:
        root: The folder that holds `labels.npz`, or the one that holds its folder
            `approximate_crops`.
        split: `test`.
        strict: Raise on the first broken face instead of naming, counting and passing over it.
        on_skip: Called with the error of every face passed over.

    Returns:
        An iterator of faces with 68 landmarks, all of visibility 2, and the extras `depth` (68,) in
        pixels and `aflw2000_index`, the place of the face among AFLW2000-3D's sorted files.

    Raises:
        FaceAlignError: There is no such split, or the labels are missing or damaged; while
            iterating, a face is broken and `strict` is set, or all are.

    Example:
        >>> for face in load_samples("aflw2000"):  # doctest: +SKIP
        ...     print(face.file_name, face.extras["depth"].min())
    """
    if split != "test":
        raise FaceAlignError(f"These crops have no split {split!r}; they have test alone")
    root = Path(root)
    folder = first_folder(root, _FOLDERS, _LABELS)
    if folder is None:
        raise FaceAlignError(f"{root}: holds no {_LABELS}; give the folder of the crops")
    path = folder / _LABELS
    arrays = read_npz(path, _WANTED, _MAX_BYTES)
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise FaceAlignError(f"{path}: its arrays are of {sorted(counts)} faces; get the file anew")

    def read(index: int) -> LabeledFace:
        name = str(arrays["names"][index])
        where = f"{path}: face {index}"
        picture = below(folder, folder / "images", f"{name}.jpg", where)
        points = arrays["pts3d"][index].astype(np.float64)
        if not np.isfinite(points[:, 2]).all():
            raise FaceAlignError(f"{where}: a depth is not finite; correct it")
        return make_face(
            picture,
            points[:, :2],
            np.full(68, 2),
            file_name=picture.relative_to(folder).as_posix(),
            subset="images",
            label_name=where,
            extras={
                "depth": points[:, 2].astype(np.float32),
                "aflw2000_index": arrays["aflw2000_index"][index],
            },
        )

    return iter_valid(range(len(arrays["names"])), read, strict, on_skip)
