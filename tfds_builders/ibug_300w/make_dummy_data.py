"""Draws the small faces in `dummy_data/`, laid out and labeled as 300W is.

    python -m tfds_builders.ibug_300w.make_dummy_data [FOLDER]

The files vary as those of real copies do: JPEG and PNG, one grayscale, `.pts` with and without a
header, with LF and with CRLF.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import SIZE, draw_face, pts_text, run, template, write_image

__all__ = ["SIZE", "draw_face", "main", "template"]

# Folder, number of faces, suffix.
_FOLDERS = (
    ("afw", 2, ".jpg"),
    ("helen/trainset", 2, ".jpg"),
    ("helen/testset", 1, ".jpg"),
    ("lfpw/trainset", 2, ".png"),
    ("lfpw/testset", 2, ".png"),
    ("ibug", 1, ".jpg"),
    ("Test/01_Indoor", 1, ".png"),
    ("Test/02_Outdoor", 1, ".png"),
)


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(300)
    variant = 0
    for subset, faces, suffix in _FOLDERS:
        for index in range(1, faces + 1):
            picture, landmarks = draw_face(rng)
            if subset == "ibug":
                picture = picture.convert("L")
            stem = folder / subset / f"face_{index:03d}"
            write_image(stem.with_suffix(suffix), picture)
            stem.with_suffix(".pts").write_bytes(pts_text(landmarks, variant))
            variant += 1


if __name__ == "__main__":
    run(main, __file__)
