"""Turned views of a face: their poses, landmarks and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.face_profiling import (
    HeadFitter,
    ViewSettings,
    check_yaws,
    turned_views,
)
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box
from tests.data.face_profiling.head import example

SETTINGS = ViewSettings(yaws=(20.0, 60.0), jitter=0.0, size=64)


@pytest.fixture(scope="module")
def views(fitter, model):
    return turned_views(example(model), fitter, SETTINGS, np.random.default_rng(0))


def test_turns_are_those_asked_for_on_the_way_the_head_went(views):
    assert [view.turn for view in views][1:] == pytest.approx([20, 60])
    assert views[0].turn == pytest.approx(12, abs=2)
    for view in views:
        assert view.image.shape == (64, 64, 3) and view.image.dtype == np.uint8
        assert view.pose[1] == pytest.approx(view.turn, abs=2)
        # The crop is centered on the landmarks and twice as large.
        box = landmarks_box(view.landmarks)
        assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(32, abs=0.1)
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, 31.5, atol=0.1)


def test_landmarks_turn_with_the_head(views):
    """Scaled orthography of one rigid head: turned landmarks are a rotation of those before."""
    solids = []
    for view in views:
        solid = np.column_stack([view.landmarks * [1, -1], view.depth])
        solid = solid - solid.mean(axis=0)
        solids.append(solid / np.linalg.norm(solid))
    for view, solid in zip(views[1:], solids[1:], strict=True):
        u, _, vt = np.linalg.svd(solids[0].T @ solid)
        rotation = u @ vt
        np.testing.assert_allclose(solids[0] @ rotation, solid, atol=1e-4)
        angle = np.degrees(np.arccos((np.trace(rotation) - 1) / 2))
        assert angle == pytest.approx(view.turn - views[0].turn, abs=0.05)


def test_the_jaws_shift_turns_with_the_head(views, fitter, model):
    shift = np.zeros((17, 3), np.float32)
    shift[3] = [0.5, -1.0, 2.0]
    shifted = HeadFitter(replace(model, jaw_shift=shift))
    moved = turned_views(example(model), shifted, SETTINGS, np.random.default_rng(0))
    units = np.ptp(model.neutral[model.landmarks[17:]], axis=0)
    for before, after in zip(views, moved, strict=True):
        solids = [np.column_stack([v.landmarks * [1, -1], v.depth]) for v in (before, after)]
        # The crops differ, since the box does: both are laid on the points within the face.
        solids = [solid - solid[17:].mean(axis=0) for solid in solids]
        solids = [solid / np.linalg.norm(solid[17:]) for solid in solids]
        # As the camera turns it, and back.
        found = (solids[1] - solids[0])[:17] @ rotation_from_angles(*before.pose)
        head = solids[0][17:] @ rotation_from_angles(*before.pose)
        unit = float(np.median(np.ptp(head, axis=0) / units))
        np.testing.assert_allclose(found / unit, shift, atol=0.06)


def test_passed_yaws_are_left_out_and_the_other_way_is_kept(fitter, model):
    rng = np.random.default_rng(0)
    found = turned_views(example(model, -40.0), fitter, SETTINGS, rng)
    assert [round(view.turn) for view in found][1:] == [-60]


def test_frontal_heads_go_either_way_and_jitter_is_bounded(fitter, model):
    settings = ViewSettings(yaws=(30.0, 88.0), jitter=5.0, size=32)
    turns = np.array(
        [
            [v.turn for v in turned_views(example(model, 0.0), fitter, settings, rng)][1:]
            for rng in map(np.random.default_rng, range(8))
        ]
    )
    assert (turns[:, 0] > 0).any() and (turns[:, 0] < 0).any()
    size = np.abs(turns)
    assert (np.abs(size[:, 0] - 30) <= 5).all() and size[:, 1].max() <= 90.0 + 1e-9
    assert len(np.unique(size[:, 0].round(3))) == 8


def test_labels_of_something_else_are_refused(fitter, model):
    face = example(model)
    shuffled = np.random.default_rng(1).permutation(face.landmarks)
    bad = FaceExample(face.image, shuffled, face.visibility, face.box, "afw/bad.jpg", "afw")
    with pytest.raises(FaceAlignError, match=r"afw/bad.jpg: the head misses the landmarks"):
        turned_views(bad, HeadFitter(fitter.model), SETTINGS, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("yaws", "message"),
    [([], "No yaws"), ([30, 95], "Yaw 95 is not"), ([0], "Yaw 0"), ([30, 30], "occurs twice")],
)
def test_yaws_that_make_no_sense_are_refused(yaws, message):
    with pytest.raises(FaceAlignError, match=message):
        check_yaws(yaws)


def test_yaws_are_sorted():
    assert check_yaws([90, 30.5]) == (30.5, 90.0)
