"""What the scripts for figures share: the portrait, its crop, and how a figure is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from keras_facealign import from_preset, read_image
from keras_facealign.geometry import crop_face, crop_matrix

matplotlib.use("Agg")
matplotlib.rcParams["axes.titlesize"] = 8

FOLDER = Path(__file__).resolve().parent
PHOTO = FOLDER.parents[1] / "examples" / "astronaut.jpg"
BOX = np.array((184, 72, 268, 186), "float32")
TEAL, RED, GRAY = "#00897b", "#d84315", "#78909c"


def network_and_crop(preset: str = "sat1_cab_mobile") -> tuple[Any, np.ndarray]:
    """A trained model and the uint8 crop (S, S, 3) of the portrait's face."""
    model = from_preset(preset)
    matrix = crop_matrix(BOX, model.input_size)
    return model, crop_face(read_image(PHOTO), matrix, model.input_size)


def panels(count: int, width: float = 2.6) -> tuple[Any, list[Any]]:
    """A figure with a row of square axes without ticks."""
    figure, axes = plt.subplots(
        1, count, figsize=(width * count, width + 0.3), squeeze=False, dpi=130
    )
    for axis in axes[0]:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, list(axes[0])


def save(figure: Any, name: str) -> None:
    """Writes docs/figures/NAME.png with a palette of 256 colors, which keeps it small."""
    from PIL import Image

    figure.tight_layout()
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    path = FOLDER / f"{name}.png"
    Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path.name, path.stat().st_size // 1024, "kB")
