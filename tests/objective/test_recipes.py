"""Recipes and coherent terms by name, what they come to, and that they survive a configuration."""

from __future__ import annotations

import json
from typing import get_args

import keras
import numpy as np
import pytest

from keras_facealign.cli.train import RecipeName
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from keras_facealign.objective import (
    COHERENT_TERMS,
    TRAINING_RECIPES,
    AugmentedView,
    CoherentTerm,
    Pair,
    TransformRange,
)
from keras_facealign.objective.recipes import RENAMED_RECIPES, TrainingSettings
from tests.models.tiny import MAP, SIZE, as_numpy, as_tensor, faces, tiny_model

SWAP = IBUG68.flip_permutation


@pytest.fixture(scope="module")
def model():
    return tiny_model(stacks=2)


# ---- the original codes' losses ---------------------------------------------------------------


def mirrored_pair(seed=0):
    """A face and its mirror image, all landmarks visible; heatmaps of two stacks for each."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, SIZE - 1, (3, 68, 2)).astype("float32")
    mirrored = points[:, SWAP] * [-1, 1] + [SIZE - 1, 0]
    maps = rng.normal(size=(2, 2, 3, MAP, MAP, 68)).astype("float32")
    views = [
        AugmentedView(None, as_tensor(p), as_tensor(np.ones((3, 68)))) for p in (points, mirrored)
    ]
    matrix = np.tile(np.array([[[-1, 0, SIZE - 1], [0, 1, 0]]]), (3, 1, 1))
    return Pair(*views, as_tensor(matrix), as_tensor(np.ones(3))), (points, mirrored), maps


def labels(points, patch):
    """The codes' label maps, landmark by landmark: a patch of sigma 1 and peak 20, or one 1."""
    maps = np.zeros((len(points), MAP, MAP, 68))
    rows, columns = np.mgrid[:MAP, :MAP]
    for b, k in np.ndindex(len(points), 68):
        column, row = (int(v / 2) for v in points[b, k].tolist())
        dx, dy = columns - column, rows - row
        near = (abs(dx) <= 3) & (abs(dy) <= 3)
        blob = np.where(near, 20 * np.exp(-(dx**2 + dy**2) / 2), 0)
        maps[b, :, :, k] = blob if patch else (dx == 0) & (dy == 0)
    return maps


def spatial_crossentropy(maps, target):
    """(B,): the mean over a face's maps and pixels of -g log p."""
    maps = maps.astype(float)
    log_p = maps - np.log(np.exp(maps).sum((1, 2), keepdims=True))
    return (-target * log_p).mean((1, 2, 3))


def slow_terms(recipe, points, maps):
    """What the code of that name takes of a batch of both halves: its two terms, unweighted."""
    heatmap = coherent = 0.0
    target = labels(np.concatenate(points), recipe == "dfa")
    for first, second in zip(*maps, strict=True):
        stack = np.concatenate([first, second]).astype(float)
        if recipe == "dfa":
            heatmap += ((stack - target) ** 2).mean()
        elif recipe == "insightface":
            heatmap += spatial_crossentropy(stack, target).sum()
        else:
            heatmap += spatial_crossentropy(stack, target).mean() / 2
        difference = second.astype(float) - first[:, :, ::-1][..., SWAP]
        size = abs(difference)
        smooth = np.where(size < 1, size**2 / 2, size - 0.5)
        coherent += (smooth if recipe == "insightface" else difference**2).mean() / 2
    return heatmap, coherent


@pytest.mark.parametrize("recipe", ["dfa", "insightface", "insightface_2018"])
def test_loss_of_a_recipe_is_its_codes(model, recipe):
    pair, points, maps = mirrored_pair()
    heatmap, coherent = slow_terms(recipe, points, maps)
    tensors = [[as_tensor(m) for m in stacks] for stacks in maps]
    # The second weight is one that shows.
    for options, weight in (({}, 1e-4), ({"coherent_weight": 3.0}, 3.0)):
        model.compile("sgd", recipe=recipe, **options)
        found = float(as_numpy(model.pair_loss(pair, *tensors)["loss"]))
        assert found == pytest.approx(heatmap + weight * coherent, rel=1e-4)


def test_pairs_of_the_codes_are_mirror_images(model):
    model.compile("sgd", recipe="insightface_2018")
    pair = model.make_views(faces(4))
    np.testing.assert_array_equal(as_numpy(pair.flip), np.ones(4))
    mirror = np.tile([[-1, 0, SIZE - 1], [0, 1, 0]], (4, 1, 1))
    np.testing.assert_allclose(as_numpy(pair.matrix), mirror, atol=1e-4)
    first, second = as_numpy(pair.first.images), as_numpy(pair.second.images)
    np.testing.assert_allclose(second, first[:, :, ::-1], atol=0.1)
    # The first views are turned and scaled, but never mirrored or shifted.
    base = model.augmentation.base
    assert base == TransformRange(rotation=40.0, scale=(0.8, 1.2), translation=0.0, flip=0.0)


def test_pairs_that_are_turned_only(model):
    model.compile("sgd", coherent="rotation")
    pair = model.make_views(faces(6))
    assert not as_numpy(pair.flip).any()
    matrix = as_numpy(pair.matrix).astype(float)
    linear, middle = matrix[:, :, :2], np.full(2, (SIZE - 1) / 2)
    np.testing.assert_allclose(np.linalg.det(linear), np.ones(6), atol=1e-5)
    np.testing.assert_allclose(
        linear @ middle + matrix[:, :, 2], np.tile(middle, (6, 1)), atol=1e-3
    )
    angles = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert np.abs(angles).max() <= 40.001 and np.ptp(angles) > 10
    # What is given stands above the term's own range, field by field.
    model.compile("sgd", coherent="rotation", augmentation={"pair": {"rotation": 5.0}})
    assert model.augmentation.pair == TransformRange(5.0, (1.0, 1.0), 0.0, 0.0)
    model.compile("sgd")
    assert model.augmentation.pair.flip == 0.5


# ---- names and what stands above them -----------------------------------------------------------


def test_terms_have_the_papers_and_the_codes_values():
    assert CoherentTerm() == COHERENT_TERMS["paper"]
    assert COHERENT_TERMS["paper"].weight == 0.001
    for name in ("flip", "rotation", "flip_smooth_l1"):
        term = COHERENT_TERMS[name]
        assert (term.weight, term.region, term.stacks) == (1e-4, "whole", "mean")
        assert term.transform == name.partition("_")[0]
        assert term.error == ("smooth_l1" if "l1" in name else "mean_squared_error")


def test_the_command_offers_every_recipe():
    assert [*get_args(RecipeName)] == [*TRAINING_RECIPES, *RENAMED_RECIPES]


def test_arguments_stand_above_the_recipe():
    settings = TrainingSettings.resolve(
        "dfa",
        coherent_weight=0.5,
        peak=10,
        coherent={"transform": "rotation", "error": "smooth_l1"},
        augmentation={"base": {"rotation": 10.0}, "color": 0.2},
    )
    assert (settings.peak, settings.sigma, settings.targets) == (10.0, 1.0, "patch")
    assert settings.coherent == CoherentTerm("rotation", "smooth_l1", weight=0.5)
    # Field by field, down to a range of the recipe's.
    base = {"rotation": 10.0, "translation": 0.0, "flip": 0.0}
    assert settings.augmentation == {"base": base, "color": 0.2}
    assert TrainingSettings.resolve("dfa").augmentation["base"] == {"translation": 0.0, "flip": 0.0}
    still = TransformRange(0.0, (1.0, 1.0), 0.0, 0.0)
    other = TrainingSettings.resolve("insightface_2018", augmentation={"base": still})
    assert other.augmentation["base"] is still


@pytest.mark.parametrize("recipe", TRAINING_RECIPES)
def test_a_recipe_survives_the_configuration(recipe):
    given = {"augmentation": {"base": TransformRange(rotation=7.0)}, "foreground_weight": 2.0}
    model, copy = tiny_model(), tiny_model()
    model.compile(keras.optimizers.SGD(0.1), recipe=recipe, **given)
    config = model.get_compile_config()
    copy.compile_from_config(json.loads(json.dumps(config)))
    assert json.dumps(copy.get_compile_config()) == json.dumps(config)
    assert copy.augmentation.get_config() == model.augmentation.get_config()
    first, second = (m._training.to_dict() for m in (model, copy))
    assert first.pop("augmentation")["base"]["rotation"] == 7.0
    second.pop("augmentation")
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "mxnet"}, "recipe 'mxnet'.*paper, dfa"),
        ({"coherent": "shift"}, "coherent 'shift'.*flip_smooth_l1"),
        ({"coherent": {"transform": "shift"}}, "transform 'shift'.*rotation"),
        ({"coherent": {"error": "hinge"}}, "error 'hinge'.*smooth_l1"),
        ({"coherent": {"region": "all"}}, "region 'all'.*whole"),
        ({"coherent": {"stacks": "max"}}, "stacks 'max'.*mean"),
        ({"coherent": {"weight": -1}}, "coherent_weight is -1"),
        ({"coherent": {"lambda": 1}}, "lambda.*fields of CoherentTerm: transform, error"),
        ({"coherent": 3}, "coherent 3"),
        ({"targets": "square"}, "targets 'square'.*one_hot"),
        ({"targets": "patch"}, r"sigma is 1.5; a patch.*whole number"),
        ({"heatmap_reduction": "sum"}, "'sum'.*sum_of_image_means"),
        ({"heatmap_weight": float("nan")}, "heatmap_weight is nan"),
        ({"peak": 0}, "peak is 0"),
        ({"nme_normalizer": "eyes"}, "nme_normalizer 'eyes'.*box_size"),
        ({"peak": 20}, "peak is 20.*probabilities"),
    ],
)
def test_settings_that_cannot_be(model, arguments, message):
    with pytest.raises(FaceAlignError, match=message):
        model.compile("sgd", **arguments)
