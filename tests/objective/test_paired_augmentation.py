"""The augmentation's draws, and that landmarks stay on what they mark."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from keras_facealign.objective import Corruptions, PairedAugmentation, TransformRange

SIZE, CROP = 64, 96
STILL = TransformRange(rotation=0.0, scale=(1.0, 1.0), translation=0.0, flip=0.0)
PERMUTATION = [1, 0, 2]


def to_numpy(x):
    return ops.convert_to_numpy(x)


def augmentation(**settings):
    return PairedAugmentation(SIZE, PERMUTATION, **settings)


def dots(points):
    """Crops with a dot a landmark: the first red, the second green, the third blue."""
    grid = np.arange(CROP)
    x = np.exp(-((grid - points[..., :1]) ** 2) / 4.5)
    y = np.exp(-((grid - points[..., 1:]) ** 2) / 4.5)
    return (255 * np.einsum("bky,bkx->byxk", y, x)).astype(np.float32)


def batch_of(count, seed=0, reach=14):
    """Batches whose landmarks lie around the middle of the crop."""
    rng = np.random.default_rng(seed)
    middle = (CROP - 1) / 2
    points = rng.uniform(middle - reach, middle + reach, (count, 3, 2)).astype(np.float32)
    visibility = np.full((count, 3), 2, np.float32)
    return {"image": dots(points), "landmarks": points, "visibility": visibility}


def centers_of_mass(images):
    """(x, y) of each color, (B, 3, 2)."""
    images = images.astype(np.float64)
    grid, mass = np.arange(images.shape[1]), images.sum((1, 2))
    x = np.einsum("byxk,x->bk", images, grid) / mass
    y = np.einsum("byxk,y->bk", images, grid) / mass
    return np.stack([x, y], -1)


# ---- draws --------------------------------------------------------------------------------------


def draw(settings, count=4000, size=128, seed=1):
    matrix, flip = settings.sample(count, size, keras.random.SeedGenerator(seed))
    return to_numpy(matrix).astype(np.float64), to_numpy(flip)


def test_draws_stay_in_their_ranges_and_use_them():
    settings = TransformRange(rotation=30.0, scale=(0.8, 1.25), translation=0.1, flip=0.3)
    matrix, flip = draw(settings)
    linear = matrix[:, :, :2] * np.stack([1 - 2 * flip, np.ones_like(flip)], -1)[:, None]
    scale = np.sqrt(np.linalg.det(linear))
    angle = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    center = np.array([63.5, 63.5])
    shift = np.einsum("bij,j->bi", matrix[:, :, :2], center) + matrix[:, :, 2] - center
    # Similarities all: the linear part is orthogonal up to the scale.
    identity = np.einsum("bji,bjk->bik", linear, linear) / scale[:, None, None] ** 2
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(2), identity.shape), atol=1e-5)
    for values, low, high in (
        (scale, 0.8, 1.25),
        (angle, -30, 30),
        (shift[:, 0], -12.8, 12.8),
        (shift[:, 1], -12.8, 12.8),
    ):
        slack = 1e-4 * (high - low)
        assert low - slack <= values.min() <= low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) <= values.max() <= high + slack
    assert set(np.unique(flip)) == {0, 1} and abs(flip.mean() - 0.3) < 0.03
    # Enlarging and shrinking are equally likely, and nothing depends on anything else.
    assert abs(np.log(scale).mean()) < 0.01
    factors = np.stack([np.log(scale), angle, shift[:, 0], shift[:, 1], flip])
    assert np.abs(np.corrcoef(factors) - np.eye(5)).max() < 0.08


def test_nothing_to_draw_is_the_identity():
    matrix, flip = draw(STILL, count=5)
    assert not flip.any()
    np.testing.assert_allclose(matrix, [[[1, 0, 0], [0, 1, 0]]] * 5, atol=1e-6)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certain_flips(probability):
    settings = TransformRange(rotation=0.0, scale=(1.0, 1.0), translation=0.0, flip=probability)
    matrix, flip = draw(settings, count=200)
    assert (flip == probability).all()
    if probability:
        np.testing.assert_allclose(matrix, [[[-1, 0, 127], [0, 1, 0]]] * 200, atol=1e-4)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"scale": (1.2, 0.8)}, "scale=(1.2, 0.8)"),
        ({"scale": (0.0, 1.0)}, "scale=(0.0, 1.0)"),
        ({"flip": 1.5}, "flip=1.5 is a probability"),
        ({"flip": -0.1}, "flip=-0.1"),
        ({"rotation": -40.0}, "rotation=-40.0"),
        ({"translation": -0.1}, "translation=-0.1"),
    ],
)
def test_bad_ranges(settings, message):
    with pytest.raises(FaceAlignError) as caught:
        TransformRange(**settings)
    assert message in str(caught.value)


def everything(layer, batch):
    """What one training step draws from a layer."""
    base, base_flip = layer.sample_base(len(batch["image"]), CROP)
    matrix, flip = layer.sample_transform(len(batch["image"]))
    view = layer.view(batch, base, base_flip)
    return [
        to_numpy(x)
        for x in (base, base_flip, matrix, flip, view.images, layer.corrupt(view.images))
    ]


def test_equal_seeds_draw_equally_and_others_differently():
    batch = batch_of(6)
    settings = {"color": 0.3, "erase": 0.5}
    layers = [augmentation(seed=seed, **settings) for seed in (7, 7, 8)]
    first, same, other = ([everything(x, batch) for _ in range(2)] for x in layers)
    for step, same_step in zip(first, same, strict=True):
        for a, b in zip(step, same_step, strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.abs(first[0][0] - other[0][0]).max() > 0.1
    assert np.abs(first[0][0] - first[1][0]).max() > 0.1  # the second step is not the first again


def test_images_of_a_batch_draw_for_themselves():
    base, _ = augmentation().sample_base(8, CROP)
    assert len(np.unique(to_numpy(base)[:, 0, 0].round(6))) == 8


# ---- views --------------------------------------------------------------------------------------


def test_identity_is_the_crops_center_exactly():
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (3, CROP, CROP, 3)).astype(np.uint8)
    points = rng.uniform(0, CROP, (3, 3, 2)).astype(np.float32)
    batch = {"image": images, "landmarks": points, "visibility": np.ones((3, 3), np.float32)}
    layer = augmentation(base=STILL)
    base, flip = layer.sample_base(3, CROP)
    border = (CROP - SIZE) // 2
    for matrix in (base, layer.centering(CROP)):
        view = layer.view(batch, matrix, flip)
        found = to_numpy(view.images)
        assert found.dtype == np.float32
        center = images[:, border:-border, border:-border]
        np.testing.assert_allclose(found, center, atol=0.05)
        np.testing.assert_allclose(to_numpy(view.landmarks), points - border, atol=1e-4)
    # The evaluation's matrix has no rounding in it at all.
    np.testing.assert_array_equal(found, center.astype(np.float32))


@pytest.mark.parametrize("crop", [SIZE, SIZE + 1, CROP])
def test_centering_for_any_crop_size(crop):
    middle = np.array([[[(crop - 1) / 2] * 2]], np.float32)
    moved = geometry.transform_points(augmentation().centering(crop), ops.convert_to_tensor(middle))
    np.testing.assert_allclose(to_numpy(moved), [[[(SIZE - 1) / 2] * 2]])


def test_landmarks_follow_the_picture_through_both_views():
    """Each landmark lies on the dot of its color; after a flip, on that of its counterpart."""
    batch = batch_of(24)
    layer = augmentation(seed=3)
    base, base_flip = layer.sample_base(24, CROP)
    pair, pair_flip = layer.sample_transform(24)
    second_flip = ops.abs(base_flip - pair_flip)
    checked = 0
    for matrix, flip in ((base, base_flip), (geometry.compose(pair, base), second_flip)):
        view = layer.view(batch, matrix, flip)
        images, landmarks = to_numpy(view.images), to_numpy(view.landmarks)
        found, mirrored = centers_of_mass(images), to_numpy(flip) > 0
        assert mirrored.any() and not mirrored.all()
        found[mirrored] = found[mirrored][:, PERMUTATION]
        inner = ((landmarks > 6) & (landmarks < SIZE - 7)).all((1, 2))
        np.testing.assert_allclose(found[inner], landmarks[inner], atol=0.2)
        checked += inner.sum()
        assert (to_numpy(view.visible)[inner] == 1).all()
    assert checked > 30


def test_the_pair_maps_the_first_view_to_the_second():
    batch = batch_of(16, seed=4)
    layer = augmentation(seed=5)
    base, base_flip = layer.sample_base(16, CROP)
    pair, pair_flip = layer.sample_transform(16)
    first = to_numpy(layer.view(batch, base, base_flip).landmarks)
    both = geometry.compose(pair, base)
    second = to_numpy(layer.view(batch, both, ops.abs(base_flip - pair_flip)).landmarks)
    moved = to_numpy(geometry.transform_points(pair, ops.convert_to_tensor(first)))
    swap = to_numpy(pair_flip) > 0
    moved[swap] = moved[swap][:, PERMUTATION]
    np.testing.assert_allclose(second, moved, atol=1e-2)


def test_two_flips_restore_the_order_of_landmarks():
    batch = batch_of(1, seed=6)
    layer = augmentation()
    centering = layer.centering(CROP)
    plain = layer.view(batch, centering, np.zeros(1, np.float32))
    mirror = geometry.flip_matrix(ops.ones((1,)), SIZE)
    mirrored = layer.view(batch, geometry.compose(mirror, centering), np.ones(1, np.float32))
    expected = to_numpy(plain.landmarks)[:, PERMUTATION]
    expected[..., 0] = SIZE - 1 - expected[..., 0]
    np.testing.assert_allclose(to_numpy(mirrored.landmarks), expected, atol=1e-4)
    np.testing.assert_array_equal(to_numpy(mirrored.images), to_numpy(plain.images)[:, :, ::-1])


def test_visible_means_labeled_and_inside():
    border = (CROP - SIZE) / 2
    # From the view's first pixel to its last, and half a pixel around them.
    xs = [-0.6, -0.4, 0.0, 30.0, SIZE - 1, SIZE - 0.6, SIZE - 0.4, 1e5]
    inside = [0, 1, 1, 1, 1, 1, 0, 0]
    points = np.array([[(x + border, 40 + border) for x in xs]], np.float32)
    points = np.concatenate([points, points[..., ::-1], points])
    visibility = np.array([[1] * 8, [2] * 8, [0] * 8], np.float32)
    layer = PairedAugmentation(SIZE, range(8))
    batch = {"image": np.zeros((3, CROP, CROP, 3)), "landmarks": points, "visibility": visibility}
    view = layer.view(batch, layer.centering(CROP), np.zeros(3, np.float32))
    np.testing.assert_array_equal(to_numpy(view.visible), [inside, inside, [0] * 8])


def test_visibility_changes_places_with_its_landmark():
    batch = batch_of(2)
    batch["visibility"] = np.array([[0, 2, 1], [0, 2, 0]], np.uint8)
    layer = augmentation()
    flip = np.array([0, 1], np.float32)
    matrix = geometry.compose(
        geometry.flip_matrix(ops.convert_to_tensor(flip), SIZE),
        ops.broadcast_to(layer.centering(CROP), (2, 2, 3)),
    )
    view = layer.view(batch, matrix, flip)
    np.testing.assert_array_equal(to_numpy(view.visible), [[0, 1, 1], [1, 0, 0]])


def test_missing_positions_do_not_leak():
    batch = batch_of(12, seed=7)
    clean = {**batch, "visibility": batch["visibility"].copy()}
    clean["visibility"][:, 0] = 0
    clean["visibility"][::2, 2] = 0
    dirty = {
        **clean,
        "landmarks": np.where(clean["visibility"][..., None] > 0, batch["landmarks"], np.nan),
    }
    layer = augmentation(seed=8)
    matrix, flip = layer.sample_base(12, CROP)
    expected, found = layer.view(clean, matrix, flip), layer.view(dirty, matrix, flip)
    visible = to_numpy(found.visible)
    np.testing.assert_array_equal(visible, to_numpy(expected.visible))
    assert 0 < visible.mean() < 1
    landmarks = to_numpy(found.landmarks)
    assert np.isfinite(landmarks).all()
    kept = visible > 0
    np.testing.assert_array_equal(landmarks[kept], to_numpy(expected.landmarks)[kept])


def test_68_points_by_default_scheme():
    rng = np.random.default_rng(9)
    points = rng.uniform(30, 60, (2, 68, 2)).astype(np.float32)
    layer = PairedAugmentation(SIZE, IBUG68.flip_permutation)
    batch = {
        "image": np.zeros((2, CROP, CROP, 3)),
        "landmarks": points,
        "visibility": np.ones((2, 68)),
    }
    mirror = geometry.flip_matrix(np.ones(2, np.float32), CROP)
    matrix = geometry.compose(layer.centering(CROP), ops.convert_to_tensor(mirror))
    view = layer.view(batch, matrix, np.ones(2, np.float32))
    x = to_numpy(view.landmarks)[:, :, 0]
    np.testing.assert_allclose(x[:, 0], CROP - 1 - points[:, 16, 0] - 16, atol=1e-4)
    np.testing.assert_allclose(x[:, 36], CROP - 1 - points[:, 45, 0] - 16, atol=1e-4)
    np.testing.assert_allclose(x[:, 62], CROP - 1 - points[:, 62, 0] - 16, atol=1e-4)


# ---- configuration ------------------------------------------------------------------------------


def test_config_round_trip_keeps_settings_and_draws():
    layer = augmentation(
        base=TransformRange(rotation=11.0, scale=(0.9, 1.1)),
        pair={**STILL.to_dict(), "flip": 0.4},
        color=0.2,
        erase=0.1,
        hue=20.0,
        jpeg=60.0,
        seed=14,
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert copy.base == layer.base and copy.pair.flip == 0.4
    assert copy.corruptions == Corruptions(color=0.2, erase=0.1, hue=20.0, jpeg=60.0)
    for a, b in zip(layer.sample_base(3, CROP), copy.sample_base(3, CROP), strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_settings_over_what_the_layer_was_made_with():
    layer = augmentation(blur=1.0, noise=4.0)
    layer.configure({"noise": 0, "occlusion": 1})
    assert layer.corruptions == Corruptions(blur=1.0, occlusion=1.0)
    layer.configure({"jpeg": 50})
    assert layer.corruptions == Corruptions(blur=1.0, noise=4.0, jpeg=50.0)
    with pytest.raises(FaceAlignError, match="'sepia'.*base, pair, color.*jpeg and seed"):
        layer.configure({"sepia": 1.0})
    with pytest.raises(FaceAlignError, match="occlusion=1.5"):
        layer.configure({"occlusion": 1.5})
    assert layer.corruptions.jpeg == 50.0


def test_the_name_of_version_0_1_is_accepted():
    layer = augmentation()
    for accept in (
        lambda grey: Corruptions(**grey),
        lambda grey: augmentation(**grey).corruptions,
        lambda grey: layer.configure(grey) or layer.corruptions,
    ):
        with pytest.warns(DeprecationWarning, match="grey is now gray"):
            assert accept({"grey": 0.25}) == Corruptions(gray=0.25)
