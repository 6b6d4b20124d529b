"""The rasterizer agrees with loops over pixels and triangles."""

from __future__ import annotations

import numpy as np

from keras_facealign.data.face_profiling.rasterizer import rasterize


def slow_raster(vertices, triangles, height, width):
    """One pixel and one triangle at a time, by solving for the weights."""
    owner = np.full((height, width), -1)
    depth = np.full((height, width), -np.inf)
    for index, triangle in enumerate(triangles):
        corners = vertices[triangle]
        matrix = np.vstack([corners[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        for row in range(height):
            for column in range(width):
                weights = np.linalg.solve(matrix, [column, row, 1.0])
                z = weights @ corners[:, 2]
                if (weights >= -1e-9).all() and z > depth[row, column]:
                    owner[row, column], depth[row, column] = index, z
    return owner, depth


def test_rasterize_against_loops(monkeypatch):
    rng = np.random.default_rng(2)
    vertices = rng.uniform(-4, 18, (30, 3))
    triangles = rng.integers(0, 30, (40, 3))
    owner, depth = slow_raster(vertices, triangles, 12, 14)
    for chunk in (1_000_000, 50):  # all at once, and in many parts
        monkeypatch.setattr("keras_facealign.data.face_profiling.rasterizer._CHUNK", chunk)
        found = rasterize(vertices, triangles, 12, 14)
        np.testing.assert_array_equal(found.triangle, owner)
        np.testing.assert_allclose(found.depth, depth, atol=1e-4)
    covered = owner >= 0
    places = found.interpolate(triangles, vertices)[covered]
    row, column = np.nonzero(covered)
    np.testing.assert_allclose(places, np.stack([column, row, depth[covered]], 1), atol=1e-3)
    np.testing.assert_allclose(found.weights[covered].sum(axis=1), 1.0, atol=1e-5)


def test_nothing_to_draw():
    found = rasterize(np.zeros((3, 3)), np.zeros((0, 3), int), 4, 5)
    assert (found.triangle == -1).all() and found.depth.shape == (4, 5)
