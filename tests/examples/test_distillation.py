"""A network that learns the heatmaps of another beside the labels."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import SATFaceAlign
from tests.models.tiny import MAP, SIZE, as_numpy, faces, fix_weights, some_hidden
from tests.paths import ROOT

SETTINGS = {"foreground_weight": 4.0, "landmark_weight": 0.0, "coherent_weight": 0.0}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import distillation

    return distillation


def network(**settings):
    sizes = {"depth": 1, "width": 0.125, "input_size": SIZE, "map_size": MAP}
    return SATFaceAlign(stem="light", block="resnet", **{"stacks": 2, **sizes, **settings})


def networks(script, share, **augmentation):
    """A student and its teacher, of other weights."""
    model = fix_weights(network(), 1)
    teacher = fix_weights(network(), 2)
    student = script.student(model, teacher, share)
    student.compile("sgd", **SETTINGS, augmentation=augmentation)
    return student, teacher


def logits(model, images):
    return [as_numpy(maps) for maps in model(images, training=False)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def taught_loss(found, wanted):
    """The teacher's part of the loss, by its definition."""
    total = 0.0
    for maps in found:
        p = sigmoid(maps)
        entropy = -wanted * np.log(p) - (1 - wanted) * np.log(1 - p)
        total += (entropy * (1 + 4.0 * wanted)).mean()
    return total


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_loss_is_shared_between_labels_and_the_teachers_last_heatmaps(script, share):
    student, teacher = networks(script, share)
    view = student.draw_view(some_hidden(faces(3)))
    images = view.images
    wanted = sigmoid(logits(teacher, images)[-1])
    assert wanted.shape == (3, MAP, MAP, 68)
    np.testing.assert_allclose(as_numpy(view.taught), wanted, atol=1e-5)

    maps = student(images, training=False)
    labels = float(SATFaceAlign.view_loss(student, view, maps)[0])
    heatmap, _ = student.view_loss(view, maps)
    expected = (1 - share) * labels + share * taught_loss(logits(student, images), wanted)
    assert float(heatmap) == pytest.approx(expected, rel=1e-4)


def test_the_teacher_sees_views_before_they_are_corrupted(script, monkeypatch):
    student, _ = networks(script, 0.5, noise=60.0)
    seen, teach, corrupt = [], student.teach, student.augmentation.corrupt
    student.teach = lambda images: seen.append(images) or teach(images)
    monkeypatch.setattr(
        student.augmentation, "corrupt", lambda images: seen.append(images) or corrupt(images)
    )
    outputs = student.training_outputs(faces(4))
    before, corrupted = (as_numpy(images) for images in seen)
    assert before.shape == (4, SIZE, SIZE, 3)
    np.testing.assert_array_equal(before, corrupted)  # of each its input
    assert np.isfinite(float(outputs["loss"]))


def test_a_step_of_training_leaves_the_teacher_alone(script, without_graphs):
    student, teacher = networks(script, 0.5)
    before = [as_numpy(w) for w in teacher.weights]
    own = [as_numpy(w) for w in student.trainable_weights]
    assert len(student.weights) == len(teacher.weights)
    student.train_on_batch(faces(4))
    for weight, value in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(as_numpy(weight), value)
    moved = [
        np.abs(as_numpy(w) - v).max() for w, v in zip(student.trainable_weights, own, strict=True)
    ]
    assert min(moved) > 0
    student.test_on_batch(faces(4))  # labels alone


def test_a_teacher_of_another_size_is_refused(script):
    model, teacher = network(stacks=1), network(stacks=1, map_size=8)
    with pytest.raises(FaceAlignError, match="map_size is 8 in the teacher and 16"):
        script.student(model, teacher)
