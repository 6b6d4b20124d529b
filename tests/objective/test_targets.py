"""Maps drawn from landmarks: against slow loops and the original code's label maps."""

import numpy as np
import pytest
from keras import ops

from keras_facealign.objective.targets import (
    TARGETS,
    gaussian_targets,
    one_hot_targets,
    patch_targets,
)
from tests.paths import TESTS

STORED = TESTS / "data" / "mxnet" / "losses.npz"


def drawn(function, points, input_size=32, map_size=16, sigma=1):
    tensor = ops.convert_to_tensor(np.asarray(points, "float32"))
    maps = function(tensor, input_size, map_size, sigma)
    assert tuple(maps.shape) == (*tensor.shape[:1], map_size, map_size, tensor.shape[1])
    assert "float32" in str(maps.dtype)
    return ops.convert_to_numpy(maps)


def slow_patches(points, sigma, map_size=16):
    """Pastes a patch of 6 sigma + 1 pixels around `int(x / 2)`, and cuts it off at the border."""
    maps = np.zeros((len(points), map_size, map_size, len(points[0])))
    for b, k in np.ndindex(*maps.shape[::3]):
        column, row = (int(value / 2) for value in points[b][k])
        for dy in range(-3 * sigma, 3 * sigma + 1):
            for dx in range(-3 * sigma, 3 * sigma + 1):
                y, x = row + dy, column + dx
                if 0 <= y < map_size and 0 <= x < map_size:
                    maps[b, y, x, k] = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
    return maps


def some_points(count=4):
    points = np.random.default_rng(0).uniform(-0.5, 31.5, (count, 5, 2))
    points[0, :4] = [(-0.5, -0.5), (31.49, 31.49), (9.99, 10.0), (1.0, 30.0)]
    return points.astype("float32")


@pytest.mark.parametrize("sigma", [1, 2])
def test_patches_against_a_loop(sigma):
    points = some_points()
    found = drawn(patch_targets, points, sigma=sigma)
    np.testing.assert_allclose(found, slow_patches(points.tolist(), sigma), atol=1e-6)


def test_one_pixel_each_at_the_patchs_peak():
    points = some_points()
    found = drawn(one_hot_targets, points)
    np.testing.assert_array_equal(found.sum((1, 2)), np.ones((4, 5)))
    np.testing.assert_array_equal(found, drawn(patch_targets, points) == 1)


def test_gaussians_are_centerd_where_the_landmark_is():
    points = some_points()
    found = drawn(gaussian_targets, points, sigma=1.5)
    rows, columns = np.mgrid[:16, :16]
    for b, k in np.ndindex(4, 5):
        x, y = (points[b, k].astype(float) + 0.5) / 2 - 0.5
        expected = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.5**2))
        np.testing.assert_allclose(found[b, :, :, k], expected, atol=1e-5)


def test_landmarks_far_outside_leave_empty_maps():
    points = [[[1e9, 5], [-1e9, 5], [5, 64], [-40, -40]]]
    for function in TARGETS.values():
        assert not drawn(function, points).any()


@pytest.mark.parametrize("inside_the_pixel", [0.0, 1.9])
def test_label_maps_are_the_original_codes(inside_the_pixel):
    with np.load(STORED) as stored:
        points = 2.0 * stored["points"][None] + inside_the_pixel
        names = {"one_hot": (one_hot_targets, 0, 1), "patch1": (patch_targets, 1, 20)}
        names["patch2"] = (patch_targets, 2, 20)
        for name, (function, sigma, peak) in names.items():
            found = peak * drawn(function, points, 128, 64, sigma)[0]
            expected = stored[name].transpose(1, 2, 0)
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)
