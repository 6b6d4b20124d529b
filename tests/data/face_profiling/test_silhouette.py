"""Contour lines lie on the skin and contain the outline of a turned head."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.data.face_profiling.silhouette import JAW, contour_lines


def test_contour_lines_lie_on_the_skin(model):
    lines = contour_lines(model)
    for line in lines.neutral[[0, 4, 8, 12]].reshape(-1, 3):
        # The nearest vertex is no farther than a side of the mesh's quadrilaterals.
        assert np.linalg.norm(model.neutral - line, axis=1).min() < 0.6
    # Each line passes by its landmark.
    marks = model.neutral[model.landmarks[:JAW]]
    nearest = np.linalg.norm(lines.neutral - marks[:, None], axis=2).min(axis=1)
    assert nearest.max() < 0.5


@pytest.mark.parametrize("yaw", [-60, -30, 30, 60])
def test_the_outline_of_the_far_side_is_that_of_all_vertices(model, yaw):
    lines = contour_lines(model)
    rotation = rotation_from_angles(0, yaw, 0)
    points = lines.points(np.zeros(model.num_coefficients))
    chosen = lines.outermost(points, rotation)
    side = 2 if yaw > 0 else 14  # the far side's landmark at the cheek
    found = points[side, chosen[side]] @ rotation.T
    level = np.abs(model.neutral[:, 1] - lines.neutral[side, 0, 1]) < 0.4
    everything = model.neutral[level & (model.neutral[:, 2] > -2)] @ rotation.T
    reach = everything[:, 0].min() if yaw > 0 else everything[:, 0].max()
    assert found[0] == pytest.approx(reach, abs=0.35)
