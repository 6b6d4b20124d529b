"""Draws the small faces in `dummy_data/`, laid out and labeled as AFLW2000-3D is.

python -m tfds_builders.aflw2000_3d.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import draw_face, run, write_image, write_mat5
from tfds_builders.w300_lp.make_dummy_data import parameters


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(2000)
    original, reannotated = [], []
    for index, number in enumerate((2, 4, 50)):
        picture, landmarks = draw_face(rng)
        arrays = parameters(rng)
        if index == 1:
            arrays["Exp_Para"] = np.zeros((29, 1), np.uint8)  # as some of the files have it
        missing = np.where(np.arange(21) % 5 == 0, -1.0, landmarks[:21].T)
        depth = rng.normal(0, 20, (1, 68))
        points = np.concatenate([landmarks.T, depth]).astype(np.float32)
        stem = folder / "AFLW2000" / f"image{number:05d}"
        write_image(stem.with_suffix(".jpg"), picture)
        write_mat5(stem.with_suffix(".mat"), {"pt2d": missing, **arrays, "pt3d_68": points})
        original.append(points)
        reannotated.append(landmarks.T + rng.normal(0, 1, (2, 68)).round())
    for name, faces in (("", original), ("-Reannotated", reannotated)):
        np.save(folder / f"AFLW2000-3D{name}.pts68.npy", np.array(faces, np.float32))


if __name__ == "__main__":
    run(main, __file__)
