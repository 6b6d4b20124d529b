"""Small faces that the readers' tests write, and the folders of real faces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_facealign.data.pts import write_pts


def make_face(folder: Path, stem: str, seed: int = 0, suffix: str = ".png") -> np.ndarray:
    """Writes a picture of noise with 68 landmarks in it; returns the landmarks."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(
        folder / (stem + suffix)
    )
    landmarks = rng.uniform([0, 0], [29, 39], (68, 2)).astype(np.float32)
    write_pts(folder / f"{stem}.pts", landmarks)
    return landmarks


def real_copy(name: str) -> Path:
    root = os.environ.get("KERAS_FACEALIGN_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"KERAS_FACEALIGN_DATA has no folder {name}")
    return Path(root) / name
