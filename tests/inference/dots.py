"""A stand-in for a trained network that can be checked to a fraction of a pixel.

Pictures are black with a soft dot in each color channel; the model answers with the centroid of
each channel of its crop.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.landmarks import LandmarkScheme

SCHEME = LandmarkScheme(
    name="dots3",
    num_landmarks=3,
    regions={"line": (0, 1, 2)},
    closed_regions=frozenset(),
    flip_pairs=(),
    eye_corners=(0, 1),
)


class DotModel:
    """Finds the dots of a crop, and remembers the batch sizes it was asked for."""

    input_size = 128
    scheme = SCHEME
    num_landmarks = 3

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        images = np.asarray(images)
        assert images.shape[1:] == (128, 128, 3)
        assert images.min() >= 0 and images.max() <= 255
        self.batches.append(len(images))
        weights = images.astype(np.float64)
        mass = weights.sum(axis=(1, 2)) + 1e-9
        axis = np.arange(128.0)
        x = (weights * axis[None, None, :, None]).sum(axis=(1, 2)) / mass
        y = (weights * axis[None, :, None, None]).sum(axis=(1, 2)) / mass
        confidence = weights.max(axis=(1, 2)) / 255
        return np.stack([x, y], axis=-1).astype(np.float32), confidence.astype(np.float32)


class LeaningModel(DotModel):
    """Sees every dot three pixels of the crop too far to the right."""

    def predict_landmarks(
        self, images: np.ndarray, batch_size: int = 32
    ) -> tuple[np.ndarray, np.ndarray]:
        points, confidence = super().predict_landmarks(images, batch_size)
        return points + np.float32([3, 0]), confidence


def draw_dots(width: int, height: int, faces: list[np.ndarray], sigma: float) -> np.ndarray:
    """Draws a black image with a Gaussian dot of `sigma` pixels for each of the points (3, 2)."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    image = np.zeros((height, width, 3), np.float32)
    for points in faces:
        for channel, (cx, cy) in enumerate(points):
            column = np.exp(-((y - cy) ** 2) / (2 * sigma**2))
            row = np.exp(-((x - cx) ** 2) / (2 * sigma**2))
            image[:, :, channel] += 255 * column[:, None] * row[None, :]
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def dots_in(box: tuple[float, float, float, float]) -> np.ndarray:
    """Three points (3, 2) well inside a box."""
    x0, y0, x1, y1 = box
    shares = np.array([[0.3, 0.35], [0.72, 0.4], [0.45, 0.7]])
    return np.array([x0, y0]) + shares * np.array([x1 - x0, y1 - y0])
