"""Reads crops of AFLW faces with 3D landmarks transferred from AFLW2000-3D.

    root/labels.npz     names (N,), aflw2000_index (N,), pts3d (N, 68, 3) in the crops' pixels
    root/images/NAME.jpg

AFLW2000-3D labels AFLW's images, so its landmarks can be mapped to other crops of these images;
they are then off by about 1 % of the face. Use it to compare models on faces of all poses. It is
not a benchmark, and its results are not comparable with results on AFLW2000-3D.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.files import check_choice, require_folder, resolve_inside
from keras_facealign.data.npz import read_npz
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError

_LABELS = "labels.npz"
_MAX_BYTES = 20_000_000
_ARRAYS = {
    "names": ("U", (None,)),
    "aflw2000_index": ("iu", (None,)),
    "pts3d": ("f", (None, 68, 3)),
}


@reader
def load_samples(root: Path, split: str = "test") -> Any:
    """Reads the crops, one at a time.

    Args:
        root: The folder that holds `labels.npz`, or the one that holds its folder
            `approximate_crops`.
        split: `test`.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 landmarks, all of visibility 2, and the extras `depth` (68,) in
        pixels and `aflw2000_index`, the index of the face among AFLW2000-3D's sorted files.

    Raises:
        FaceAlignError: There is no such split, or the labels are missing or damaged; while
            iterating, a face is broken and `strict` is set, or all are.

    Example:
        >>> for face in load_samples("aflw2000"):  # doctest: +SKIP
        ...     print(face.file_name, face.extras["depth"].min())
    """
    check_choice(split, ("test",), "The AFLW crops have no split")
    folders = ("", "approximate_crops")
    folder = require_folder(root, folders, _LABELS, "give the folder of the crops")
    path = folder / _LABELS
    arrays = read_npz(path, _ARRAYS, _MAX_BYTES)
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise FaceAlignError(f"{path}: its arrays are of {sorted(counts)} faces; replace the file")

    def read(index: int) -> FaceExample:
        where = f"{path}: face {index}"
        name = f"{arrays['names'][index]}.jpg"
        image = resolve_inside(folder, folder / "images", name, where)
        points = arrays["pts3d"][index].astype(np.float64)
        if not np.isfinite(points[:, 2]).all():
            raise FaceAlignError(f"{where}: a depth is not finite; correct it")
        return make_example(
            image,
            points[:, :2],
            file_name=image.relative_to(folder).as_posix(),
            subset="images",
            label_name=where,
            extras={
                "depth": points[:, 2].astype(np.float32),
                "aflw2000_index": arrays["aflw2000_index"][index],
            },
        )

    return range(len(arrays["names"])), read
