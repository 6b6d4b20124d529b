"""Drawn persons: colors that a simple network tells apart, and a folder like CFP's of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from keras_facealign.inference import FaceAligner
from keras_facealign.landmarks import mean_face
from keras_facealign.recognition import Embedder

BOX = (8.0, 8.0, 40.0, 40.0)


class Finder:
    """A model that finds the 68 points of the mean face in every crop."""

    input_size = 64

    def __init__(self, confidence: float = 0.9) -> None:
        self.confidence = confidence

    def predict_landmarks(self, images, batch_size=32):
        face = mean_face()[:, :2]
        points = 49 * (face - face.min(0)) / np.ptp(face, axis=0).max() + 7
        shape = (len(images), 68)
        return np.broadcast_to(points, (*shape, 2)), np.full(shape, self.confidence)


def finder(image: np.ndarray) -> list[tuple[float, ...]]:
    """A detector of one face, and none in a picture that is as wide as high."""
    return [] if image.shape[0] == image.shape[1] else [BOX]


def aligner(confidence: float = 0.9) -> FaceAligner:
    return FaceAligner(Finder(confidence), finder)


def mean_color(size: int = 32) -> Embedder:
    """A network whose vectors are the mean color of the crop's middle."""
    middle = slice(size // 4, 3 * size // 4)
    return Embedder(
        lambda x: {"vectors": x[:, middle, middle].mean((1, 2))}, size, "colors", mean=128
    )


def draw_person(path: Path, person: int, seed: int, size: tuple[int, int] = (48, 56)) -> None:
    """Writes a picture of (height, width) in the color of a person from 0 to 7, with noise."""
    rng = np.random.default_rng(seed)
    color = np.where([person & 1, person & 2, person & 4], 230, 25)
    noise = rng.integers(-20, 21, (*size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(color + noise, 0, 255).astype(np.uint8)).save(path)


def draw_cfp(root: Path, persons: int = 20, pictures: int = 3) -> Path:
    """Makes a folder in CFP's layout: ten folds, each of two persons of opposite colors."""
    lists: dict[str, list[str]] = {"F": [], "P": []}
    for kind, letter in (("frontal", "F"), ("profile", "P")):
        for person in range(persons):
            for k in range(pictures):
                name = f"Data/Images/{person + 1:03d}/{kind}/{k + 1:02d}.png"
                draw_person(root / name, 7 * (person % 2), seed=100 * person + k)
                lists[letter].append(f"{len(lists[letter]) + 1} ../{name}")
    for letter, lines in lists.items():
        path = root / f"Protocol/Pair_list_{letter}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    for split in ("FF", "FP"):
        for fold in range(10):
            first, other = pictures * 2 * fold + 1, pictures * (2 * fold + 1) + 1
            folder = root / f"Protocol/Split/{split}/{fold + 1:02d}"
            folder.mkdir(parents=True)
            _write(folder / "same.txt", [(first, first + 1), (other, other + 2)])
            _write(folder / "diff.txt", [(first, other + 1), (other, first + 2)])
    return root


def _write(path: Path, pairs: Iterable[tuple[int, int]]) -> None:
    path.write_text("".join(f"{a},{b}\n" for a, b in pairs))
