"""Draws the small faces in `dummy_data/`, laid out and labeled as MERL-RAV is.

python -m tfds_builders.merl_rav.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_facealign.data.readers.merl_rav import POSES
from tfds_builders._drawing import draw_face, run, write_image, write_text


def signed_text(landmarks: np.ndarray, visibility: np.ndarray) -> str:
    """The `.pts` file of 0-based landmarks: minus signs where occluded, -1 -1 where hidden."""
    rows = []
    for (x, y), seen in zip(landmarks + 1, visibility, strict=True):
        sign = "" if seen == 2 else "-"
        rows.append(f"{sign}{x:.2f} {sign}{y:.2f}" if seen else "-1 -1")
    return "\n".join(["version: 1", f"n_points:  {len(rows)}", "{", *rows, "}"]) + "\n"


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(19314)
    number = 19
    for pose in POSES:
        for split in ("trainset", "testset"):
            picture, landmarks = draw_face(rng)
            visibility = rng.choice([1, 2, 2, 2], 68)
            if pose.startswith("left"):
                visibility[9:17] = 0
            elif pose.startswith("right"):
                visibility[:8] = 0
            stem = folder / "merl_rav_organized" / pose / split / f"image{number:05d}"
            write_image(stem.with_suffix(".jpg"), picture)
            write_text(stem.with_suffix(".pts"), signed_text(landmarks, visibility))
            number += 21


if __name__ == "__main__":
    run(main, __file__)
