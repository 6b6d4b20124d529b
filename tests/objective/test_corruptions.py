"""Corruptions drawn for every image: their ranges, shares and seeds, and what stays untouched."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.objective import Corruptions, PairedAugmentation

SIZE = 32
ALL = Corruptions(
    color=0.3, erase=0.3, occlusion=0.5, hue=30.0, gray=0.2, blur=2.0, low_resolution=2.0,
    noise=10.0, jpeg=80.0,
)  # fmt: skip
NAMES = [field.name for field in dataclasses.fields(Corruptions)]


def pictures(count=8, seed=10, low=0.0, high=255.0):
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, (count, SIZE, SIZE, 3)).astype(np.float32)


def apply(settings, images, seed=1):
    if isinstance(settings, dict):
        settings = Corruptions(**settings)
    generator = keras.random.SeedGenerator(seed)
    return ops.convert_to_numpy(settings.apply(ops.convert_to_tensor(images), generator))


def test_nothing_by_default():
    images = pictures()
    np.testing.assert_array_equal(apply({}, images), images)
    layer = PairedAugmentation(SIZE, [0])
    before = ops.convert_to_numpy(layer.seed_generator.state).copy()
    corrupted = layer.corrupt(ops.convert_to_tensor(images))
    np.testing.assert_array_equal(ops.convert_to_numpy(corrupted), images)
    # Nothing is drawn either, so that older recipes draw what they always drew.
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.seed_generator.state), before)


@pytest.mark.parametrize("name", NAMES)
def test_each_corrupts_and_keeps_the_range(name):
    images = pictures(12)
    found = apply({name: getattr(ALL, name)}, images)
    assert found.dtype == np.float32 and found.shape == images.shape
    assert found.min() >= 0 and found.max() <= 255 and np.isfinite(found).all()
    assert np.abs(found - images).mean() > 0.1
    np.testing.assert_array_equal(apply({name: getattr(ALL, name)}, images), found)
    assert np.abs(apply({name: getattr(ALL, name)}, images, seed=2) - found).max() > 1


@pytest.mark.parametrize("name", ["blur", "low_resolution", "noise", "jpeg"])
def test_half_of_the_pictures_are_spared_exactly(name):
    images = pictures(200)
    changed = np.abs(apply({name: getattr(ALL, name)}, images) - images).max((1, 2, 3)) > 0
    assert abs(changed.mean() - 0.5) < 0.12


def test_all_at_once_also_compiled():
    images = pictures(4)
    generator = keras.random.SeedGenerator(3)
    expected = apply(ALL, images, seed=3)
    tensor = ops.convert_to_tensor(images)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # XLA draws other numbers than the graph does, so it is compared with itself.
        run = tf.function(lambda x: ALL.apply(x, generator), autograph=False, jit_compile=True)
        expected = run(tensor).numpy()
        generator.state.assign(keras.random.SeedGenerator(3).state)
        found = run(tensor)
    elif backend == "jax":
        import jax

        def run(x, state):
            with keras.StatelessScope(state_mapping=[(generator.state, state)]):
                return ALL.apply(x, generator)

        found = jax.jit(run)(tensor, generator.state.value)
    else:
        found = ALL.apply(tensor, generator)
    found = ops.convert_to_numpy(found)
    assert found.min() >= 0 and found.max() <= 255
    # A coefficient of the JPEG that lies between two steps may fall to either side.
    assert np.median(np.abs(found - expected)) < 0.05


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="gradients by tape or autograd")
def test_no_gradient_flows_back():
    images = ops.convert_to_tensor(pictures(2))
    generator = keras.random.SeedGenerator(4)
    if keras.backend.backend() == "torch":
        images.requires_grad_(True)
        assert not ALL.apply(images, generator).requires_grad
        return
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(ALL.apply(images, generator))
    assert tape.gradient(total, images) is None


def test_images_draw_for_themselves():
    images = np.repeat(pictures(1), 16, 0)
    for name in ("color", "hue"):
        found = apply({name: getattr(ALL, name)}, images)
        assert len(np.unique(found.mean((1, 2)).round(3), axis=0)) == 16, name


# ---- light and color ---------------------------------------------------------------------------


def test_color_changes_a_channel_as_a_whole():
    """Each channel of each image undergoes one linear change of moderate strength."""
    images = pictures(8, 12, 100, 156)
    found = apply({"color": 0.2}, images)
    slopes = []
    for b in range(8):
        for c in range(3):
            x, y = images[b, :, :, c].ravel(), found[b, :, :, c].ravel()
            slope, offset = np.polyfit(x, y, 1)
            np.testing.assert_allclose(y, slope * x + offset, atol=0.05)
            slopes.append(slope)
    assert min(slopes) >= 0.8 * 0.9 - 1e-3 and max(slopes) <= 1.2 * 1.1 + 1e-3
    assert np.ptp(slopes) > 0.1


def test_hue_stays_in_its_range_and_gray_has_its_share():
    images = pictures(300, 13, 100, 156)
    images[..., 0] += 40
    gray = np.ptp(apply({"gray": 0.3}, images), axis=-1).max((1, 2)) < 0.1
    assert abs(gray.mean() - 0.3) < 0.09
    found = apply({"hue": 20.0}, images).astype(np.float64)

    def angles(x):
        luma = x @ np.array([0.299, 0.587, 0.114])
        return np.degrees(np.arctan2(x[..., 0] - luma, (x[..., 2] - luma) * 1.402 / 1.772))

    turns = (angles(found.mean((1, 2))) - angles(images.mean((1, 2))) + 180) % 360 - 180
    assert -20.01 < turns.min() < -17 and 17 < turns.max() < 20.01


# ---- occlusion ----------------------------------------------------------------------------------


def test_erasing_covers_one_rectangle_with_one_color():
    images = np.full((200, SIZE, SIZE, 3), 300, np.float32)  # cut to 255 where nothing covers it
    found = apply({"erase": 0.6}, images, seed=13)
    covered = (found < 255).any(-1)
    erased = covered.any((1, 2))
    assert abs(erased.mean() - 0.6) < 0.12
    for mask, image in zip(covered[erased], found[erased], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert mask.sum() == len(rows) * len(columns)
        assert max(len(rows), len(columns)) <= math.ceil(0.46 * SIZE)
        assert np.ptp(image[mask], axis=0).max() == 0


def test_occlusion_covers_parts_with_three_kinds_of_texture():
    # Picture i is of the one gray i / 4, which tells where a part of another picture is from.
    count = 240
    gray = np.arange(count, dtype=np.float32) / 4
    images = np.broadcast_to(gray[:, None, None, None], (count, SIZE, SIZE, 3)).copy()
    found = apply({"occlusion": 0.7}, images, seed=14)
    covered = (np.abs(found - images) > 1e-4).any(-1)
    touched = covered.any((1, 2))
    # A shape can lie between the pixels' middles or in part beyond the rim, hardly ever wholly.
    assert abs(touched.mean() - 0.7) < 0.1
    share = covered[touched].mean((1, 2))
    assert share.max() < 0.75 and 0.05 < share.mean() < 0.3
    kinds = set()
    for i in np.flatnonzero(touched):
        colors, number = np.unique(found[i][covered[i]].round(4), axis=0, return_counts=True)
        for color, n in zip(colors, number, strict=True):
            others = gray[[i - 1, i - 2, i - 3]]
            if np.ptp(color) == 0 and np.abs(others - color[0]).min() < 1e-3:
                kinds.add("another picture")
            elif n > 5:
                kinds.add("one color")
        if len(colors) > 30:
            kinds.add("clouds")
    assert kinds == {"another picture", "one color", "clouds"}


def test_a_part_of_another_picture_is_not_in_its_place():
    """Turned by a quarter or upside down: a face's own features never lie where they belong."""
    rng = np.random.default_rng(15)
    one = np.zeros((SIZE, SIZE, 3), np.float32)
    one[: SIZE // 4, : SIZE // 4] = 200.0  # the upper left corner alone
    images = np.stack([one if i % 2 else np.full_like(one, 100.0) for i in range(64)])
    images += rng.uniform(0, 1e-3, images.shape).astype(np.float32)
    found = apply({"occlusion": 1.0}, images, seed=15)
    # Shapes 1 and 3 take the next picture but one, turned; shape 2 one of the same kind, mirrored.
    from_corner = (np.abs(found[::2] - 200) < 0.01).all(-1)
    assert from_corner.any()
    assert not from_corner[:, : SIZE // 4, : SIZE // 4].any()


# ---- detail, noise, files -----------------------------------------------------------------------


def test_blur_and_low_resolution_keep_brightness_and_lose_detail():
    images = pictures(64)
    for settings in ({"blur": 2.0}, {"low_resolution": 3.0}, {"blur": 2.0, "low_resolution": 3.0}):
        found = apply(settings, images)
        np.testing.assert_allclose(found.mean((1, 2)), images.mean((1, 2)), atol=6)
        left = found.std((1, 2)).mean(-1) / images.std((1, 2)).mean(-1)
        assert left.max() <= 1.001 and left.min() < 0.3
    # Both hold together where both are asked for: fewer are spared.
    changed = np.abs(found - images).max((1, 2, 3)) > 0
    assert 0.6 < changed.mean() < 0.9


def test_noise_has_the_strength_asked_for():
    images = np.full((300, SIZE, SIZE, 3), 128, np.float32)
    deviation = (apply({"noise": 12.0}, images) - images).std((1, 2, 3))
    noisy = deviation[deviation > 0]
    assert 11 < noisy.max() < 12.5
    assert abs(noisy.mean() - 6) < 1
    assert abs((apply({"noise": 12.0}, images) - images).mean()) < 0.1


def test_files_of_lower_quality_differ_more():
    images = pictures(64, 16, 60, 200)
    errors = [np.abs(apply({"jpeg": j}, images) - images).mean() for j in (1.0, 30.0, 60.0, 95.0)]
    assert errors == sorted(errors) and errors[0] < 1 < errors[-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"erase": 1.1}, "erase=1.1 must be 0 to 1"),
        ({"occlusion": -0.1}, "occlusion=-0.1 must be 0 to 1"),
        ({"jpeg": 100.0}, "jpeg=100.0 must be 0 to 99"),
        ({"hue": 200.0}, "hue=200.0 must be 0 to 180"),
        ({"blur": float("nan")}, "blur=nan must be a number"),
        ({"noise": float("inf")}, "noise=inf must be a number"),
        ({"low_resolution": -1.0}, "low_resolution=-1.0"),
    ],
)
def test_strengths_that_cannot_be(settings, message):
    with pytest.raises(FaceAlignError) as caught:
        Corruptions(**settings)
    assert message in str(caught.value)
