"""Rasterizes triangles with a z-buffer in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Pixels of the triangles' boxes processed together; limits the memory.
_CHUNK = 1_000_000


@dataclass(frozen=True, eq=False)
class Raster:
    """The nearest triangle of each pixel.

    Attributes:
        triangle: int64 (H, W), its index, -1 where there is none.
        weights: float32 (H, W, 3), barycentric weights of the pixel's center in it.
        depth: float32 (H, W), its z there; -inf where there is no triangle.
    """

    triangle: np.ndarray
    weights: np.ndarray
    depth: np.ndarray

    def interpolate(self, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Interpolates values of the vertices over the pixels.

        Args:
            triangles: int (T, 3), those that were drawn.
            values: float (V, C), of each vertex.

        Returns:
            float32 (H, W, C); undefined where there is no triangle.
        """
        corners = values.astype(np.float32)[triangles[self.triangle]]
        return np.einsum("hwkc,hwk->hwc", corners, self.weights)


def rasterize(vertices: np.ndarray, triangles: np.ndarray, height: int, width: int) -> Raster:
    """Draws triangles, nearer ones in front.

    Args:
        vertices: float (V, 3), x and y in pixels (0-based centers), z larger nearer to the viewer.
        triangles: int (T, 3); both sides are drawn.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        The nearest triangle of each pixel.

    Example:
        >>> corners = np.array([[-1.0, -1, 0], [5, -1, 0], [-1, 5, 0]])
        >>> rasterize(corners, np.array([[0, 1, 2]]), 2, 2).triangle
        array([[0, 0],
               [0, 0]])
    """
    owner = np.full(height * width, -1, np.int64)
    weights = np.zeros((height * width, 3), np.float32)
    depth = np.full(height * width, -np.inf, np.float32)
    corners = np.asarray(vertices, np.float64)[triangles]  # (T, 3, 3)
    low = np.ceil(corners[..., :2].min(axis=1) - 1e-6)
    high = np.floor(corners[..., :2].max(axis=1) + 1e-6)
    low = np.clip(low, 0, [width, height]).astype(np.int64)
    high = np.clip(high, -1, [width - 1, height - 1]).astype(np.int64)
    span = np.maximum(high - low + 1, 0)
    planes, flat = _planes(corners)
    count = np.where(flat, 0, span[:, 0] * span[:, 1])
    drawn = np.flatnonzero(count)
    ends = np.cumsum(count[drawn])
    first = 0
    while first < len(drawn):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        part = drawn[first:last]
        first = last
        which = np.repeat(part, count[part])
        place = np.arange(len(which)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        row, column = np.divmod(place, np.repeat(span[part, 0], count[part]))
        row += np.repeat(low[part, 1], count[part])
        column += np.repeat(low[part, 0], count[part])
        along_x, along_y, start = (
            np.repeat(planes[part, i], count[part], axis=0) for i in (0, 1, 2)
        )
        # The weights of the first two corners, and the depth.
        u, v, z = (along_x * column[:, None] + along_y * row[:, None] + start).T
        inside = np.flatnonzero((u >= -1e-7) & (v >= -1e-7) & (u + v <= 1 + 1e-7))
        index = (row * width + column)[inside]
        z = z[inside]
        # Of several triangles on one pixel, the nearest is written last and stays.
        order = np.argsort(z)
        order = order[z[order] > depth[index[order]]]
        index, inside = index[order], inside[order]
        owner[index] = which[inside]
        weights[index] = np.stack([u[inside], v[inside], 1.0 - u[inside] - v[inside]], axis=1)
        depth[index] = z[order]
    shape = (height, width)
    return Raster(owner.reshape(shape), weights.reshape(*shape, 3), depth.reshape(shape))


def _planes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and depth as linear functions of x and y over each triangle.

    Returns:
        float64 (T, 3, 3): slopes along x, slopes along y and values at (0, 0) of the weights of the
        first two corners and of the depth; bool (T,), true where a triangle has no area.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners.transpose(1, 2, 0)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    flat = np.abs(area) < 1e-9
    area = np.where(flat, 1.0, area)
    u = np.stack([by - cy, cx - bx, bx * cy - by * cx]) / area
    v = np.stack([cy - ay, ax - cx, cx * ay - cy * ax]) / area
    depth = u * (az - cz) + v * (bz - cz)
    depth[2] += cz
    return np.stack([u, v, depth], axis=-1).transpose(1, 0, 2), flat
