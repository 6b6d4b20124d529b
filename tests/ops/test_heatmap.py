"""Drawing heatmaps against a loop; decoding against OpenCV, the original code and the truth."""

import math

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.ops import (
    DECODE_METHODS,
    decode_heatmaps,
    draw_heatmaps,
    input_to_map,
    local_soft_argmax,
    map_to_input,
)
from tests.ops.autodiff import finite_differences, gradient
from tests.paths import TESTS

DECODE = TESTS / "data" / "mxnet" / "decode.npz"


def decode(heatmaps, method, input_size=128):
    points, confidence = decode_heatmaps(heatmaps, input_size, method)
    return ops.convert_to_numpy(points), ops.convert_to_numpy(confidence)


def logits_of(probabilities):
    p = np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p)).astype(np.float32)


def points_between(low, high, shape=(16, 20), seed=0):
    return np.random.default_rng(seed).uniform(low, high, (*shape, 2)).astype(np.float32)


def drawn(points, sigma=1.5, size=64):
    return ops.convert_to_numpy(draw_heatmaps(points, size, sigma))


# ---- frames -------------------------------------------------------------------------------------


def test_frames_share_their_edges_and_invert_each_other():
    edges = np.array([[-0.5, 63.5]], np.float32)
    assert map_to_input(edges, 128, 64).tolist() == [[-0.5, 127.5]]
    assert map_to_input(np.zeros((1, 2)), 128, 64).tolist() == [[0.5, 0.5]]
    points = points_between(-5, 130)
    np.testing.assert_allclose(
        map_to_input(input_to_map(points, 256, 64), 256, 64), points, atol=1e-4
    )


# ---- drawing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.7, 1.5, 4.0])
def test_drawing_against_a_loop(sigma):
    points = points_between(-3, 14, (2, 3))
    found = drawn(points, sigma, 12)
    assert found.shape == (2, 12, 12, 3) and found.dtype == np.float32
    for (b, y, x, k), value in np.ndenumerate(found):
        px, py = points[b, k].tolist()
        expected = math.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
        assert value == pytest.approx(expected, abs=1e-5)


def test_peak_is_one_at_a_whole_pixel_and_far_points_are_empty():
    maps = drawn([[[5.0, 9.0], [-1e4, 3.0], [3.0, 1e6]]])
    assert maps[0, 9, 5, 0] == 1 == maps.max()
    assert maps[..., 1:].max() == 0


@pytest.mark.parametrize("sigma", [0.0, -1.5])
def test_sigma_must_be_positive(sigma):
    with pytest.raises(FaceAlignError, match=f"sigma is {sigma}"):
        draw_heatmaps(np.zeros((1, 1, 2), np.float32), 8, sigma)


# ---- decoding on the pixel grid -----------------------------------------------------------------


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_argmax_is_the_center_of_the_highest_pixel():
    maps = noise((3, 16, 16, 5))
    found, confidence = decode(maps, "argmax", 64)
    for b in range(3):
        for k in range(5):
            row, column = divmod(int(maps[b, :, :, k].argmax()), 16)
            assert found[b, k].tolist() == [4 * column + 1.5, 4 * row + 1.5]
            top = float(maps[b, :, :, k].max())
            assert confidence[b, k] == pytest.approx(1 / (1 + math.exp(-top)), abs=1e-6)


def test_of_equal_pixels_the_first_row_by_row_is_taken():
    rng = np.random.default_rng(4)
    # Few values, so that every map has its highest one in several rows and columns.
    maps = rng.integers(-3, 2, (4, 9, 9, 6)).astype(np.float32)
    maps[2, ..., 0] = -7.5
    found, _ = decode(maps, "argmax", 9)
    for b in range(4):
        for k in range(6):
            column, row = min(
                ((x, y) for y in range(9) for x in range(9)),
                key=lambda place: (-maps[b, place[1], place[0], k], place[1], place[0]),
            )
            assert found[b, k].tolist() == [column, row]


def slow_upsample(channel, size):
    """The highest pixel of OpenCV's bilinear resize, the first where several are highest."""
    resized = cv2.resize(channel, (size, size), interpolation=cv2.INTER_LINEAR)
    row, column = divmod(int(resized.argmax()), size)
    return [column, row]


def maps_to_upsample():
    smooth = [cv2.GaussianBlur(m, (0, 0), 2) for m in noise((6, 64, 64, 8), 1)]
    return np.stack([*smooth, *noise((2, 64, 64, 8), 2)])


def test_upsample_against_opencv():
    maps = maps_to_upsample()
    found, _ = decode(maps, "upsample")
    for b in range(len(maps)):
        for k in range(8):
            assert found[b, k].tolist() == slow_upsample(maps[b, :, :, k], 128)


def test_upsample_by_four_finds_the_highest_pixel():
    """At the border two rows are equal but for rounding, so the value is compared, not the row."""
    maps = maps_to_upsample()
    found, _ = decode(maps, "upsample", 256)
    for b in range(len(maps)):
        resized = cv2.resize(maps[b], (256, 256), interpolation=cv2.INTER_LINEAR)
        for k in range(8):
            x, y = found[b, k].astype(int)
            assert resized[y, x, k] >= resized[..., k].max() - 1e-5


def test_upsample_takes_the_first_of_equals():
    """A single lit pixel becomes four equal ones; in a corner, nine with the border repeated."""
    pixels = [(0, 0), (0, 63), (63, 0), (63, 63), (20, 30), (0, 31)]
    maps = np.zeros((1, 64, 64, len(pixels) + 1), np.float32)
    for k, (row, column) in enumerate(pixels):
        maps[0, row, column, k] = 1
    found, _ = decode(maps, "upsample")
    for k in range(len(pixels) + 1):
        assert found[0, k].tolist() == slow_upsample(maps[0, :, :, k], 128)
    assert found[0, 4].tolist() == [60, 40] and found[0, 6].tolist() == [0, 0]


def test_upsample_is_the_original_evaluation():
    with np.load(DECODE, allow_pickle=False) as file:
        maps, row_column = file["maps"], file["row_column"]
    found, _ = decode(maps.transpose(1, 2, 0)[None], "upsample")
    np.testing.assert_array_equal(found[0], row_column[:, ::-1])


# ---- decoding between pixels --------------------------------------------------------------------

# Largest error in map pixels of the position read from a Gaussian of sigma 1.5 drawn at it.
# The window of `soft_argmax` cuts the Gaussian's tails, unevenly unless it stands on a pixel;
# at the border the map ends on one side of it, which draws the position inwards.
REACH = {
    "inside": (8, 55, {"soft_argmax": 0.065, "taylor": 0.001, "argmax": 0.501}),
    "near the border": (2, 8, {"soft_argmax": 0.12, "taylor": 0.001, "argmax": 0.501}),
    "at the border": (0, 2, {"soft_argmax": 0.87, "taylor": 0.04, "argmax": 0.501}),
    "at the far border": (61, 63, {"soft_argmax": 0.87, "taylor": 0.04, "argmax": 0.501}),
    "beyond the last center": (63, 63.5, {"soft_argmax": 1.2, "taylor": 0.07, "argmax": 0.501}),
}


@pytest.mark.parametrize("method", ["soft_argmax", "taylor", "argmax"])
@pytest.mark.parametrize("place", REACH)
def test_reads_back_what_was_drawn(place, method):
    low, high, tolerance = REACH[place]
    points = points_between(low, high)
    found, confidence = decode(logits_of(drawn(points)), method)
    assert found.dtype == np.float32 and found.shape == points.shape
    error = np.abs(input_to_map(found, 128, 64) - points)
    assert error.max() <= tolerance[method]
    # The peak pixel is at most 0.5 away in x and y: exp(-0.25 / 1.5**2) and above.
    assert (confidence > 0.89).all() and (confidence <= 1).all()


@pytest.mark.parametrize("method", ["soft_argmax", "taylor"])
def test_finer_than_the_pixel_grid(method):
    """Moving a Gaussian by a tenth of a pixel moves what is read."""
    points = np.full((1, 11, 2), 30.0, np.float32)
    points[0, :, 0] += np.arange(11) / 10
    found, _ = decode(logits_of(drawn(points)), method)
    assert (np.diff(found[0, :, 0]) > 0.05).all()
    assert np.ptp(found[0, :, 1]) < 1e-4


@pytest.mark.parametrize("method", DECODE_METHODS)
def test_mirrored_maps_give_mirrored_points(method):
    maps = logits_of(drawn(points_between(0, 63)))
    found, _ = decode(maps, method)
    mirrored, _ = decode(maps[:, :, ::-1], method)
    if method == "upsample":
        # Equal neighbors resolve towards the first, so only the pixel's other half is certain.
        assert np.abs(mirrored[..., 0] - (127 - found[..., 0])).max() <= 1
    else:
        np.testing.assert_allclose(mirrored[..., 0], 127 - found[..., 0], atol=2e-3)
    np.testing.assert_allclose(mirrored[..., 1], found[..., 1], atol=2e-3)


@pytest.mark.parametrize("method", DECODE_METHODS)
@pytest.mark.parametrize("kind", ["flat", "noise", "plateau", "huge"])
def test_any_map_gives_a_point_in_the_picture(kind, method):
    maps = noise((2, 32, 32, 3), 5)
    maps = {
        "flat": np.zeros_like(maps),
        "noise": maps,
        "plateau": (maps > 0).astype(np.float32),
        "huge": maps * 1e4,
    }[kind]
    found, confidence = decode(maps, method, 64)
    assert np.isfinite(found).all() and (found >= -2.5).all() and (found <= 65.5).all()
    assert np.isfinite(confidence).all()


def test_the_taylor_step_is_at_most_a_pixel_to_either_side():
    maps = noise((20, 12, 12, 20))
    step = decode(maps, "taylor", 12)[0] - decode(maps, "argmax", 12)[0]
    assert step.min() == pytest.approx(-1, abs=1e-5) and step.max() == pytest.approx(1, abs=1e-5)


def test_a_map_of_the_windows_size_is_read_from_its_middle():
    points = points_between(1, 3)
    found, _ = decode(logits_of(drawn(points, 1.0, 5)), "taylor", 5)
    np.testing.assert_allclose(found, points, atol=0.05)


@pytest.mark.parametrize("size", [2, 4, 5])
@pytest.mark.parametrize("method", DECODE_METHODS)
def test_maps_smaller_than_the_window(method, size):
    found, _ = decode(noise((2, size, size, 3)), method, 2 * size)
    assert np.isfinite(found).all() and (np.abs(found) <= 3 * size).all()


def test_confidence_is_the_sigmoid_of_the_highest_value():
    maps = np.full((1, 16, 16, 3), -20.0, np.float32)
    maps[0, 3, 4] = [0.0, 2.0, -10.0]
    for method in DECODE_METHODS:
        _, confidence = decode(maps, method, 32)
        np.testing.assert_allclose(confidence[0], [0.5, 0.880797, 4.539787e-5], rtol=1e-5)


def test_half_precision_maps_decode_in_float32():
    maps = logits_of(drawn(points_between(8, 55)))
    half = ops.convert_to_tensor(maps, "float16")
    found, confidence = decode(half, "soft_argmax")
    assert found.dtype == confidence.dtype == np.float32
    np.testing.assert_allclose(found, decode(maps, "soft_argmax")[0], atol=0.02)


def test_unknown_method():
    with pytest.raises(FaceAlignError, match="Unknown decoding method 'dark'.*taylor"):
        decode_heatmaps(np.zeros((1, 8, 8, 1), np.float32), 16, "dark")


# ---- soft arg-max as a training target ----------------------------------------------------------


def test_soft_argmax_against_a_loop():
    maps = noise((2, 12, 12, 3), 6)
    found = ops.convert_to_numpy(local_soft_argmax(maps, radius=2))
    for b in range(2):
        for k in range(3):
            channel = maps[b, :, :, k].astype(np.float64)
            row, column = divmod(int(channel.argmax()), 12)
            total = x = y = 0.0
            for r in range(max(row - 2, 0), min(row + 3, 12)):
                for c in range(max(column - 2, 0), min(column + 3, 12)):
                    p = 1 / (1 + math.exp(-channel[r, c]))
                    total, x, y = total + p, x + p * c, y + p * r
            np.testing.assert_allclose(found[b, k], [x / total, y / total], atol=1e-5)


def test_soft_argmax_gradient():
    rng = np.random.default_rng(7)
    maps = logits_of(drawn(points_between(2, 9, (1, 2), 8), size=12)) / 4
    weights = ops.convert_to_tensor(rng.normal(size=(1, 2, 2)), "float32")

    def loss(x):
        return ops.sum(local_soft_argmax(ops.convert_to_tensor(x)) * weights)

    found = gradient(loss, maps)
    peak = np.stack(np.unravel_index(maps.reshape(-1, 2).argmax(0), (12, 12)), -1)
    indices = [
        (0, int(np.clip(peak[k, 0] + dy, 0, 11)), int(np.clip(peak[k, 1] + dx, 0, 11)), k)
        for k in range(2)
        for dy in (-2, 1, 3)
        for dx in (-3, -1, 2)
    ]
    expected = finite_differences(loss, maps, indices, 0.02)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose([found[i] for i in indices], expected, atol=1e-3)
    assert np.count_nonzero(found[..., 0]) <= 49  # nothing outside the window


def maps_of_all_kinds():
    """(4, 9, 16, 16): blobs inside, at the borders and outside; then noise, then one flat map."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-2, 17, (4, 9, 2)).astype("float32")
    points[0, :4] = [[0, 0], [15, 15], [0.4, 8], [7.5, 15.2]]
    blobs = keras.ops.convert_to_numpy(draw_heatmaps(points, 16, 1.2))
    maps = 12 * blobs - 6 + 0.2 * rng.normal(size=blobs.shape)
    maps[3] = rng.normal(size=maps[3].shape)
    maps[2, ..., 0] = 0.5
    return maps.astype("float32")


@pytest.mark.parametrize("method", DECODE_METHODS)
@pytest.mark.parametrize("input_size", [32, 64])
def test_arrays_are_decoded_as_tensors_are(method, input_size):
    maps = maps_of_all_kinds()
    points, confidence = decode_heatmaps(maps, input_size, method)
    expected = decode_heatmaps(keras.ops.convert_to_tensor(maps), input_size, method)
    distance = np.abs(points - keras.ops.convert_to_numpy(expected[0]))
    # A resized map may have two equal highest pixels side by side, of which rounding picks one.
    ties = 1.0 if method == "upsample" else 2e-4
    assert distance.max() <= ties and (distance <= 2e-4).mean() > 0.9
    np.testing.assert_allclose(confidence, keras.ops.convert_to_numpy(expected[1]), atol=1e-6)
    assert points.dtype == confidence.dtype == np.float32
    # The order in memory does not matter: OpenVINO gives maps with channels first.
    turned = np.ascontiguousarray(maps.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(decode_heatmaps(turned, input_size, method)[0], points, atol=1e-5)


def test_unknown_decoding_of_arrays():
    with pytest.raises(FaceAlignError, match="'mean'"):
        decode_heatmaps(maps_of_all_kinds(), 32, "mean")


# ---- the Taylor step ----------------------------------------------------------------------------


def slow_taylor(channel):
    """Newton's step from the highest pixel by NumPy's solver, on OpenCV's smoothed probability."""
    probability = 1 / (1 + np.exp(-channel.astype(np.float64)))
    row, column = divmod(int(channel.argmax()), channel.shape[1])
    kernel = np.array([1.0, 2.0, 1.0]) / 4
    p = np.log(cv2.sepFilter2D(probability, -1, kernel, kernel))
    y, x = np.mgrid[-1:2, -1:2]
    p = p[row - 1 : row + 2, column - 1 : column + 2]
    slope = [(p * x)[1].sum() / 2, (p * y)[:, 1].sum() / 2]
    across = (p * x * y).sum() / 4
    bend = np.array(
        [[p[1, 0] - 2 * p[1, 1] + p[1, 2], across], [across, p[0, 1] - 2 * p[1, 1] + p[2, 1]]]
    )
    if np.linalg.det(bend) <= 1e-12 or bend[0, 0] >= 0:
        return [column, row]
    step = np.clip(-np.linalg.solve(bend, slope), -1, 1)
    return [column + step[0], row + step[1]]


@pytest.mark.parametrize("kind", ["tilted", "noise"])
@pytest.mark.parametrize("backend", ["numpy", "keras"])
def test_the_taylor_step_is_newtons_step(kind, backend):
    rng = np.random.default_rng(2)
    maps = noise((4, 32, 32, 10), 3) - 4
    if kind == "noise":
        # Peaks in the middle; their surroundings are those of no Gaussian.
        for b, k in np.ndindex(4, 10):
            row, column = rng.integers(4, 28, 2)
            maps[b, row, column, k] = 2
    else:
        # Long ellipses at every angle, whose second derivatives mix x and y.
        y, x = np.mgrid[0:32, 0:32].astype(np.float64)
        for b, k in np.ndindex(4, 10):
            cx, cy = rng.uniform(8, 24, 2)
            angle = rng.uniform(0, np.pi)
            u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
            v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
            maps[b, :, :, k] = logits_of(0.9 * np.exp(-(u**2) / 18 - v**2 / 3))
    given = maps if backend == "numpy" else ops.convert_to_tensor(maps)
    found = ops.convert_to_numpy(decode_heatmaps(given, 32, "taylor")[0])
    for b, k in np.ndindex(4, 10):
        expected = slow_taylor(maps[b, :, :, k])
        np.testing.assert_allclose(found[b, k], expected, atol=2e-3, err_msg=f"{b} {k}")
