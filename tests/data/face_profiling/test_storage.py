"""Views of a face, written and read again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.face_profiling import (
    Camera,
    HeadFitter,
    ViewSettings,
    check_yaws,
    is_written,
    load_samples,
    open_output,
    read_labels,
    survey,
    turned_views,
    write_views,
)
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box
from tests.data.face_profiling.head import texture

SETTINGS = ViewSettings(yaws=(20.0, 60.0), jitter=0.0, size=64)


def example(model, yaw=12.0) -> FaceExample:
    camera = Camera(rotation_from_angles(2, yaw, 3), 7.0, np.array([110.0, 98.0]))
    vertices = model.vertices(np.zeros(model.num_coefficients))
    points = camera.project(vertices[model.landmarks])[:, :2].astype(np.float32)
    seen = np.full(68, 2, np.int32)
    return FaceExample(texture(), points, seen, landmarks_box(points), "afw/face.one.jpg", "afw")


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


def output(path, **changes):
    return open_output(path, {"split": "train", "yaws": [20.0, 60.0], **changes})


def test_written_views_are_read_again(tmp_path, views):
    root = output(tmp_path / "out")
    assert not is_written(root, "afw/face.one")
    write_views(root, "afw/face.one", views, "afw/face.one.jpg")
    assert is_written(root, "afw/face.one")
    assert not [p for p in root.rglob("*") if p.name.endswith(".tmp")]
    faces = list(load_samples(root, strict=True))
    assert [face.file_name for face in faces] == [f"afw/face.one_{i}.jpg" for i in range(3)]
    for face, view in zip(faces, views, strict=True):
        np.testing.assert_array_equal(face.landmarks, view.landmarks)
        np.testing.assert_array_equal(face.visibility, view.visibility)
        np.testing.assert_array_equal(face.extras["pose"], view.pose)
        np.testing.assert_array_equal(face.extras["depth"], view.depth)
        assert face.extras["turn"] == pytest.approx(view.turn, abs=1e-4)
        assert np.abs(face.image.astype(int) - view.image).mean() < 3  # JPEG
        assert face.subset == "afw"
    assert read_labels(root, "afw/face.one").source == "afw/face.one.jpg"
    assert survey(root).found == {"train": 1}
    with pytest.raises(FaceAlignError, match="views of the split 'train', not 'test'"):
        load_samples(root, "test")


def test_a_face_with_a_part_missing_is_not_written(tmp_path, views):
    root = output(tmp_path / "out")
    write_views(root, "afw/a", views, "afw/a.jpg")
    (root / "afw/a_1.jpg").unlink()
    assert not is_written(root, "afw/a")
    write_views(root, "afw/b", views, "afw/b.jpg")
    skipped = []
    names = [face.file_name for face in load_samples(root, on_skip=skipped.append)]
    assert names == ["afw/a_0.jpg", "afw/a_2.jpg", *(f"afw/b_{i}.jpg" for i in range(3))]
    assert len(skipped) == 1 and "a_1.jpg" in str(skipped[0])
    (root / "afw/b.npz").write_bytes(b"damage")
    assert not is_written(root, "afw/b")
    skipped.clear()
    assert len(list(load_samples(root, on_skip=skipped.append))) == 2
    assert "b.npz: is not a whole .npz file" in str(skipped[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"landmarks": np.zeros((2, 67, 2), np.float32)}, "landmarks is float32 2x67x2"),
        ({"pose": np.zeros((1, 3), np.float32)}, r"has labels of \[1, 2\] views"),
        ({"visibility": np.full((2, 68), 7)}, "visibility other than 0, 1, 2"),
        ({"depth": np.full((2, 68), np.inf)}, "depth is not finite"),
    ],
)
def test_damaged_labels_are_refused(tmp_path, changes, message):
    labels = {
        "landmarks": np.zeros((2, 68, 2), np.float32),
        "depth": np.zeros((2, 68), np.float32),
        "visibility": np.full((2, 68), 2),
        "pose": np.zeros((2, 3), np.float32),
        "turn": np.zeros(2, np.float32),
        "source": np.array("a.jpg"),
    }
    np.savez(tmp_path / "a.npz", **{**labels, **changes})
    with pytest.raises(FaceAlignError, match=message):
        read_labels(tmp_path, "a")


def test_a_folder_is_taken_up_with_the_same_settings_only(tmp_path):
    root = output(tmp_path / "out")
    assert output(tmp_path / "out") == root
    with pytest.raises(FaceAlignError, match=r"made with yaws \[20.0, 60.0\], not \[30.0\]"):
        output(tmp_path / "out", yaws=[30.0])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(FaceAlignError, match="holds other files"):
        output(tmp_path / "other")
    with pytest.raises(FaceAlignError, match="holds no views"):
        load_samples(root)
    (root / "settings.json").write_text(json.dumps([1]))
    with pytest.raises(FaceAlignError, match="holds no settings"):
        load_samples(root)
    (root / "settings.json").write_text("{")
    with pytest.raises(FaceAlignError, match="is not JSON"):
        load_samples(root)


@pytest.mark.parametrize(
    ("yaws", "message"),
    [([], "No yaws"), ([30, 95], "Yaw 95 is not"), ([0], "Yaw 0"), ([30, 30], "occurs twice")],
)
def test_yaws_that_make_no_sense_are_refused(yaws, message):
    with pytest.raises(FaceAlignError, match=message):
        check_yaws(yaws)


def test_yaws_are_sorted():
    assert check_yaws([90, 30.5]) == (30.5, 90.0)
