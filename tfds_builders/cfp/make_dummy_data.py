"""Draws the small faces in `dummy_data/`, laid out and listed as CFP is.

python -m tfds_builders.cfp.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import draw_face, run, write_image, write_text

FOLDS = 10


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(7000)
    lists: dict[str, list[str]] = {"F": [], "P": []}
    for letter, view in (("F", "frontal"), ("P", "profile")):
        for person in (1, 2):
            for number in (1, 2):
                picture, landmarks = draw_face(rng)
                name = f"{person:03d}/{view}/{number:02d}"
                write_image(folder / "Data" / "Images" / f"{name}.jpg", picture)
                rows = [f"{x:.4f},{y:.4f}" for x, y in landmarks[17:47]]
                write_text(folder / "Data" / "Fiducials" / f"{name}.txt", "\n".join(rows) + "\n")
                index = len(lists[letter]) + 1
                lists[letter].append(f"{index} ../Data/Images/{name}.jpg")
        path = folder / "Protocol" / f"Pair_list_{letter}.txt"
        write_text(path, "\n".join(lists[letter]) + "\n")
    for kind in ("FF", "FP"):
        for fold in range(1, FOLDS + 1):
            place = folder / "Protocol" / "Split" / kind / f"{fold:02d}"
            # Pictures 1 and 2 are the first person's, 3 and 4 the second's.
            write_text(place / "same.txt", "1,2\n" if fold % 2 else "3,4\n")
            write_text(place / "diff.txt", "1,3\n" if fold % 2 else "2,4\n")


if __name__ == "__main__":
    run(main, __file__)
