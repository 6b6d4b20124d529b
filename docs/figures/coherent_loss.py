"""Draws docs/figures/coherent_loss.png: two views of a face, and what the coherent loss compares.

python docs/figures/coherent_loss.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import network_and_crop, panels, save
from keras import ops

from keras_facealign.geometry import compose, flip_matrix, similarity
from keras_facealign.ops import warp_affine

ANGLE, SCALE = np.deg2rad(25), 0.9


def move(images: np.ndarray) -> np.ndarray:
    """Mirrors float32 images (1, S, S, C), then turns and shrinks them about their center."""
    side = images.shape[1]
    middle = (side - 1) / 2
    turn = similarity(np.float32(SCALE), np.float32(ANGLE), (0.0, 0.0), (middle, middle))
    matrix: Any = compose(turn, flip_matrix(np.float32(1), side))
    matrix = np.asarray(matrix, "float32")[None]
    return np.asarray(ops.convert_to_numpy(warp_affine(images, matrix)))


def main() -> None:
    model, crop = network_and_crop()
    image = crop[None].astype("float32")
    second = move(image)
    maps = [1 / (1 + np.exp(-np.asarray(model(view)[-1]))) for view in (image, second)]
    moved = move(maps[0][..., model.scheme.flip_permutation])

    figure, axes = panels(5, width=2.1)
    axes[0].imshow(crop)
    axes[0].set_title("first view, I")
    axes[1].imshow(second[0].round().clip(0, 255).astype("uint8"))
    axes[1].set_title("second view, T I")
    for axis, values, title in (
        (axes[2], moved, "heatmaps of I, moved by T"),
        (axes[3], maps[1], "heatmaps of T I"),
        (axes[4], np.abs(moved - maps[1]), "difference"),
    ):
        axis.imshow(values[0].max(axis=-1), cmap="magma", vmin=0, vmax=0.8)
        axis.set_title(title)
    save(figure, "coherent_loss")


if __name__ == "__main__":
    main()
