"""Target heatmaps, drawn from ground-truth landmarks.

The default are Gaussians at the landmarks' sub-pixel positions. The original MXNet code rounds down
to a pixel of the map first, and draws either a small patch around it or that pixel alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_facealign.ops.heatmap import draw_heatmaps, input_to_map


def gaussian_targets(landmarks: Any, input_size: int, map_size: int, sigma: float) -> Any:
    """Draws one Gaussian per landmark, centered at its sub-pixel position.

    Args:
        landmarks: float (B, K, 2) in input pixels, x before y.
        input_size: Side of the network's input in pixels.
        map_size: Side of the maps in pixels.
        sigma: Standard deviation in map pixels.

    Returns:
        float32 (B, map_size, map_size, K), 1 at the exact center.
    """
    return draw_heatmaps(input_to_map(landmarks, input_size, map_size), map_size, sigma)


def patch_targets(landmarks: Any, input_size: int, map_size: int, sigma: float) -> Any:
    """Draws a square patch of a Gaussian around the pixel that a landmark falls into, 0 elsewhere.

    The patch has 6 sigma + 1 pixels a side and is cut off at the map's border. Source: the label
    maps of deep-face-alignment, where the pixel is `int(x / 2)`, which ignores pixel centers.

    Args:
        landmarks: float (B, K, 2) in input pixels, x before y.
        input_size: Side of the network's input in pixels.
        map_size: Side of the maps in pixels.
        sigma: Standard deviation in map pixels, an integer.

    Returns:
        float32 (B, map_size, map_size, K), 1 at the pixel.

    Example:
        >>> maps = patch_targets(ops.full((1, 1, 2), 9.0), 16, 8, 1)
        >>> [round(float(v), 3) for v in maps[0, 4, :, 0]]
        [0.0, 0.011, 0.135, 0.607, 1.0, 0.607, 0.135, 0.011]
    """
    center = _pixel(landmarks, input_size, map_size)
    grid = ops.reshape(ops.arange(map_size, dtype="float32"), (1, map_size, 1))
    rows = []
    for axis in (0, 1):
        distance = grid - center[:, None, :, axis]
        value = ops.exp(-ops.square(distance) / (2.0 * sigma**2))
        rows.append(ops.where(ops.abs(distance) <= 3 * sigma, value, 0.0))
    return ops.expand_dims(rows[1], 2) * ops.expand_dims(rows[0], 1)


def one_hot_targets(landmarks: Any, input_size: int, map_size: int, sigma: float = 0.0) -> Any:
    """Sets the pixel that a landmark falls into to 1.

    Source: `alignment/heatmap` and `alignment/hg2.py` of InsightFace.

    Args:
        landmarks: float (B, K, 2) in input pixels, x before y.
        input_size: Side of the network's input in pixels.
        map_size: Side of the maps in pixels.
        sigma: Ignored.

    Returns:
        float32 (B, map_size, map_size, K).
    """
    del sigma
    center = _pixel(landmarks, input_size, map_size)
    grid = ops.reshape(ops.arange(map_size, dtype="float32"), (1, map_size, 1))
    columns, rows = (ops.equal(grid, center[:, None, :, axis]) for axis in (0, 1))
    both = ops.logical_and(ops.expand_dims(rows, 2), ops.expand_dims(columns, 1))
    return ops.cast(both, "float32")


def _pixel(landmarks: Any, input_size: int, map_size: int) -> Any:
    """Returns map pixels as float32, truncated towards zero like the original's `int()`."""
    position = ops.cast(landmarks, "float32") * (map_size / input_size)
    return ops.where(position < 0, ops.ceil(position), ops.floor(position))


TARGETS: dict[str, Callable[[Any, int, int, float], Any]] = {
    "gaussian": gaussian_targets,
    "patch": patch_targets,
    "one_hot": one_hot_targets,
}
