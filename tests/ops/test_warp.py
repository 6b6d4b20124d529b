"""Warping against a loop over pixels, and against the geometry of points."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign import geometry
from keras_facealign.ops import inside_mask, warp_affine
from tests.ops.autodiff import finite_differences, gradient

IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def run(images, matrix, output_size=None):
    result = warp_affine(images, np.asarray(matrix, np.float32), output_size)
    return ops.convert_to_numpy(result)


def similarities(count, size, seed=0):
    rng = np.random.default_rng(seed)
    center = (size - 1) / 2
    return np.stack(
        [
            geometry.compose(
                geometry.similarity(
                    rng.uniform(0.7, 1.4),
                    rng.uniform(-1, 1),
                    tuple(rng.uniform(-3, 3, 2)),
                    (center, center),
                ),
                geometry.flip_matrix(float(rng.integers(2)), size),
            )
            for _ in range(count)
        ]
    ).astype(np.float32)


def source_of(matrix, x, y):
    inverse = np.linalg.inv(np.vstack([matrix.astype(np.float64), [0, 0, 1]]))
    return (inverse @ [x, y, 1])[:2]


def slow_warp(image, matrix, output_size):
    """One pixel at a time: the four neighbors that exist, weighted by nearness."""
    height, width, channels = image.shape
    result = np.zeros((*output_size, channels))
    for y in range(output_size[0]):
        for x in range(output_size[1]):
            sx, sy = source_of(matrix, x, y)
            for row in (math.floor(sy), math.floor(sy) + 1):
                for column in (math.floor(sx), math.floor(sx) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(sx - column)) * (1 - abs(sy - row))
                        result[y, x] += weight * image[row, column]
    return result


@pytest.mark.parametrize("size, output", [((12, 12), None), ((9, 14), (16, 7)), ((5, 5), (20, 20))])
def test_against_a_loop(size, output):
    images = np.random.default_rng(1).uniform(-2, 2, (3, *size, 2)).astype(np.float32)
    matrix = similarities(3, size[1])
    found = run(images, matrix, output)
    expected = [slow_warp(i, m, output or size) for i, m in zip(images, matrix, strict=True)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.abs(found).max() > 1


def test_general_matrices_against_a_loop():
    images = np.random.default_rng(2).uniform(0, 1, (1, 8, 8, 1)).astype(np.float32)
    matrix = np.array([[[1.3, 0.4, -2.0], [-0.2, 0.6, 3.0]]], np.float32)
    expected = slow_warp(images[0], matrix[0], (8, 8))
    np.testing.assert_allclose(run(images, matrix)[0], expected, atol=1e-5)


def test_identity_changes_nothing():
    images = np.random.default_rng(3).uniform(0, 255, (2, 7, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(images, [IDENTITY] * 2), images)


def test_integer_shift_moves_whole_pixels_and_brings_in_zeros():
    images = np.random.default_rng(4).uniform(1, 2, (1, 8, 8, 3)).astype(np.float32)
    found = run(images, [[[1, 0, 3], [0, 1, -2]]])
    expected = np.zeros_like(images)
    expected[:, :6, 3:] = images[:, 2:, :5]
    np.testing.assert_array_equal(found, expected)


def test_flip_reverses_columns():
    images = np.random.default_rng(5).uniform(1, 2, (2, 6, 8, 1)).astype(np.float32)
    found = run(images, geometry.flip_matrix(np.array([1.0, 0.0], np.float32), 8))
    np.testing.assert_array_equal(found[0], images[0, :, ::-1])
    np.testing.assert_array_equal(found[1], images[1])


def test_a_resize_is_that_of_half_pixel_centers():
    images = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    found = run(images, geometry.resize_matrix(2.0)[None], (2, 8))
    # Two thirds of the way out of the frame there is half a pixel of zeros to mix in.
    inner = [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    np.testing.assert_allclose(found[0, 0, 1:-1, 0], np.multiply(inner, 0.75), atol=1e-6)


def test_points_move_with_the_picture():
    """The center of mass of a blob goes where `transform_points` sends its center."""
    size, rng = 48, np.random.default_rng(6)
    points = rng.uniform(18, 30, (6, 1, 2)).astype(np.float32)
    grid = np.arange(size)
    x = np.exp(-((grid - points[:, :, :1]) ** 2) / 8)
    y = np.exp(-((grid - points[:, :, 1:]) ** 2) / 8)
    images = (y[:, 0, :, None] * x[:, 0, None, :])[..., None].astype(np.float32)
    matrix = similarities(6, size, seed=7)
    found = run(images, matrix)[..., 0].astype(np.float64)
    mass = found.sum((1, 2))
    center = np.stack(
        [(found.sum(1) * grid).sum(1) / mass, (found.sum(2) * grid).sum(1) / mass], -1
    )
    expected = geometry.transform_points(matrix, points)[:, 0]
    assert ((expected > 8) & (expected < size - 9)).all()
    assert np.abs(expected - points[:, 0]).max() > 3
    np.testing.assert_allclose(center, expected, atol=0.02)


def test_uint8_comes_out_as_float32():
    images = np.random.default_rng(8).integers(0, 256, (2, 10, 10, 3)).astype(np.uint8)
    matrix = similarities(2, 10)
    found = run(images, matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run(images.astype(np.float32), matrix), atol=1e-4)
    assert found.max() > 128  # where int8 arithmetic would have wrapped around


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_kept(dtype):
    images = ops.convert_to_tensor(np.random.default_rng(9).uniform(0, 1, (1, 8, 8, 1)), dtype)
    found = warp_affine(images, similarities(1, 8))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    exact = run(ops.convert_to_numpy(ops.cast(images, "float32")), similarities(1, 8))
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_each_image_has_its_own_matrix_and_no_other_image_leaks_in():
    images = np.zeros((3, 6, 6, 1), np.float32)
    images[1] = 1
    found = run(images, [[[1, 0, 4], [0, 1, 4]], IDENTITY, [[1, 0, -4], [0, 1, -4]]])
    assert found[0].sum() == found[2].sum() == 0
    assert found[1].sum() == 36


def test_far_away_gives_zeros_whatever_the_distance():
    images = np.ones((4, 6, 6, 1), np.float32)
    far = [[[1, 0, d], [0, 1, -d]] for d in (7.0, 1e4, 1e12, -3e9)]
    assert run(images, far).sum() == 0


def test_gradient_with_respect_to_images():
    rng = np.random.default_rng(10)
    images = rng.uniform(-1, 1, (2, 6, 6, 2)).astype(np.float32)
    weights = ops.convert_to_tensor(rng.normal(size=(2, 5, 7, 2)), "float32")
    matrix = similarities(2, 6, seed=11)

    def loss(x):
        return ops.sum(warp_affine(x, matrix, (5, 7)) ** 2 * weights)

    found = gradient(loss, images)
    indices = [tuple(rng.integers(n) for n in images.shape) for _ in range(40)]
    expected = finite_differences(loss, images, indices, 0.05)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose([found[i] for i in indices], expected, atol=2e-3)


# ---- inside_mask --------------------------------------------------------------------------------


def test_mask_against_a_loop():
    matrix = similarities(4, 10, seed=12)
    source, output = (10, 12), (14, 9)
    found = ops.convert_to_numpy(inside_mask(matrix, source, output))
    assert found.shape == (4, 14, 9, 1) and set(np.unique(found)) == {0.0, 1.0}
    for b in range(4):
        for y in range(output[0]):
            for x in range(output[1]):
                sx, sy = source_of(matrix[b], x, y)
                edge = min(sx, source[1] - 1 - sx, sy, source[0] - 1 - sy)
                if abs(edge) > 1e-3:
                    assert found[b, y, x, 0] == (edge > 0)


def test_mask_of_the_identity_and_of_a_flip_is_full():
    flip = geometry.flip_matrix(1.0, 64)
    turned = geometry.similarity(1.0, math.pi, (0.0, 0.0), (31.5, 31.5))
    mask = inside_mask(np.stack([IDENTITY, flip, turned]).astype(np.float32), (64, 64), (64, 64))
    assert ops.convert_to_numpy(mask).min() == 1


def test_inside_the_mask_no_zeros_are_mixed_in():
    matrix = similarities(6, 16, seed=13)
    ones = run(np.ones((6, 16, 16, 1), np.float32), matrix)
    mask = ops.convert_to_numpy(inside_mask(matrix, (16, 16), (16, 16)))
    assert 0.3 < mask.mean() < 0.95
    np.testing.assert_allclose(ones[mask > 0], 1, atol=1e-3)
    assert (ones[mask == 0] < 1).mean() > 0.99
