"""Draws the small faces in `dummy_data/`, laid out and labeled as COFW68 is.

python -m tfds_builders.cofw68.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import run, write_mat5
from tfds_builders.cofw.make_dummy_data import draw, landmarks_29, write_mat73


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(68)
    pictures, landmarks = zip(*(draw(rng, gray=index == 1) for index in range(3)), strict=True)
    write_mat73(
        folder / "COFW_test_color.mat",
        "T",
        list(pictures),
        [landmarks_29(points) for points in landmarks],
        [np.zeros(29)] * 3,
    )
    labels = folder / "COFW68_Data"
    for index, points in enumerate(landmarks, start=1):
        occluded = (rng.random((1, 68)) < 0.25).astype(np.uint8)
        arrays = {"Points": points + 1, "Occ": occluded}
        write_mat5(labels / "test_annotations" / f"{index}_points.mat", arrays)
    boxes = [[*np.floor(p.min(axis=0) + 1), *np.ceil(np.ptp(p, axis=0))] for p in landmarks]
    write_mat5(labels / "cofw68_test_bboxes.mat", {"bboxes": np.array(boxes, np.int16)})


if __name__ == "__main__":
    run(main, __file__)
