"""Turning pictures upright: the rotation, and the network that chooses the angle."""

import keras
import numpy as np
from keras import ops

from keras_facealign.layers import RotateImages, estimate_rotation
from tests.layers import reference


def slow_rotation(image, angle):
    """Pixel by pixel: bilinear about the center, each corner counts if it is inside."""
    height, width, _ = image.shape
    cx, cy = (width - 1) / 2, (height - 1) / 2
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            dx, dy = column - cx, row - cy
            x = np.cos(angle) * dx - np.sin(angle) * dy + cx
            y = np.sin(angle) * dx + np.cos(angle) * dy + cy
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            for r, c in ((y0, x0), (y0, x0 + 1), (y0 + 1, x0), (y0 + 1, x0 + 1)):
                if 0 <= r < height and 0 <= c < width:
                    result[row, column] += image[r, c] * (1 - abs(y - r)) * (1 - abs(x - c))
    return result


def test_rotation_against_a_loop():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 9, 11, 2)).astype(np.float32)
    angles = np.array([[0.4], [-0.3], [0.0]], np.float32)
    found, matrices = (ops.convert_to_numpy(t) for t in RotateImages()([images, angles]))
    for image, angle, turned in zip(images, angles[:, 0], found, strict=True):
        np.testing.assert_allclose(turned, slow_rotation(image, angle), atol=1e-5)
    np.testing.assert_array_equal(found[2], images[2])
    np.testing.assert_allclose(matrices[2], [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_matrices_say_where_a_point_went():
    image = np.zeros((1, 33, 33, 1), np.float32)
    image[0, 10, 22] = 1.0
    turned, matrix = (
        ops.convert_to_numpy(t) for t in RotateImages()([image, np.array([[0.35]], np.float32)])
    )
    x, y = matrix[0] @ [22, 10, 1]
    row, column = np.unravel_index(turned[0, ..., 0].argmax(), (33, 33))
    assert abs(row - y) <= 0.5 and abs(column - x) <= 0.5
    assert abs(x - 22) + abs(y - 10) > 3


def test_symbolic_shapes_and_types():
    images = keras.Input((16, 16, 3))
    turned, matrices = RotateImages(dtype="bfloat16")([images, keras.Input((1,))])
    assert turned.shape == (None, 16, 16, 3) and turned.dtype == "bfloat16"
    assert matrices.shape == (None, 2, 3) and matrices.dtype == "float32"


def localiser():
    images = keras.Input((16, 16, 3))
    return keras.Model(images, estimate_rotation(images, (4, 6), 5))


def test_angle_is_zero_before_training_and_bounded_after():
    model = localiser()
    images = np.random.default_rng(1).normal(size=(4, 16, 16, 3)).astype(np.float32)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(images)), 0)
    last = model.get_layer("loc_theta")
    last.kernel.assign(np.full((5, 1), 100.0))
    angles = ops.convert_to_numpy(model(images))
    assert np.abs(angles).max() <= 0.5 and np.abs(angles).max() > 0.4


def test_angle_against_numpy():
    model = localiser()
    for layer in model.layers:
        reference.randomize(layer)
    w = {v.path: ops.convert_to_numpy(v.value).astype(np.float64) for v in model.weights}
    images = np.random.default_rng(2).normal(size=(2, 16, 16, 3)).astype(np.float32)
    x = reference.conv(images, w["stn_conv0/kernel"])[:, ::2, ::2]
    x = reference.relu(reference.batch_norm(x, w, "stn_bn0"))
    x = reference.conv(x, w["stn_conv1/kernel"])
    x = reference.relu(reference.batch_norm(x, w, "stn_bn1"))
    x = np.maximum.reduce([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    x = x.transpose(0, 3, 1, 2).reshape(2, -1)
    x = np.tanh(x @ w["loc_net_half/kernel"] + w["loc_net_half/bias"])
    expected = 0.5 * np.tanh(x @ w["loc_theta/kernel"] + w["loc_theta/bias"])
    np.testing.assert_allclose(ops.convert_to_numpy(model(images)), expected, atol=1e-5)
    assert np.abs(expected).max() > 0.05
