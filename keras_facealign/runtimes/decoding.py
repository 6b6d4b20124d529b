"""Heatmaps to landmarks in NumPy: `keras_facealign.ops.decode_heatmaps` without a backend.

The methods and their constants are those of `keras_facealign.ops.heatmap`, which says what they
are; here maps are channels first, as the runtimes give them.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["decode"]

_RADIUS = 3


def decode(
    heatmaps: np.ndarray, input_size: int, method: str = "taylor"
) -> tuple[np.ndarray, np.ndarray]:
    """Reads landmarks and confidence out of raw heatmaps.

    Args:
        heatmaps: float32 (B, K, S, S), logits.
        input_size: Side of the network's input in pixels.
        method: A decoding method, see `keras_facealign.ops.decode_heatmaps`.

    Returns:
        Landmarks, float32 (B, K, 2) in input pixels, x before y; and confidence, float32 (B, K).

    Raises:
        FaceAlignError: If `method` is unknown.
    """
    map_size = heatmaps.shape[-1]
    confidence = _sigmoid(heatmaps.max(axis=(2, 3)))
    if method == "upsample":
        weights = _bilinear(map_size, input_size)
        points = _peak(weights @ heatmaps @ weights.T)
        return points[..., ::-1].astype(np.float32), confidence
    if method not in _METHODS:
        raise FaceAlignError(f"Unknown decoding method {method!r}.")
    points = _METHODS[method](heatmaps, _peak(heatmaps))[..., ::-1]
    scale = input_size / map_size
    return ((points + 0.5) * scale - 0.5).astype(np.float32), confidence


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return (0.5 * (1.0 + np.tanh(0.5 * x))).astype(np.float32)


def _bilinear(source: int, target: int) -> np.ndarray:
    """(target, source) weights of linear interpolation between pixel centers."""
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    low = np.floor(position)
    weights = np.zeros((target, source), np.float32)
    for index, share in ((low, 1 - (position - low)), (low + 1, position - low)):
        np.add.at(weights, (np.arange(target), np.clip(index, 0, source - 1).astype(int)), share)
    return weights


def _peak(maps: np.ndarray) -> np.ndarray:
    """Row and column, int (B, K, 2), of the first highest pixel."""
    batch, k, _, width = maps.shape
    index = maps.reshape(batch, k, maps.shape[2] * width).argmax(axis=2)
    return np.stack([index // width, index % width], axis=-1)


def _window(maps: np.ndarray, center: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Values, (B, K, N, N), around the centers, and their rows and columns, (B, K, 2, N)."""
    batch, k, size, _ = maps.shape
    places = center[..., None] + np.arange(-radius, radius + 1)
    inside = np.clip(places, 0, size - 1)
    b, c = np.ogrid[:batch, :k]
    rows, columns = inside[:, :, 0, :, None], inside[:, :, 1, None, :]
    return maps[b[..., None, None], c[..., None, None], rows, columns], places


def _taylor(maps: np.ndarray, peak: np.ndarray) -> np.ndarray:
    size = maps.shape[-1]
    center = np.clip(peak, 2, max(size - 3, 2))
    values, _ = _window(maps, center, 2)
    p = _sigmoid(values)
    p = p[..., :-2, :] + 2.0 * p[..., 1:-1, :] + p[..., 2:, :]
    p = (p[..., :-2] + 2.0 * p[..., 1:-1] + p[..., 2:]) / 16.0
    p = np.log(np.maximum(p, 1e-10))
    dx = 0.5 * (p[..., 1, 2] - p[..., 1, 0])
    dy = 0.5 * (p[..., 2, 1] - p[..., 0, 1])
    dxx = p[..., 1, 2] - 2.0 * p[..., 1, 1] + p[..., 1, 0]
    dyy = p[..., 2, 1] - 2.0 * p[..., 1, 1] + p[..., 0, 1]
    dxy = 0.25 * (p[..., 2, 2] - p[..., 2, 0] - p[..., 0, 2] + p[..., 0, 0])
    det = dxx * dyy - dxy * dxy
    good = (det > 1e-12) & (dxx < 0)
    safe = np.where(good, det, 1.0)
    newton = np.stack([-(dxx * dy - dxy * dx) / safe, -(dyy * dx - dxy * dy) / safe], axis=-1)
    step = np.clip(center + newton - peak, -1.0, 1.0)
    return peak + np.where(good[..., None], step, 0.0)


def _soft_argmax(maps: np.ndarray, peak: np.ndarray) -> np.ndarray:
    size = maps.shape[-1]
    values, places = _window(maps, peak, _RADIUS)
    inside = (places >= 0) & (places < size)
    mass = _sigmoid(values) * (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]) + 1e-12
    total = mass.sum(axis=(2, 3))
    rows = (mass.sum(axis=3) * places[:, :, 0]).sum(axis=2) / total
    columns = (mass.sum(axis=2) * places[:, :, 1]).sum(axis=2) / total
    return np.stack([rows, columns], axis=-1)


_METHODS = {
    "argmax": lambda maps, peak: peak,
    "soft_argmax": _soft_argmax,
    "taylor": _taylor,
}
