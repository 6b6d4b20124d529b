"""A drawn set of labeled faces with known faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from keras_facealign.data.labels import LabelSet, load

# Nine points of a face: eyes, brows, nose, mouth, chin.
SHAPE = np.array(
    [
        [-40, -20],
        [-15, -22],
        [17, -21],
        [41, -19],
        [-30, -45],
        [31, -44],
        [2, 12],
        [-22, 38],
        [24, 39],
    ],
    float,
)
NAMES = (
    *("right_eye_outer", "right_eye_inner", "left_eye_inner", "left_eye_outer"),
    *("right_brow", "left_brow", "nose", "right_mouth", "left_mouth"),
)
PARTNER = [3, 2, 1, 0, 5, 4, 6, 8, 7]


def shapes(count: int, seed: int = 0, noise: float = 0.6) -> np.ndarray:
    """Faces (N, 9, 2) in pictures of 200 x 200 pixels, turned, scaled and looking aside."""
    rng = np.random.default_rng(seed)
    faces = []
    for _ in range(count):
        turn, size = np.radians(rng.uniform(-25, 25)), rng.uniform(0.8, 1.2)
        aside = SHAPE * [rng.uniform(0.75, 1), 1] + rng.uniform(-6, 6) * (SHAPE[:, :1] > 0) * [1, 0]
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        faces.append(size * aside @ rotation.T + [100, 100] + rng.normal(0, noise, (9, 2)))
    return np.array(faces)


def picture(seed: int) -> np.ndarray:
    """A picture (200, 200, 3) unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    return np.asarray(coarse.resize((200, 200), Image.Resampling.BICUBIC))


def write_set(folder: Path, faces: np.ndarray, pictures: bool = True) -> LabelSet:
    """Writes faces as CSV with a picture each."""
    titles = [f"{name}_{axis}" for name in NAMES for axis in "xy"]
    rows = [",".join(["file", *titles])]
    for index, face in enumerate(faces):
        name = f"{index:03d}.png"
        if pictures:
            Image.fromarray(picture(index)).save(folder / name, compress_level=1)
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in face.ravel()]
        rows.append(",".join([name, *cells]))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return load(folder / "labels.csv")
