"""Affine geometry against loops over single points, for NumPy arrays and tensors alike."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign import geometry

KINDS = {"numpy": np.asarray, "tensor": ops.convert_to_tensor}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def give(kind, array):
    return KINDS[kind](np.asarray(array, np.float32))


def take(kind, result):
    """The result as NumPy, having checked that it is what went in."""
    assert isinstance(result, np.ndarray) == (kind == "numpy")
    assert keras.ops.is_tensor(result) == (kind == "tensor")
    return ops.convert_to_numpy(result)


def matrices(count, seed=0):
    """Invertible and of moderate size."""
    rng = np.random.default_rng(seed)
    angle, shear = rng.uniform(-3, 3, count), rng.uniform(-0.3, 0.3, count)
    scale = rng.uniform(0.5, 2, (count, 2)) * rng.choice([-1, 1], (count, 2))
    result = np.zeros((count, 2, 3), np.float32)
    for i in range(count):
        cos, sin = np.cos(angle[i]), np.sin(angle[i])
        linear = np.array([[cos, -sin], [sin, cos]]) @ [[1, shear[i]], [0, 1]] @ np.diag(scale[i])
        result[i, :, :2] = linear
        result[i, :, 2] = rng.uniform(-50, 50, 2)
    return result


def slow_transform(matrix, points):
    """Point by point, in Python's own double precision."""
    (a, b, tx), (c, d, ty) = matrix.tolist()
    moved = [(a * x + b * y + tx, c * x + d * y + ty) for x, y in points.reshape(-1, 2).tolist()]
    return np.reshape(moved, points.shape)


def points_of(shape, seed=1):
    return np.random.default_rng(seed).uniform(-20, 150, (*shape, 2)).astype(np.float32)


def test_transform_points_of_one_matrix(kind):
    matrix = matrices(1)[0]
    for shape in ((7,), (3, 7), (2, 3, 7), (0,)):
        points = points_of(shape)
        found = take(kind, geometry.transform_points(give(kind, matrix), give(kind, points)))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, slow_transform(matrix, points), atol=1e-3)


def test_transform_points_of_a_matrix_an_image(kind):
    batch, points = matrices(4), points_of((4, 7))
    found = take(kind, geometry.transform_points(give(kind, batch), give(kind, points)))
    expected = [slow_transform(m, p) for m, p in zip(batch, points, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_compose_applies_the_first_first(kind):
    first, second, points = matrices(4, 2), matrices(4, 3), points_of((4, 7))
    both = take(kind, geometry.compose(give(kind, second), give(kind, first)))
    assert both.shape == (4, 2, 3)
    for i in range(4):
        expected = slow_transform(second[i], slow_transform(first[i], points[i]))
        np.testing.assert_allclose(slow_transform(both[i], points[i]), expected, atol=1e-2)
        one = take(kind, geometry.compose(give(kind, second[i]), give(kind, first[i])))
        np.testing.assert_allclose(one, both[i], rtol=1e-5, atol=1e-5)


def test_invert_undoes(kind):
    batch = matrices(5)
    inverse = take(kind, geometry.invert(give(kind, batch)))
    for matrix, undone in zip(batch, inverse, strict=True):
        full = np.vstack([matrix.astype(np.float64), [0, 0, 1]])
        np.testing.assert_allclose(undone, np.linalg.inv(full)[:2], rtol=1e-4, atol=1e-4)
    one = take(kind, geometry.invert(give(kind, batch[2])))
    np.testing.assert_allclose(one, inverse[2], rtol=1e-6)


def test_translation(kind):
    dx, dy = [1.5, -2.0], [0.0, 7.0]
    batch = take(kind, geometry.translation_matrix(give(kind, dx), give(kind, dy)))
    np.testing.assert_array_equal(batch, [[[1, 0, 1.5], [0, 1, 0]], [[1, 0, -2], [0, 1, 7]]])
    one = take(kind, geometry.translation_matrix(give(kind, 3.0), give(kind, 4.0)))
    np.testing.assert_array_equal(one, [[1, 0, 3], [0, 1, 4]])


def test_similarity_by_complex_numbers(kind):
    """z' = scale * exp(i * angle) * (z - center) + center + shift."""
    scale, angle = [0.5, 1.0, 1.7], [0.3, -2.0, np.pi / 2]
    dx, dy, center = [0.0, 3.0, -4.0], [1.0, 0.0, 2.5], (63.5, 20.0)
    points = points_of((3, 6))
    matrix = geometry.similarity(
        give(kind, scale), give(kind, angle), (give(kind, dx), give(kind, dy)), center
    )
    found = take(kind, matrix)
    assert found.shape == (3, 2, 3)
    for i in range(3):
        z, c = points[i, :, 0] + 1j * points[i, :, 1], complex(*center)
        z = scale[i] * np.exp(1j * angle[i]) * (z - c) + c + complex(dx[i], dy[i])
        moved = slow_transform(found[i], points[i])
        np.testing.assert_allclose(moved, np.stack([z.real, z.imag], -1), atol=1e-3)


def test_a_positive_angle_turns_x_towards_y():
    matrix = geometry.similarity(1.0, np.pi / 2, (0.0, 0.0), (0.0, 0.0))
    moved = geometry.transform_points(matrix, np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(moved, [[0, 1]], atol=1e-12)


@pytest.mark.parametrize("degrees", [90, -30, 200])
def test_turning_about_a_point_leaves_it_and_all_distances(degrees):
    matrix, center = geometry.turn_matrix(degrees, (3.0, 5.0)), np.array([3.0, 5.0])
    points = points_of((6,)).astype(np.float64)
    angle = np.radians(degrees)
    z = (points - center) @ [1, 1j] * np.exp(1j * angle)
    expected = np.stack([z.real, z.imag], -1) + center
    np.testing.assert_allclose(geometry.transform_points(matrix, points), expected, atol=1e-9)


def test_flip(kind):
    matrix = take(kind, geometry.flip_matrix(give(kind, [0.0, 1.0]), 10))
    np.testing.assert_array_equal(matrix[0], [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(matrix[1], [[-1, 0, 9], [0, 1, 0]])


@pytest.mark.parametrize("scale", [0.5, 2.0, 3.0, 0.3])
def test_resize_keeps_the_borders_of_the_frame(scale):
    """Half a pixel outside the first and the last center is the frame's edge, whatever the size."""
    matrix = geometry.resize_matrix(scale)
    edges = np.array([[-0.5, -0.5], [9.5, 19.5]], np.float32)
    moved = geometry.transform_points(matrix, edges)
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [10 * scale - 0.5, 20 * scale - 0.5]])


def test_numbers_and_lists_count_as_numpy():
    assert isinstance(geometry.translation_matrix(1.0, 2.0), np.ndarray)
    assert isinstance(geometry.similarity(1.0, 0.0, (0.0, 0.0), (1.0, 1.0)), np.ndarray)


def test_numpy_and_tensor_together_give_a_tensor():
    matrix, points = matrices(1)[0], points_of((5,))
    mixed = geometry.transform_points(ops.convert_to_tensor(matrix), points)
    assert ops.is_tensor(mixed)
    expected = geometry.transform_points(matrix, points)
    np.testing.assert_allclose(ops.convert_to_numpy(mixed), expected, rtol=1e-6, atol=1e-4)
    for args in ((ops.convert_to_tensor(matrix), matrix), (matrix, ops.convert_to_tensor(matrix))):
        assert ops.is_tensor(geometry.compose(*args))
        found = ops.convert_to_numpy(geometry.compose(*args))
        np.testing.assert_allclose(found, geometry.compose(matrix, matrix), rtol=1e-4, atol=1e-3)


def test_fit_similarity_is_the_best_of_all(kind):
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(2, 6, 7, 2)) * [[[[30]]], [[[20]]]] + 50

    def error(matrix, k):
        return ((geometry.transform_points(matrix, source[k]) - target[k]) ** 2).sum()

    found = take(kind, geometry.fit_similarity(give(kind, source), give(kind, target)))
    one = take(kind, geometry.fit_similarity(give(kind, source[1]), give(kind, target[1])))
    np.testing.assert_allclose(one, found[1], atol=1e-4)
    for k in range(6):
        (a, b, _), (c, d, _) = matrix = found[k].astype(np.float64)
        assert abs(a - d) < 1e-6 and abs(b + c) < 1e-6
        least = error(matrix, k)
        for step in rng.normal(size=(20, 4)) * [0.02, 0.02, 0.5, 0.5]:
            turned = [[a + step[0], b - step[1], 0], [c + step[1], d + step[0], 0]]
            other = np.array(turned) + np.outer([1, 1], [0, 0, 1]) * matrix[:, 2:]
            other[:, 2] += step[2:]
            assert error(other, k) > least
