"""Corruptions of images, compared with slow loops in NumPy and a JPEG library."""

import io
import math

import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_facealign.objective import corruption_ops

RNG_IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, np.float32))


def to_numpy(x):
    return ops.convert_to_numpy(x)


def photo(size=48):
    """A picture as smooth as photos are: clouds, with an edge in them."""
    colors = np.random.default_rng(1).uniform(0, 255, (1, 7, 7, 3)).astype(np.float32)
    image = to_numpy(corruption_ops.smooth_noise(tensor(colors), size)).copy()
    image[:, size // 3 :, size // 2 :] *= 0.5
    return np.rint(image).astype(np.float32)


# ---- colors ------------------------------------------------------------------------------------


def test_colors_turn_at_constant_luma():
    angle, saturation = [0.0, 0.7, -2.0], [1.0, 1.0, 0.4]
    found = to_numpy(
        corruption_ops.rotate_hue(tensor(RNG_IMAGES), tensor(angle), tensor(saturation))
    )
    for image, original, a, s in zip(found, RNG_IMAGES, angle, saturation, strict=True):
        for y, x in ((0, 0), (3, 11), (15, 2)):
            r, g, b = (float(v) for v in original[y, x])
            luma = 0.299 * r + 0.587 * g + 0.114 * b
            blue, red = (b - luma) / 1.772, (r - luma) / 1.402
            turned_blue = s * (blue * math.cos(a) - red * math.sin(a))
            turned_red = s * (blue * math.sin(a) + red * math.cos(a))
            new_r, new_b = luma + 1.402 * turned_red, luma + 1.772 * turned_blue
            new_g = (luma - 0.299 * new_r - 0.114 * new_b) / 0.587
            np.testing.assert_allclose(image[y, x], [new_r, new_g, new_b], atol=0.02)


def test_no_saturation_is_gray():
    found = to_numpy(
        corruption_ops.rotate_hue(tensor(RNG_IMAGES), tensor([1.0] * 3), tensor([0.0] * 3))
    )
    luma = RNG_IMAGES @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(found, np.repeat(luma[..., None], 3, -1), atol=0.02)


# ---- detail -------------------------------------------------------------------------------------


def test_blur_against_loops():
    sigmas = [0.5, 1.3, 4.0]
    matrix = corruption_ops.gaussian_matrix(tensor(sigmas), 16)
    found = to_numpy(corruption_ops.resample(tensor(RNG_IMAGES), matrix))
    for b, sigma in enumerate(sigmas):
        for row, column in ((0, 0), (7, 8), (15, 3)):
            total, weights = np.zeros(3), 0.0
            for y in range(16):
                for x in range(16):
                    weight = math.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
                    total += weight * RNG_IMAGES[b, y, x]
                    weights += weight
            np.testing.assert_allclose(found[b, row, column], total / weights, rtol=1e-3)


def reduced_and_enlarged(line, factor):
    """One line of numbers, averaged over cells and interpolated between their middles."""
    size = len(line)
    cells, middles = [], []
    start = 0.0
    while start < size - 1e-3:
        total, weights = 0.0, 0.0
        for k in range(size):
            overlap = min(start + factor, k + 1) - max(start, k)
            if overlap > 0:
                total += overlap * line[k]
                weights += overlap
        cells.append(total / weights)
        middles.append(start + factor / 2)
        start += factor
    return np.interp(np.arange(size) + 0.5, middles, cells)


@pytest.mark.parametrize("factor", [1.0, 1.37, 2.0, 3.3, 5.0])
def test_low_resolution_against_a_loop(factor):
    line = np.random.default_rng(2).uniform(0, 255, 20)
    matrix = to_numpy(corruption_ops.low_resolution_matrix(tensor([factor]), 20))[0]
    np.testing.assert_allclose(matrix @ line, reduced_and_enlarged(line, factor), atol=0.02)
    if factor == 1:
        np.testing.assert_allclose(matrix, np.eye(20), atol=1e-6)


def test_resampling_acts_on_columns_and_rows():
    matrix = np.random.default_rng(3).normal(size=(3, 16, 16))
    found = to_numpy(corruption_ops.resample(tensor(RNG_IMAGES), tensor(matrix)))
    expected = np.einsum("byi,bijc,bxj->byxc", matrix, RNG_IMAGES, matrix)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.05)


# ---- JPEG ---------------------------------------------------------------------------------------


def jpeg_by_loops(image, quality):
    """ITU-T T.81 as its text has it, for one image whose sides are multiples of 8."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    result = np.zeros(image.shape)
    for channel in range(3):
        r, g, b = (image[..., i].astype(np.float64) for i in range(3))
        plane = (
            0.299 * r + 0.587 * g + 0.114 * b - 128,
            -0.168736 * r - 0.331264 * g + 0.5 * b,
            0.5 * r - 0.418688 * g - 0.081312 * b,
        )[channel]
        base = corruption_ops.QUANTIZATION[min(channel, 1)].reshape(8, 8).astype(np.float64)
        steps = np.clip(np.floor((base * scale + 50) / 100), 1, 255)
        wave = np.array(
            [[math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)] for u in range(8)]
        )
        norm = np.array([math.sqrt(0.5)] + [1.0] * 7)
        for top in range(0, len(image), 8):
            for left in range(0, len(image), 8):
                block = plane[top : top + 8, left : left + 8]
                waves = np.zeros((8, 8))
                for v in range(8):
                    for u in range(8):
                        total = (block * wave[v][:, None] * wave[u][None]).sum()
                        waves[v, u] = 0.25 * norm[v] * norm[u] * total
                waves = np.rint(waves / steps) * steps * norm[:, None] * norm / 4
                result[top : top + 8, left : left + 8, channel] = wave.T @ waves @ wave
    y, blue, red = result[..., 0] + 128, result[..., 1], result[..., 2]
    g = y - 0.344136 * blue - 0.714136 * red
    return np.stack([y + 1.402 * red, g, y + 1.772 * blue], -1)


def test_jpeg_against_loops():
    image = photo(24)
    qualities = [5.0, 35.0, 90.0]
    found = to_numpy(corruption_ops.jpeg(tensor(np.repeat(image, 3, 0)), tensor(qualities)))
    for b, quality in enumerate(qualities):
        np.testing.assert_allclose(found[b], jpeg_by_loops(image[0], quality), atol=0.05)


@pytest.mark.parametrize("quality", [10, 30, 75, 95])
@pytest.mark.parametrize("size", [48, 45])
def test_jpeg_is_what_a_library_stores(quality, size):
    image = photo(size)
    file = io.BytesIO()
    Image.fromarray(image[0].astype(np.uint8)).save(file, "JPEG", quality=quality, subsampling=0)
    expected = np.asarray(Image.open(file), np.float32)
    found = np.clip(to_numpy(corruption_ops.jpeg(tensor(image), tensor([quality])))[0], 0, 255)
    # The library rounds to whole numbers on the way, and continues odd sides in its own manner.
    inner = slice(0, size - size % 8)
    error = np.abs(found - expected)[inner, inner]
    change = np.abs(expected - image[0])[inner, inner]
    assert error.mean() < 1.5 and error.mean() < 0.5 * change.mean() + 0.3
    assert np.abs(found - image[0]).mean() < 30


# ---- occlusion ----------------------------------------------------------------------------------


def test_shapes_against_loops():
    size = 20
    center = np.array([[0.5, 0.4], [0.2, 0.9], [0.6, 0.6]])
    half = np.array([[0.3, 0.1], [0.15, 0.3], [0.2, 0.2]])
    angle, oval = np.array([0.0, 0.6, 1.9]), np.array([False, False, True])
    found = to_numpy(
        corruption_ops.shape_mask(
            tensor(center), tensor(half), tensor(angle), ops.convert_to_tensor(oval), size
        )
    )
    assert found.shape == (3, size, size, 1)
    for b in range(3):
        for y in range(size):
            for x in range(size):
                dx, dy = (x + 0.5) / size - center[b, 0], (y + 0.5) / size - center[b, 1]
                u = (dx * math.cos(angle[b]) + dy * math.sin(angle[b])) / half[b, 0]
                v = (-dx * math.sin(angle[b]) + dy * math.cos(angle[b])) / half[b, 1]
                inside = math.hypot(u, v) < 1 if oval[b] else max(abs(u), abs(v)) < 1
                assert bool(found[b, y, x, 0]) == inside, (b, y, x)


def test_clouds_interpolate_their_grid():
    colors = np.random.default_rng(4).uniform(0, 255, (2, 4, 4, 3)).astype(np.float32)
    found = to_numpy(corruption_ops.smooth_noise(tensor(colors), 13))
    np.testing.assert_allclose(found[:, ::4, ::4], colors, rtol=1e-4, atol=1e-2)
    between = (colors[:, 0, 1] + 3 * colors[:, 0, 2]) / 4
    np.testing.assert_allclose(found[:, 0, 7], between, rtol=1e-4, atol=1e-2)
    across = colors[:, 1:3, 1:3].mean((1, 2))
    np.testing.assert_allclose(found[:, 6, 6], across, rtol=1e-4, atol=1e-2)
