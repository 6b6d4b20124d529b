"""`FaceAlignModel` called and asked for landmarks; its loss against a slow one of equation 1."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from keras_facealign.models import FaceAlignModel, SATFaceAlign
from keras_facealign.networks import Architecture
from keras_facealign.objective import AugmentedView, Pair, TransformRange
from tests.models.tiny import MAP, SIZE, as_numpy, as_tensor, fix_weights, tiny_model


@pytest.fixture(scope="module")
def model():
    return fix_weights(tiny_model(stacks=2))


def pictures(count, size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype("uint8")


# ---- calling --------------------------------------------------------------------------------


@pytest.mark.parametrize("stacks", [1, 2])
def test_heatmaps_of_every_stack_in_the_standard_size(stacks):
    model = SATFaceAlign(stacks=stacks, depth=1, width=0.125, stem="light")
    heatmaps = model(as_tensor(pictures(1, 128)))
    assert isinstance(heatmaps, list)
    assert [tuple(maps.shape) for maps in heatmaps] == stacks * [(1, 64, 64, 68)]
    assert all("float32" in str(maps.dtype) for maps in heatmaps)
    assert (model.input_size, model.num_landmarks, model.scheme) == (128, 68, IBUG68)


@pytest.mark.parametrize("topology", ["sat", "hourglass"])
@pytest.mark.parametrize("block", ["resnet", "hpm", "cab"])
def test_all_parts_are_built_with_the_model(topology, block):
    model = FaceAlignModel(
        Architecture(topology, 1, 2, block, 0.125, input_size=SIZE, map_size=MAP, stem="light")
    )
    # Else `fit` on JAX and PyTorch would first call the model on a whole training batch.
    assert [layer.path for layer in model._flatten_layers() if not layer.built] == []


def test_stacks_differ_and_bytes_equal_floats(model):
    images = pictures(2)
    from_bytes, from_floats = model(images), model(images.astype("float32"))
    for a, b in zip(from_bytes, from_floats, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))
    assert np.abs(as_numpy(from_bytes[0]) - as_numpy(from_bytes[1])).max() > 0.1


# ---- landmarks ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_landmarks_are_those_of_the_last_stack(model, count):
    images = pictures(count)
    landmarks, confidence = model.predict_landmarks(images)
    assert (landmarks.shape, confidence.shape) == ((count, 68, 2), (count, 68))
    assert landmarks.dtype == confidence.dtype == np.float32
    last = as_numpy(model(images)[-1])
    for i in range(count):
        for k in range(68):
            maps = last[i, :, :, k]
            row, column = np.unravel_index(maps.argmax(), maps.shape)
            # The window of 7 pixels around the peak bounds the sub-pixel position.
            assert np.abs((landmarks[i, k] + 0.5) / 2 - 0.5 - [column, row]).max() < 3
            assert confidence[i, k] == pytest.approx(1 / (1 + np.exp(-maps.max())), abs=1e-5)


def test_batch_size_changes_nothing(model):
    images = pictures(7)
    together = model.predict_landmarks(images)
    for batch_size in (1, 3, 7):
        apart = model.predict_landmarks(images, batch_size=batch_size)
        for a, b in zip(together, apart, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_bytes_and_floats_find_the_same(model):
    images = pictures(2)
    for floats in (images.astype("float32"), images.astype("float64")):
        for a, b in zip(
            model.predict_landmarks(images), model.predict_landmarks(floats), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_no_image_gives_no_landmark(model):
    landmarks, confidence = model.predict_landmarks(np.zeros((0, SIZE, SIZE, 3), "uint8"))
    assert (landmarks.shape, confidence.shape) == ((0, 68, 2), (0, 68))
    assert landmarks.dtype == confidence.dtype == np.float32


def test_other_decoding_methods_take_effect(model):
    images = pictures(2)
    sub_pixel, _ = model.predict_landmarks(images)
    usual, model.decode_method = model.decode_method, "argmax"
    try:
        whole, _ = model.predict_landmarks(images)
    finally:
        model.decode_method = usual
    np.testing.assert_array_equal((whole + 0.5) / 2 - 0.5, np.rint((whole + 0.5) / 2 - 0.5))
    assert np.abs(whole - sub_pixel).max() > 0.1
    np.testing.assert_array_equal(model.predict_landmarks(images)[0], sub_pixel)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((SIZE, SIZE, 3), "uint8"), r"\(32, 32, 3\).*FaceAligner"),
        (np.zeros((1, SIZE, SIZE, 1), "uint8"), r"\(1, 32, 32, 1\)"),
        (np.zeros((1, 128, 128, 3), "uint8"), r"\(1, 128, 128, 3\).*\(batch, 32, 32"),
        (np.full((1, SIZE, SIZE, 3), -0.5), "-0.5 to -0.5"),
        (np.full((1, SIZE, SIZE, 3), 256, "int32"), "256 to 256"),
        (np.full((1, SIZE, SIZE, 3), np.nan, "float32"), "nan to nan"),
    ],
)
def test_images_that_are_none(model, images, message):
    with pytest.raises(FaceAlignError, match=message):
        model.predict_landmarks(images)


def test_batch_size_must_be_positive(model):
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        model.predict_landmarks(pictures(1), batch_size=0)


def test_number_of_landmarks_must_fit_the_scheme():
    with pytest.raises(FaceAlignError, match="num_landmarks=29.*ibug68.*68 points"):
        FaceAlignModel(Architecture(num_landmarks=29))


# ---- loss -----------------------------------------------------------------------------------

SETTINGS = {
    "coherent_weight": 0.3,
    "sigma": 1.2,
    "foreground_weight": 4.0,
    "landmark_weight": 0.5,
}
TURN = np.array(
    [[[0.9, 0.2, 1.5], [-0.2, 0.9, 4.0]], [[-1.1, 0.1, 32.0], [0.1, 1.1, -3.0]]], "float32"
)
FLIP = np.array([0, 1], "float32")


def random_pair(seed=0):
    """Two views as arrays, and heatmaps of two stacks for each, of smooth random logits."""
    rng = np.random.default_rng(seed)
    views = []
    for _ in range(2):
        visible = (rng.uniform(size=(2, 68)) < 0.7).astype("float32")
        views.append((rng.uniform(0, SIZE - 1, (2, 68, 2)).astype("float32"), visible))
    maps = [[2 * rng.normal(size=(2, MAP, MAP, 68)).astype("float32") for _ in "12"] for _ in "12"]
    return views, maps


def measured_loss(model, views, maps):
    pair = Pair(
        *(AugmentedView(None, as_tensor(points), as_tensor(visible)) for points, visible in views),
        as_tensor(TURN),
        as_tensor(FLIP),
    )
    first, second = ([as_tensor(m) for m in stacks] for stacks in maps)
    terms = model.pair_loss(pair, first, second)
    return {name: float(as_numpy(keras.ops.convert_to_tensor(v))) for name, v in terms.items()}


def slow_view_loss(points, visible, maps, sigma, foreground_weight):
    """L(p-g) and the mean distance of the decoded position, one map at a time."""
    rows, columns = np.mgrid[:MAP, :MAP].astype(float)
    losses, distances = [], []
    for b, k in np.argwhere(visible > 0):
        x, y = (points[b, k].astype(float) + 0.5) / 2 - 0.5
        target = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
        logits = maps[b, :, :, k].astype(float)
        probability = 1 / (1 + np.exp(-logits))
        entropy = -target * np.log(probability) - (1 - target) * np.log(1 - probability)
        losses.append(np.mean(entropy * (1 + foreground_weight * target)))
        row, column = np.unravel_index(logits.argmax(), logits.shape)
        window = (np.abs(rows - row) <= 3) & (np.abs(columns - column) <= 3)
        mass = np.where(window, probability, 0)
        found = np.array([np.sum(mass * columns), np.sum(mass * rows)]) / mass.sum()
        distance = np.hypot(*(found - [x, y]))
        if distance < 6:
            distances.append(np.sqrt(distance**2 + 0.01))
    return np.mean(losses), np.mean(distances)


def slow_coherent_loss(first, second, first_visible, second_visible):
    """L(p-p), one pixel at a time; the first view's maps are read where T comes from."""
    swap = IBUG68.flip_permutation
    squares = []
    for b in range(2):
        linear, offset = TURN[b, :, :2].astype(float), TURN[b, :, 2].astype(float)
        order = swap if FLIP[b] else np.arange(68)
        seen = (first_visible[b, order] > 0) & (second_visible[b] > 0)
        for row in range(MAP):
            for column in range(MAP):
                target = np.array([column, row]) * 2 + 0.5
                x, y = (np.linalg.solve(linear, target - offset) + 0.5) / 2 - 0.5
                if not (0 <= x <= MAP - 1 and 0 <= y <= MAP - 1):
                    continue
                x0, y0 = min(int(x), MAP - 2), min(int(y), MAP - 2)
                fx, fy = x - x0, y - y0
                corners = first[b, y0 : y0 + 2, x0 : x0 + 2].astype(float)
                weights = np.outer([1 - fy, fy], [1 - fx, fx])
                moved = np.einsum("ij,ijk->k", weights, corners)[order]
                squares.extend((second[b, row, column] - moved)[seen] ** 2)
    return np.mean(squares)


def test_pair_loss_is_equation_1(model):
    views, maps = random_pair()
    model.compile("sgd", **SETTINGS)
    measured = measured_loss(model, views, maps)
    heatmap = landmark = coherent = 0.0
    for (points, visible), stacks in zip(views, maps, strict=True):
        for stack in stacks:
            terms = slow_view_loss(points, visible, stack, 1.2, 4.0)
            heatmap, landmark = heatmap + terms[0], landmark + terms[1]
    for first, second in zip(*maps, strict=True):
        coherent += slow_coherent_loss(first, second, views[0][1], views[1][1])
    assert measured["heatmap_loss"] == pytest.approx(heatmap, rel=1e-5)
    assert measured["landmark_loss"] == pytest.approx(landmark, rel=1e-4)
    assert measured["coherent_loss"] == pytest.approx(coherent, rel=1e-4)
    expected = heatmap + 0.3 * coherent + 0.5 * landmark
    assert measured["loss"] == pytest.approx(expected, rel=1e-4)


def test_squared_error_and_a_function_of_ones_own(model):
    views, maps = random_pair()
    losses = []
    for heatmap_loss in ("mean_squared_error", lambda targets, logits: (targets - logits) ** 2):
        model.compile("sgd", heatmap_loss=heatmap_loss)
        losses.append(measured_loss(model, views, maps)["heatmap_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    # Logits of variance 4 against targets that are nearly 0 everywhere, four times.
    assert losses[0] == pytest.approx(16, rel=0.05)


def test_hidden_landmarks_do_not_count(model):
    views, maps = random_pair()
    model.compile("sgd", **SETTINGS)
    before = measured_loss(model, views, maps)
    swap = IBUG68.flip_permutation
    hidden_first, hidden_second = (visible == 0 for _, visible in views)
    for points, visible in views:
        points[visible == 0] = 1e4
    first, second = maps
    for stack in first:
        stack.transpose(0, 3, 1, 2)[hidden_first] += 50.0
    for stack in second:
        stack.transpose(0, 3, 1, 2)[hidden_second] -= 50.0
    assert measured_loss(model, views, maps) == pytest.approx(before, rel=1e-5)
    # ... and those that are seen do, each in its own channel of the mirrored view.
    seen = np.flatnonzero((views[0][1][1] > 0) & (views[1][1][1, swap] > 0))[0]
    second[0][1, :, :, swap[seen]] += 1.0
    assert measured_loss(model, views, maps)["coherent_loss"] != pytest.approx(
        before["coherent_loss"], rel=1e-3
    )


def test_nothing_visible_costs_nothing(model):
    views, maps = random_pair()
    views = [(points, np.zeros_like(visible)) for points, visible in views]
    model.compile("sgd", **SETTINGS)
    assert measured_loss(model, views, maps) == dict.fromkeys(
        ("loss", "heatmap_loss", "landmark_loss", "coherent_loss"), 0.0
    )


def test_coherent_weight_of_zero_leaves_the_term_out(model):
    views, maps = random_pair()
    model.compile("sgd", coherent_weight=0)
    measured = measured_loss(model, views, maps)
    assert measured["coherent_loss"] == 0
    assert measured["loss"] == measured["heatmap_loss"]


def test_paper_setting_is_the_default(model):
    views, maps = random_pair()
    model.compile()
    measured = measured_loss(model, views, maps)
    plain = [
        slow_view_loss(points, visible, stack, 1.5, 0.0)[0]
        for (points, visible), stacks in zip(views, maps, strict=True)
        for stack in stacks
    ]
    assert measured["heatmap_loss"] == pytest.approx(sum(plain), rel=1e-5)
    expected = measured["heatmap_loss"] + 0.001 * measured["coherent_loss"]
    assert measured["loss"] == pytest.approx(expected, rel=1e-6)


# ---- compiling ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coherent_weight": -1}, "coherent_weight is -1"),
        ({"coherent_weight": float("nan")}, "coherent_weight is nan"),
        ({"foreground_weight": -0.1}, "foreground_weight is -0.1"),
        ({"landmark_weight": -2}, "landmark_weight is -2"),
        ({"sigma": 0}, "sigma is 0"),
        ({"heatmap_loss": "hinge"}, "'hinge'.*sigmoid_crossentropy"),
        ({"loss": "mse"}, "loss='mse'.*heatmap_loss"),
        ({"metrics": ["mae"]}, "metrics=.*NME"),
        ({"augmentation": {"zoom": 2}}, "'zoom'.*base, pair"),
        ({"augmentation": {"pair": {"angle": 2}}}, "'pair'.*angle.*rotation, scale"),
        ({"augmentation": {"base": 40}}, "'base'.* is 40"),
        ({"augmentation": {"base": {"scale": (1.2, 0.8)}}}, r"scale=\(1.2, 0.8\)"),
        ({"augmentation": {"base": {"flip": 2}}}, "flip=2"),
    ],
)
def test_arguments_that_cannot_be(model, arguments, message):
    with pytest.raises(FaceAlignError, match=message):
        model.compile("sgd", **arguments)


def test_augmentation_settings_override_field_by_field():
    model = tiny_model()
    plain = model.augmentation.get_config()
    turned = TransformRange(rotation=10)
    settings = {"base": turned, "pair": {"rotation": 5, "scale": [0.9, 1.1]}, "color": 0.2}
    model.compile("sgd", augmentation=settings)
    assert model.augmentation.base == turned
    pair = {**plain["pair"], "rotation": 5, "scale": (0.9, 1.1)}
    assert model.augmentation.pair == TransformRange(**pair)
    assert (model.augmentation.corruptions.color, model.augmentation.corruptions.erase) == (
        0.2,
        0.0,
    )
    model.compile("sgd")
    assert model.augmentation.get_config() == plain


def test_architecture_survives_its_config():
    model = tiny_model(stacks=2, head_prior=0.01)
    copy = FaceAlignModel.from_config(model.get_config())
    assert (copy.architecture, copy.name) == (model.architecture, model.name)
    # A user's own subclass, whose arguments are those of its base.
    for base in (FaceAlignModel, SATFaceAlign):
        kind = type("Mine", (base,), {})
        mine = tiny_model(cls=kind) if base is FaceAlignModel else kind(1, 1, width=0.125)
        again = kind.from_config(mine.get_config())
        assert type(again) is kind
        assert again.architecture == mine.architecture


def test_arguments_that_there_are_not_are_named():
    """Keras would ignore them."""
    for change, message in (
        ({"decode_method": "argmax"}, "FaceAlignModel has no argument 'decode_method'.*scheme"),
        ({"trainable": "no"}, "trainable is 'no'; give True or False"),
    ):
        with pytest.raises(FaceAlignError, match=message):
            FaceAlignModel.from_config({**tiny_model().get_config(), **change})
    frozen = FaceAlignModel.from_config({**tiny_model().get_config(), "trainable": False})
    assert not frozen.trainable_weights and frozen.non_trainable_weights
