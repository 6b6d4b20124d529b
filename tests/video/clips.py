"""Short videos for the tests of reading and writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_facealign.video import video_writer

SIZE = (96, 64)


def frame(index: int, size=SIZE) -> np.ndarray:
    """Makes an image whose color encodes its number."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, :] = (10 + 6 * index, 200 - 5 * index, 90)
    return image


def write_clip(path: Path, count: int = 20, rate: float = 20.0) -> Path:
    with video_writer(path, rate, SIZE) as writer:
        for index in range(count):
            writer.write(frame(index))
    return path
