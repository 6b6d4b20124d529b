"""Networks that move the picture themselves: their losses and landmarks against slow ones."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.landmarks import IBUG68
from keras_facealign.models import FaceAlignModel
from keras_facealign.objective import AugmentedView, Pair
from keras_facealign.ops import warp_affine
from tests.models.tiny import (
    CROP,
    SIZE,
    FixedPair,
    as_numpy,
    as_tensor,
    faces,
    fix_weights,
    some_hidden,
    tiny_model,
)

SETTINGS = {
    "coherent_weight": 0.5,
    "sigma": 1.3,
    "foreground_weight": 30.0,
    "landmark_weight": 0.2,
}


def rotations(count):
    """Turns about the center of the frame and shifts, another for each image; float32 (N, 2, 3)."""
    matrices = []
    for i in range(count):
        angle, shift = 0.5 - 0.4 * i, np.array([1.5 * i - 2, 3.0])
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        center = np.full(2, (SIZE - 1) / 2)
        matrices.append(np.column_stack([linear, center - linear @ center + shift]))
    return np.array(matrices, "float32")


TURNS = rotations(4)


class Turned(FixedPair):
    """Looks at turned pictures, as a spatial transformer would show them."""

    def heatmaps_and_frames(self, images, training=None):
        # By the place in the batch, so that the angle does not hang on what the picture shows.
        images, frames = Turn()(images)
        return self(images, training=training), frames


class Blind(Turned):
    """Does so too, but does not say so."""

    def heatmaps_and_frames(self, images, training=None):
        return super().heatmaps_and_frames(images, training)[0], None


class Turn(keras.layers.Layer):
    def call(self, images):
        frames = ops.convert_to_tensor(TURNS)[: ops.shape(images)[0]]
        return warp_affine(images, frames), frames

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape), keras.KerasTensor((images.shape[0], 2, 3))


def square(matrix):
    return np.vstack([matrix, [0, 0, 1]])


def in_frames(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def turned_view(view, frames):
    """A view as if it had been drawn turned, landmark by landmark."""
    points, visible = as_numpy(view.landmarks).astype(float), as_numpy(view.visible).copy()
    for i, frame in enumerate(frames):
        points[i] = in_frames(points[i], frame.astype(float))
        inside = ((points[i] >= -0.5) & (points[i] <= SIZE - 0.5)).all(-1)
        visible[i] *= inside
    images = warp_affine(view.images, as_tensor(frames))
    return AugmentedView(images, as_tensor(points), as_tensor(visible))


class TurnedBefore(FixedPair):
    """Gets the same pictures turned already, and knows T between them."""

    def make_views(self, batch):
        pair = super().make_views(batch)
        count = len(as_numpy(pair.flip))
        first, second = TURNS[:count], TURNS[count : 2 * count]
        between = [
            square(second[i]) @ square(as_numpy(pair.matrix)[i]) @ np.linalg.inv(square(first[i]))
            for i in range(count)
        ]
        return Pair(
            turned_view(pair.first, first),
            turned_view(pair.second, second),
            as_tensor(np.array(between)[:, :2]),
            pair.flip,
        )


def compiled(cls, **settings):
    model = fix_weights(tiny_model(stacks=2, cls=cls))
    model.decode_method = "soft_argmax"
    model.compile("sgd", run_eagerly=True, **{**SETTINGS, **settings})
    return model


def pictures(count):
    border = (CROP - SIZE) // 2
    return faces(count, 3)["image"][:, border : border + SIZE, border : border + SIZE]


@pytest.mark.parametrize("recipe", ["paper", "insightface_2018"])
def test_loss_is_that_of_pictures_turned_before(recipe):
    batch = some_hidden(faces(2))
    turned, before = (compiled(cls, recipe=recipe) for cls in (Turned, TurnedBefore))
    names = ("loss", "heatmap_loss", "coherent_loss")

    def losses(model):
        outputs = model.training_outputs(batch)
        return {name: float(as_numpy(outputs[name])) for name in names}

    logs = losses(turned), losses(before)
    assert logs[0] == pytest.approx(logs[1], rel=5e-5)
    assert min(logs[0].values()) > 1e-3
    # And not what comes of the same heatmaps where they are taken to show the input's frame.
    blind = compiled(Blind, recipe=recipe)
    taken = losses(blind)
    for name in names[1:]:
        assert taken[name] != pytest.approx(logs[0][name], rel=3e-4), name


@pytest.mark.usefixtures("without_graphs")
def test_validation_is_that_of_pictures_turned_before():
    images, points = pictures(3), np.random.default_rng(0).uniform(2, 30, (3, 68, 2))
    visibility = np.ones((3, 68), "float32")
    batch = {"image": images, "landmarks": points.astype("float32"), "visibility": visibility}
    model, plain = compiled(Turned), compiled(FaceAlignModel)
    outputs = model.validation_outputs(batch)
    found = float(as_numpy(outputs["loss"]))
    before = turned_view(
        AugmentedView(as_tensor(images), as_tensor(points), as_tensor(visibility)), TURNS[:3]
    )
    assert 0.5 < as_numpy(before.visible).mean() < 1  # some were turned out of the frame
    expected = plain.validation_outputs(
        {"image": before.images, "landmarks": before.landmarks, "visibility": before.visible}
    )["loss"]
    assert found == pytest.approx(float(as_numpy(expected)), rel=1e-4)
    # The error is measured in the input's frame, over all that the input shows.
    landmarks, _ = model.predict_landmarks(images)
    eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)
    error = np.linalg.norm(landmarks - points, axis=-1).mean(-1) / eyes
    logs = model.compute_metrics(None, None, outputs)
    assert float(logs["nme"]) == pytest.approx(100 * error.mean(), rel=1e-3)


def test_landmarks_are_turned_back():
    model, plain = compiled(Turned), compiled(FaceAlignModel)
    images = pictures(3)
    landmarks, confidence = model.predict_landmarks(images)
    before = as_numpy(warp_affine(as_tensor(images), as_tensor(TURNS[:3])))
    expected, sure = plain.predict_landmarks(np.clip(before, 0, 255))
    np.testing.assert_allclose(confidence, sure, atol=1e-5)
    for i in range(3):
        inverse = np.linalg.inv(square(TURNS[i].astype(float)))[:2]
        np.testing.assert_allclose(landmarks[i], in_frames(expected[i], inverse), atol=2e-3)
    assert np.abs(landmarks - expected).max() > 3


def test_a_step_of_training_sees_the_frames():
    """Through `fit`, compiled as Keras sees fit: the losses of the eager step."""
    batch = faces(2)
    eager = compiled(Turned)
    outputs = eager.training_outputs(batch)
    names = ("loss", "heatmap_loss", "coherent_loss")
    expected = {name: float(as_numpy(outputs[name])) for name in names}
    expected["nme"] = float(eager.compute_metrics(None, None, outputs)["nme"])
    model = compiled(Turned)
    model.compile("sgd", **SETTINGS)
    logs = model.train_on_batch(batch, return_dict=True)
    for name, value in expected.items():
        assert float(logs[name]) == pytest.approx(value, rel=1e-3), name


def test_landmarks_of_both_views_change_places_with_the_flip():
    rng = np.random.default_rng(1)
    first, second = (rng.uniform(size=(2, 68)) < 0.6 for _ in "12")
    points = as_tensor(np.zeros((2, 68, 2)))
    pair = Pair(
        AugmentedView(None, points, as_tensor(first)),
        AugmentedView(None, points, as_tensor(second)),
        as_tensor(TURNS[:2]),
        as_tensor([0, 1]),
    )
    swap = IBUG68.flip_permutation
    expected = np.stack([first[0] & second[0], first[1, swap] & second[1]])
    np.testing.assert_array_equal(as_numpy(pair.visible_in_both(swap)), expected)
