"""Losses in closed form, and what the coherent loss promises about transformed pairs."""

import math
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from keras_facealign.objective.losses import (
    COHERENT_ERRORS,
    HEATMAP_LOSSES,
    coherent_loss,
    get_heatmap_loss,
    heatmap_mean,
    mean_squared_error,
    sigmoid_crossentropy,
    smooth_l1,
    spatial_softmax_crossentropy,
    sum_of_image_means,
    transform_heatmaps,
)
from keras_facealign.ops import draw_heatmaps, inside_mask, warp_affine
from tests.ops.autodiff import finite_differences, gradient
from tests.paths import TESTS

BACKEND = keras.backend.backend()
SIZE = 64
CENTER = ((SIZE - 1) / 2, (SIZE - 1) / 2)


def to_numpy(x):
    return ops.convert_to_numpy(x)


def coherent(first, second, matrix, flip, permutation, visible=None, **options):
    """`coherent_loss` of NumPy arrays and tensors alike."""
    tensors = [ops.convert_to_tensor(x) for x in (first, second, matrix, flip)]
    if visible is not None:
        visible = ops.convert_to_tensor(visible)
    return coherent_loss(*tensors, permutation, visible, **options)


# ---- element by element -------------------------------------------------------------------------


def test_sigmoid_crossentropy_is_that_of_the_probability():
    rng = np.random.default_rng(0)
    targets, logits = rng.uniform(0, 1, 50), rng.normal(0, 3, 50)
    found = to_numpy(sigmoid_crossentropy(targets.astype("float32"), logits.astype("float32")))
    for value, g, z in zip(found.tolist(), targets.tolist(), logits.tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        assert value == pytest.approx(-g * math.log(p) - (1 - g) * math.log(1 - p), abs=1e-5)


def test_sigmoid_crossentropy_of_large_logits():
    targets = np.array([0, 1, 0, 1, 0.25], np.float32)
    logits = np.array([-1e4, 1e4, 1e4, -1e4, 800], np.float32)
    found = to_numpy(sigmoid_crossentropy(targets, logits))
    np.testing.assert_allclose(found, [0, 0, 1e4, 1e4, 600], rtol=1e-6)


def test_sigmoid_crossentropy_gradient_is_probability_minus_target():
    rng = np.random.default_rng(1)
    targets = rng.uniform(0, 1, 20).astype(np.float32)
    logits = rng.normal(0, 3, 20).astype(np.float32)
    given = ops.convert_to_tensor(targets)
    found = gradient(lambda z: ops.sum(sigmoid_crossentropy(given, z)), logits)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)) - targets, atol=1e-5)


def test_mean_squared_error():
    found = to_numpy(mean_squared_error(np.array([1.0, 0.0]), np.array([3.0, -0.5])))
    np.testing.assert_allclose(found, [4, 0.25])


def test_smooth_l1_is_square_near_and_straight_far():
    found = to_numpy(smooth_l1(np.zeros(5, "float32"), np.array([-3, -1, 0.5, 0, 1.5], "float32")))
    np.testing.assert_allclose(found, [2.5, 0.5, 0.125, 0, 1])


def test_spatial_softmax_crossentropy_against_a_loop():
    rng = np.random.default_rng(11)
    targets = rng.uniform(0, 1, (2, 4, 3, 2)).astype(np.float32)
    logits = rng.normal(0, 3, (2, 4, 3, 2)).astype(np.float32)
    found = to_numpy(spatial_softmax_crossentropy(targets, logits))
    for b in range(2):
        for k in range(2):
            total = sum(math.exp(z) for z in logits[b, :, :, k].ravel().tolist())
            for y, x in np.ndindex(4, 3):
                log_p = float(logits[b, y, x, k]) - math.log(total)
                expected = -float(targets[b, y, x, k]) * log_p
                assert found[b, y, x, k] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_spatial_softmax_crossentropy_of_large_logits():
    logits = np.array([1e4, -1e4, 9e3, 0], np.float32).reshape(1, 2, 2, 1)
    targets = np.array([1, 0, 0.5, 0], np.float32).reshape(1, 2, 2, 1)
    found = to_numpy(spatial_softmax_crossentropy(targets, logits)).ravel()
    np.testing.assert_allclose(found, [0, 0, 500, 0], rtol=1e-5)


def test_losses_by_name():
    assert get_heatmap_loss("sigmoid_crossentropy") is sigmoid_crossentropy
    assert {get_heatmap_loss(name) for name in HEATMAP_LOSSES} == set(HEATMAP_LOSSES.values())
    assert get_heatmap_loss(max) is max
    with pytest.raises(FaceAlignError, match="Unknown heatmap loss 'mse'.*mean_squared_error"):
        get_heatmap_loss("mse")


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 1, 1, 3), (2, 5, 4, 1), (1, 1, 1, 1)])
def test_heatmap_mean_against_a_loop(shape):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    mask = rng.integers(0, 2, shape).astype(np.float32)
    mask.flat[0] = 1
    total = count = 0.0
    for index in np.ndindex(*values.shape):
        kept = mask[tuple(min(i, n - 1) for i, n in zip(index, shape, strict=True))]
        total, count = total + kept * values[index], count + kept
    assert float(heatmap_mean(values, mask)) == pytest.approx(total / count, abs=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow traces unknown sizes")
def test_heatmap_mean_of_maps_whose_size_is_not_known():
    import tensorflow as tf

    unknown = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, 1, 1, 3])]
    function = tf.function(heatmap_mean, input_signature=unknown, autograph=False)
    values = np.arange(2 * 5 * 4 * 3, dtype="float32").reshape(2, 5, 4, 3)
    mask = np.array([[1, 0, 1], [0, 0, 1]], "float32")[:, None, None]
    expected = values[mask.repeat(5, 1).repeat(4, 2) > 0].mean()
    assert float(function(values, mask)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mean", [heatmap_mean, sum_of_image_means])
def test_mean_of_nothing_is_zero(mean):
    assert float(mean(np.ones((2, 3, 3, 1), "float32"), np.zeros((2, 1, 1, 1), "float32"))) == 0


def test_sum_of_image_means_counts_each_image_once():
    rng = np.random.default_rng(12)
    values = rng.normal(size=(3, 4, 4, 2)).astype(np.float32)
    visible = np.array([[1, 1], [1, 0], [0, 0]], np.float32)
    expected = values[0].mean() + values[1, :, :, 0].mean()
    found = float(sum_of_image_means(values, visible[:, None, None, :]))
    assert found == pytest.approx(float(expected), abs=1e-5)


# ---- transformed heatmaps -----------------------------------------------------------------------


def draws(count, points, seed=0, low=20, high=43):
    """Random similarities with flips, and landmarks around the middle."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.8, 1.2, count)
    angle = np.radians(rng.uniform(-40, 40, count))
    flip = (np.arange(count) % 2).astype(np.float32)
    shift = tuple(rng.uniform(-3, 3, (2, count)))
    matrix = geometry.compose(
        geometry.similarity(scale, angle, shift, CENTER), geometry.flip_matrix(flip, SIZE)
    )
    landmarks = rng.uniform(low, high, (count, points, 2))
    return matrix.astype("float32"), flip, scale, landmarks.astype("float32")


def move(landmarks, matrix, flip, permutation):
    """Landmarks in the transformed view, in scheme order."""
    moved = geometry.transform_points(matrix, landmarks)
    return np.where(flip[:, None, None] > 0, moved[:, permutation], moved)


def drawn_scaled(landmarks, scale, sigma):
    """Heatmaps whose Gaussians have grown with the picture."""
    maps = [draw_heatmaps(p[None], SIZE, sigma * s) for p, s in zip(landmarks, scale, strict=True)]
    return to_numpy(ops.concatenate(maps, axis=0))


# Linear interpolation is off by at most an eighth of the second derivative, which for a Gaussian of
# height 1 is at most 1 / sigma**2, along x and along y.
SIGMA = 3.0
SMOOTHING = 2 / 8 / SIGMA**2


def test_warped_heatmaps_are_those_of_the_moved_landmarks():
    permutation = IBUG68.flip_permutation
    matrix, flip, scale, landmarks = draws(8, 68)
    first = draw_heatmaps(landmarks, SIZE, SIGMA)
    found = to_numpy(transform_heatmaps(first, matrix, flip, permutation))
    expected = drawn_scaled(move(landmarks, matrix, flip, permutation), scale, SIGMA)
    mask = to_numpy(inside_mask(matrix, (SIZE, SIZE), (SIZE, SIZE)))
    assert np.abs((found - expected) * mask).max() <= SMOOTHING
    # The order of the landmarks matters: without the exchange, mirrored maps are far off.
    unswapped = to_numpy(transform_heatmaps(first, matrix, 0 * flip, permutation))
    assert np.abs((unswapped - expected) * mask)[flip > 0].max() > 0.9
    np.testing.assert_array_equal(unswapped[flip == 0], found[flip == 0])


def test_warping_the_picture_agrees_with_warping_the_heatmaps():
    """A picture made of blobs, each of its own brightness: T . I against the sum of T . H."""
    permutation = np.array([1, 0, 2, 4, 3])
    matrix, flip, scale, landmarks = draws(8, 5, seed=1)
    brightness = np.array([50, 90, 130, 170, 210], np.float32)
    first = draw_heatmaps(landmarks, SIZE, SIGMA)
    picture = ops.sum(first * brightness, axis=-1, keepdims=True)
    moved_picture = to_numpy(warp_affine(picture, matrix))[..., 0]

    maps = to_numpy(transform_heatmaps(first, matrix, flip, permutation))
    order = np.where(flip[:, None] > 0, brightness[permutation], brightness)
    from_maps = (maps * order[:, None, None, :]).sum(-1)
    np.testing.assert_allclose(moved_picture, from_maps, atol=1e-2)

    moved = move(landmarks, matrix, flip, permutation)
    redrawn = (drawn_scaled(moved, scale, SIGMA) * order[:, None, None, :]).sum(-1)
    mask = to_numpy(inside_mask(matrix, (SIZE, SIZE), (SIZE, SIZE)))[..., 0]
    difference = np.abs(moved_picture - redrawn) * mask
    assert difference.max() <= SMOOTHING * brightness.sum()
    assert difference.max() < 0.03 * moved_picture.max()


# ---- the coherent loss --------------------------------------------------------------------------

EXACT = {  # transformations that send every pixel center to a pixel center
    "identity": ([[1, 0, 0], [0, 1, 0]], 0),
    "flip": ([[-1, 0, SIZE - 1], [0, 1, 0]], 1),
    "quarter turn": ([[0, -1, SIZE - 1], [1, 0, 0]], 0),
    "half turn": ([[-1, 0, SIZE - 1], [0, -1, SIZE - 1]], 0),
    "shift": ([[1, 0, 5], [0, 1, -7]], 0),
    "flip, turn and shift": ([[0, 1, 3], [1, 0, -4]], 1),
}
BATCH = np.array([matrix for matrix, _ in EXACT.values()], np.float32)
FLIPS = np.array([flip for _, flip in EXACT.values()], np.float32)


def test_coherent_loss_of_drawn_heatmaps_is_zero():
    """The network that draws each landmark where it is knows no frame: exactly equivariant."""
    permutation = IBUG68.flip_permutation
    rng = np.random.default_rng(2)
    landmarks = rng.integers(40, 216, (len(EXACT), 68, 2)).astype(np.float32) / 4
    first = draw_heatmaps(landmarks, SIZE, 1.5)
    second = draw_heatmaps(move(landmarks, BATCH, FLIPS, permutation), SIZE, 1.5)
    assert float(coherent(first, second, BATCH, FLIPS, permutation)) < 1e-10


PERMUTATION = np.array([1, 0, 2])


def filter_network(images):
    """A convolution, a ReLU and a flip's symmetry: filters 0 and 1 mirror each other, 2 itself."""
    rng = np.random.default_rng(3)
    kernels = rng.normal(size=(5, 5, 3, 3)).astype(np.float32)
    kernels[..., 1] = kernels[:, ::-1, :, 0]
    kernels[..., 2] += kernels[:, ::-1, :, 2]
    return ops.relu(ops.conv(images, kernels, padding="same"))


def faces_in_the_middle(count):
    """Random pictures with black around them, so that no border is in a filter's sight."""
    images = np.zeros((count, SIZE, SIZE, 3), np.float32)
    images[:, 20:44, 20:44] = np.random.default_rng(4).uniform(0, 1, (count, 24, 24, 3))
    return images


def test_coherent_loss_of_a_convolutional_network_under_flips_and_shifts_is_zero():
    matrix = np.array([EXACT["flip"][0], EXACT["shift"][0], [[-1, 0, 58], [0, 1, 9]]], np.float32)
    flip = np.array([1, 0, 1], np.float32)
    images = faces_in_the_middle(3)
    first = filter_network(images)
    second = filter_network(warp_affine(images, matrix))
    assert float(ops.mean(ops.square(first))) > 0.1
    assert float(coherent(first, second, matrix, flip, PERMUTATION)) < 1e-10
    # The same maps with the mirrored filters' channels left where they are do not agree.
    assert float(coherent(first, second, matrix, flip, np.arange(3))) > 1e-2


def test_coherent_loss_of_a_network_that_ignores_the_transformation():
    matrix, flip, _, landmarks = draws(4, 3, seed=5)
    maps = draw_heatmaps(landmarks, SIZE, 1.5)
    assert float(coherent(maps, maps, matrix, flip, PERMUTATION)) > 1e-4


def slow_coherent_loss(first, second, matrix, flip, permutation, visible, whole=False):
    """Pixel by pixel, for transformations that move pixel centers onto pixel centers."""
    total = count = 0.0
    batch, height, width, landmarks = first.shape
    for b in range(batch):
        inverse = geometry.invert(matrix[b].astype(np.float64))
        for y in range(height):
            for x in range(width):
                sx, sy = inverse[:, :2] @ [x, y] + inverse[:, 2]
                inside = 0 <= sx <= width - 1 and 0 <= sy <= height - 1
                for k in range(landmarks):
                    if whole or (inside and visible[b, k]):
                        source = permutation[k] if flip[b] else k
                        expected = first[b, round(sy), round(sx), source] if inside else 0.0
                        total += (second[b, y, x, k] - expected) ** 2
                        count += 1
    return total / max(count, 1)


def test_coherent_loss_against_a_loop():
    rng = np.random.default_rng(6)
    size, n = 10, 4
    matrix = np.array(
        [
            [[-1, 0, size - 1], [0, 1, 0]],
            [[0, -1, size - 1], [1, 0, 0]],
            [[1, 0, 3], [0, 1, -2]],
            [[-1, 0, size + 1], [0, 1, 4]],
        ],
        np.float32,
    )
    flip = np.array([1, 0, 0, 1], np.float32)
    first, second = rng.normal(size=(2, n, size, size, 3)).astype(np.float32)
    for visible in (np.ones((n, 3)), rng.integers(0, 2, (n, 3)), np.zeros((n, 3))):
        visible = visible.astype(np.float32)
        found = float(coherent(first, second, matrix, flip, PERMUTATION, visible))
        expected = slow_coherent_loss(first, second, matrix, flip, PERMUTATION, visible)
        assert found == pytest.approx(expected, rel=1e-4)
    everything = float(coherent(first, second, matrix, flip, PERMUTATION))
    ones = np.ones((n, 3))
    expected = slow_coherent_loss(first, second, matrix, flip, PERMUTATION, ones)
    assert everything == pytest.approx(expected, rel=1e-4)
    # Over the complete maps neither T's border nor visibility matters.
    whole = float(coherent(first, second, matrix, flip, PERMUTATION, 0 * ones, whole=True))
    expected = slow_coherent_loss(first, second, matrix, flip, PERMUTATION, ones, whole=True)
    assert whole == pytest.approx(expected, rel=1e-4)
    assert whole != pytest.approx(everything, rel=1e-2)
    # Images that fill up a batch do not count.
    present = ops.convert_to_tensor(np.array([1, 1, 1, 0], "float32"))
    found = coherent(first, second, matrix, flip, PERMUTATION, whole=True, present=present)
    three = [a[:3] for a in (first, second, matrix, flip)]
    expected = slow_coherent_loss(*three, PERMUTATION, ones[:3], whole=True)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_coherent_loss_by_the_name_of_its_error():
    first, second = np.random.default_rng(13).normal(0, 2, (2, 2, 6, 6, 3)).astype(np.float32)
    same, no_flip = [[[1.0, 0, 0], [0, 1, 0]]] * 2, [0.0, 0.0]
    for name, error in COHERENT_ERRORS.items():
        found = float(coherent(first, second, same, no_flip, PERMUTATION, error=name))
        assert found == pytest.approx(to_numpy(error(first, second)).mean(), rel=1e-5)


def test_what_comes_from_outside_the_first_view_does_not_count():
    matrix, flip, _, landmarks = draws(4, 3, seed=7)
    first = draw_heatmaps(landmarks, SIZE, 1.5)
    second = to_numpy(transform_heatmaps(first, matrix, flip, PERMUTATION))
    mask = to_numpy(inside_mask(matrix, (SIZE, SIZE), (SIZE, SIZE)))
    assert 0.5 < mask.mean() < 0.99
    garbage = np.random.default_rng(8).normal(0, 100, second.shape).astype(np.float32)
    outside = second + garbage * (1 - mask)
    assert float(coherent(first, outside, matrix, flip, PERMUTATION)) < 1e-10
    inside = second + garbage * mask
    assert float(coherent(first, inside, matrix, flip, PERMUTATION)) > 1e3


def test_landmarks_that_are_not_visible_do_not_count():
    matrix, flip, _, landmarks = draws(4, 3, seed=9)
    first = draw_heatmaps(landmarks, SIZE, 1.5)
    second = to_numpy(transform_heatmaps(first, matrix, flip, PERMUTATION))
    second[:, :, :, 1] += 5
    visible = np.array([[1, 0, 1]] * 4, np.float32)
    assert float(coherent(first, second, matrix, flip, PERMUTATION, visible)) < 1e-10
    found = float(coherent(first, second, matrix, flip, PERMUTATION, 1 - visible))
    assert found == pytest.approx(25, rel=1e-4)


@pytest.mark.parametrize("view", [0, 1])
def test_gradients_flow_into_both_views(view):
    rng = np.random.default_rng(10)
    views = list(rng.normal(size=(2, 2, 8, 8, 3)).astype(np.float32))
    matrix = np.array([[[-1, 0, 7], [0, 1, 0]], [[0.9, 0.3, 0.2], [-0.3, 0.9, 1]]], np.float32)
    flip = np.array([1, 0], np.float32)

    def loss(x):
        pair = [x if i == view else v for i, v in enumerate(views)]
        return coherent(*pair, matrix, flip, PERMUTATION)

    found = gradient(loss, views[view])
    indices = [tuple(rng.integers(n) for n in found.shape) for _ in range(20)]
    expected = finite_differences(loss, views[view], indices, 0.1)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose([found[i] for i in indices], expected, atol=1e-4)


# ---- the original code's numbers ----------------------------------------------------------------

STORED = TESTS / "data" / "mxnet" / "losses.npz"
MIRROR = [[[-1.0, 0, 11], [0, 1, 0]]] * 2


def channels_last(maps):
    return np.ascontiguousarray(np.asarray(maps, "float32").transpose(0, 2, 3, 1))


def original_losses(x, y, permutation):
    """Each code's losses of `x`, as functions of it."""
    y, everything = ops.convert_to_tensor(y), ops.ones((4, 1, 1, 1))

    def heatmap(loss, reduction):
        return lambda maps: reduction(loss(y, maps), everything)

    def halves(error):
        # The code divides by its two stacks and multiplies the gradient by 1e-4.
        return lambda maps: (
            coherent(maps[:2], maps[2:], MIRROR, [1.0, 1.0], permutation, error=error, whole=True)
            / 2
        )

    return {
        "dfa/l2": heatmap(mean_squared_error, heatmap_mean),
        "old/ce": heatmap(spatial_softmax_crossentropy, heatmap_mean),
        "insightface/ce": heatmap(spatial_softmax_crossentropy, sum_of_image_means),
        "dfa/coherent": halves("mean_squared_error"),
        "insightface/coherent": halves("smooth_l1"),
    }


def test_gradients_are_the_original_codes():
    """Of four channels, whose share in a mean over 68 is 4 / 68."""
    with np.load(STORED) as file:
        stored = dict(file)
    x, y = channels_last(stored["x"]), channels_last(stored["y"])
    position = {int(k): i for i, k in enumerate(stored["channels"])}
    permutation = [position[int(IBUG68.flip_permutation[k])] for k in position]
    expected = {name: stored[f"{name}_grad"] for name in ("dfa/l2", "old/ce")}
    # The sum over four images of what the other code takes the mean of.
    expected["insightface/ce"] = 4 * stored["old/ce_grad"]
    for name in ("dfa/coherent", "insightface/coherent"):
        expected[name] = stored[f"{name}_grad"] / 1e-4
    for name, loss in original_losses(x, y, permutation).items():
        found = gradient(loss, x)
        wanted = channels_last(expected[name]) * 68 / 4
        np.testing.assert_allclose(found, wanted, atol=2e-6 * np.abs(wanted).max(), err_msg=name)


@pytest.mark.skipif(
    "KERAS_FACEALIGN_GOLDEN" not in os.environ, reason="KERAS_FACEALIGN_GOLDEN is not set"
)
def test_values_and_gradients_of_complete_maps_are_the_original_codes():
    folder = Path(os.environ["KERAS_FACEALIGN_GOLDEN"]) / "mxnet"
    coherence = "coherent_half_w1e-4"
    for name, file, value in (
        ("dfa/l2", "dfa", "l2"),
        ("old/ce", "hist", "ce"),
        ("insightface/ce", "if", "ce"),
        ("dfa/coherent", "dfa", coherence),
        ("insightface/coherent", "if", coherence),
    ):
        with np.load(folder / f"loss_{file}.npz") as stored:
            x, y = channels_last(stored["x"]), channels_last(stored["y"])
            loss = original_losses(x, y, IBUG68.flip_permutation)[name]
            assert float(loss(ops.convert_to_tensor(x))) == pytest.approx(
                float(stored[value].sum()), rel=1e-5
            )
            wanted = channels_last(stored[f"{value}_grad_x"])
        wanted = wanted / 1e-4 if value == coherence else wanted
        found = gradient(loss, x)
        np.testing.assert_allclose(found, wanted, atol=2e-6 * np.abs(wanted).max(), err_msg=name)


def test_the_mean_of_one_element_is_that_element():
    value, mask = np.full((1, 1, 1, 1), 6.0, "float32"), np.ones((1, 1, 1, 1), "float32")
    assert float(heatmap_mean(value, mask)) == float(sum_of_image_means(value, mask)) == 6
    assert float(heatmap_mean(value, 0 * mask)) == float(sum_of_image_means(value, 0 * mask)) == 0
