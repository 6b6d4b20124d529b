"""Draws the small faces in `dummy_data/`, laid out and labeled as WFLW is.

python -m tfds_builders.wflw.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from tfds_builders._drawing import SIZE, draw_face, run, write_image, write_text

_SUBSETS = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")
# Picture and flags of each face; faces of one picture follow each other and stand side by side.
_TRAIN = (
    ("0--Parade/0_Parade_marchingband_1_116.jpg", "000000"),
    ("0--Parade/0_Parade_marchingband_1_116.jpg", "100010"),
    ("37--Soccer/37_Soccer_soccer_ball_37_45.jpg", "000000"),
)
_TEST = (
    ("7--Cheering/7_Cheering_Cheering_7_16.jpg", "110000"),
    ("9--Press/9_Press_Conference_9_89.jpg", "001110"),
    ("9--Press/9_Press_Conference_9_89.jpg", "000001"),
)


def landmarks_98(landmarks: np.ndarray) -> np.ndarray:
    """(98, 2) of a drawing's (68, 2): the same lines, with points between."""

    def between(points: np.ndarray, count: int) -> np.ndarray:
        """`count` points at even steps along a line."""
        steps = np.linspace(0, len(points) - 1, count)
        return np.stack([np.interp(steps, range(len(points)), axis) for axis in points.T], axis=1)

    def ring(first: int) -> np.ndarray:
        return between(landmarks[[*range(first, first + 6), first]], 9)[:8]

    brows = [
        np.concatenate([landmarks[a : a + 5], landmarks[a + 3 : a - 1 : -1]]) for a in (17, 22)
    ]
    pupils = [landmarks[a : a + 6].mean(axis=0, keepdims=True) for a in (36, 42)]
    jaw, nose, mouth = between(landmarks[:17], 33), landmarks[27:36], landmarks[48:68]
    return np.concatenate([jaw, *brows, nose, ring(36), ring(42), mouth, *pupils])


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(98)
    annotations = folder / "WFLW_annotations"
    subsets: dict[str, list[str]] = {subset: [] for subset in _SUBSETS}
    for split, faces in (("train", _TRAIN), ("test", _TEST)):
        lines = []
        starts = [i for i, (a, b) in enumerate(pairwise([("", ""), *faces])) if a[0] != b[0]]
        for start, stop in pairwise([*starts, len(faces)]):
            picture = Image.new("RGB", (SIZE * (stop - start), SIZE))
            for index in range(start, stop):
                name, flags = faces[index]
                face, landmarks = draw_face(rng)
                left = SIZE * (index - start)
                picture.paste(face, (left, 0))
                points = landmarks_98(landmarks) + np.array([left, 0])
                rect = [*np.floor(points.min(axis=0)), *np.ceil(points.max(axis=0))]
                coordinates = " ".join(f"{value:.6f}" for value in points.ravel())
                box = " ".join(str(int(value)) for value in rect)
                lines.append(f"{coordinates} {box} {' '.join(flags)} {name}")
                for subset, flag in zip(_SUBSETS, flags, strict=True):
                    if split == "test" and flag == "1":
                        subsets[subset].append(f"{coordinates} {name}")
            write_image(folder / "WFLW_images" / faces[start][0], picture)
        path = annotations / "list_98pt_rect_attr_train_test" / f"list_98pt_rect_attr_{split}.txt"
        write_text(path, "\n".join(lines) + "\n")
    for subset, lines in subsets.items():
        path = annotations / "list_98pt_test" / f"list_98pt_test_{subset}.txt"
        write_text(path, "\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main, __file__)
