"""Draws the small faces in `dummy_data/`, laid out and listed as LFW is.

python -m tfds_builders.lfw_pairs.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import draw_face, run, write_image, write_text

_PEOPLE = ("Ada_Drawn", "Bo_Drawn", "Cy_van_Drawn")

_LISTS = {
    "pairs.txt": (
        "2\t2",
        *("Ada_Drawn\t1\t2", "Bo_Drawn\t1\t2"),
        *("Ada_Drawn\t1\tBo_Drawn\t1", "Ada_Drawn\t2\tCy_van_Drawn\t1"),
        *("Cy_van_Drawn\t1\t2", "Bo_Drawn\t2\t1"),
        *("Bo_Drawn\t2\tCy_van_Drawn\t2", "Ada_Drawn\t1\tCy_van_Drawn\t2"),
    ),
    "pairsDevTrain.txt": ("1", "Ada_Drawn\t1\t2", "Ada_Drawn\t1\tBo_Drawn\t2"),
    "pairsDevTest.txt": ("1", "Cy_van_Drawn\t1\t2", "Bo_Drawn\t1\tCy_van_Drawn\t2"),
}


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(13233)
    for person in _PEOPLE:
        for number in (1, 2):
            picture, _ = draw_face(rng)
            write_image(folder / "lfw" / person / f"{person}_{number:04d}.jpg", picture)
    for name, lines in _LISTS.items():
        write_text(folder / name, "\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main, __file__)
