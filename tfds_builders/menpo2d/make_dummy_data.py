"""Draws the small faces in `dummy_data/`, laid out and labeled as Menpo2D is.

    python -m tfds_builders.menpo2d.make_dummy_data [FOLDER]

The training faces lie mixed in one folder, as in the challenge's archive, the test faces in one
folder for each kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import draw_face, pts_text, run, write_image

# Folder, stem, number of landmarks.
_FACES = (
    ("menpo_train_release", "aflw__face_39844", 68),
    ("menpo_train_release", "aflw__face_41018", 39),
    ("menpo_train_release", "fddb_img_118", 68),
    ("menpo_train_release", "fddb_img_265", 39),
    ("Menpo2D/Test/image/semifrontal", "00001", 68),
    ("Menpo2D/Test/image/profile", "00001", 39),
)


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(2017)
    for variant, (subset, stem, count) in enumerate(_FACES):
        picture, landmarks = draw_face(rng)
        write_image(folder / subset / f"{stem}.jpg", picture)
        (folder / subset / f"{stem}.pts").write_bytes(pts_text(landmarks[:count], variant))


if __name__ == "__main__":
    run(main, __file__)
