"""Draws the small faces in `dummy_data/`, laid out and labeled as FaceSynthetics is.

python -m tfds_builders.face_synthetics.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tfds_builders._drawing import draw_face, run, write_image, write_text


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(100_000)
    for number in range(3):
        picture, landmarks = draw_face(rng)
        pupils = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
        rows = [f"{x:.3f} {y:.3f}" for x, y in [*landmarks, *pupils]]
        write_image(folder / f"{number:06d}.png", picture)
        write_text(folder / f"{number:06d}_ldmks.txt", "\n".join(rows) + "\n")
        # Classes of the pixels: 0 is the background, 1 the skin.
        background = np.asarray(picture)[0, 0]
        classes = (np.asarray(picture) != background).any(axis=2)
        write_image(folder / f"{number:06d}_seg.png", Image.fromarray(np.uint8(classes)))


if __name__ == "__main__":
    run(main, __file__)
