"""Normalized crops: the published template, slow versions of each mode, and unusable faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face, transform_points, turn_matrix
from keras_facealign.inference import Face, FaceAligner
from keras_facealign.inference.head_pose import rotation_matrix
from keras_facealign.inference.synthetic_faces import render_synthetic_faces
from keras_facealign.landmarks import IBUG68, mean_face
from keras_facealign.ops.face_normalization import mean_head
from keras_facealign.recognition import (
    NORMALIZATION_MODES,
    FaceNormalizer,
    box_norm,
    estimate_norm,
    norm_crop,
    normalize_face,
    select_face,
)
from tests.recognition.drawn import Finder

# As insightface publishes it, python-package/insightface/utils/face_align.py.
PUBLISHED = np.array(
    [38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.7299, 92.2041]
).reshape(5, 2)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Umeyama (1991), equations 39 to 43, by singular values, as scikit-image estimates it."""
    n = len(source)
    middle, goal = source.mean(0), target.mean(0)
    covariance = (target - goal).T @ (source - middle) / n
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ s @ vt
    scale = np.trace(np.diag(d) @ s) / ((source - middle) ** 2).sum() * n
    return np.column_stack([scale * rotation, goal - scale * rotation @ middle])


def five_points(seed: int, noise: float = 6.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn = rotation_matrix(0, 0, rng.uniform(-180, 180))[:2, :2]
    return rng.uniform(0.2, 9) * (PUBLISHED + rng.normal(0, noise, (5, 2))) @ turn + rng.uniform(
        -50, 2000, 2
    )


def turned(yaw=0.0, pitch=0.0, roll=0.0, scale=7.0, offset=(200.0, 150.0)) -> np.ndarray:
    return scale * (mean_face() @ rotation_matrix(yaw, pitch, roll).T)[:, :2] + offset


@pytest.mark.parametrize("size", [112, 224, 128, 256, 896])
def test_arcface_is_insightfaces_estimate(size):
    # Its code: multiples of 112 scale the template, those of 128 shift it by 8 pixels of 128.
    ratio, shift = (size / 112, 0.0) if size % 112 == 0 else (size / 128, 8.0 * size / 128)
    target = PUBLISHED * ratio + [shift, 0]
    faces = np.stack([five_points(seed) for seed in range(20)])
    found = estimate_norm(faces, size)
    for face, matrix in zip(faces, found, strict=True):
        at = transform_points(matrix, face)
        np.testing.assert_allclose(at, transform_points(umeyama(face, target), face), atol=1e-4)
        np.testing.assert_allclose(estimate_norm(face, size), matrix, atol=1e-9)


def test_a_face_on_the_template_stays_and_a_turned_one_is_turned_back():
    np.testing.assert_allclose(estimate_norm(PUBLISHED), np.eye(2, 3), atol=1e-12)
    quarter = PUBLISHED[:, ::-1] * [1, -1]  # counterclockwise on the screen
    np.testing.assert_allclose(estimate_norm(quarter), [[0, -1, 0], [1, 0, 0]], atol=1e-12)


def test_68_points_are_five_in_the_mode_arcface():
    face = turned(20, -5, 12)
    five = np.stack([face[36:42].mean(0), face[42:48].mean(0), face[30], face[48], face[54]])
    np.testing.assert_allclose(estimate_norm(face), umeyama(five, PUBLISHED), atol=1e-9)


def test_the_mean_head_lies_on_the_template():
    head = mean_head()[:, :2]
    five = np.stack([head[36:42].mean(0), head[42:48].mean(0), head[30], head[48], head[54]])
    assert np.abs(five - PUBLISHED).max() < 3
    np.testing.assert_allclose(five.mean(0), PUBLISHED.mean(0), atol=1e-9)
    # Symmetric about a vertical line.
    np.testing.assert_allclose(head[:, 0] + head[IBUG68.flip_permutation, 0], 2 * head[30, 0])


@pytest.mark.parametrize("mode", ["arcface", "similarity68", "pose3d"])
def test_similarities_follow_the_photo(mode):
    face = turned(25, 10, 5)
    rng = np.random.default_rng(0)
    face = face + rng.normal(0, 1, face.shape)
    at = transform_points(estimate_norm(face, 112, mode), face)
    moved = 1.7 * face @ rotation_matrix(0, 0, 130)[:2, :2] - 40
    again = transform_points(estimate_norm(moved, 112, mode), moved)
    np.testing.assert_allclose(again, at, atol=1e-6)
    # And they scale with the crop.
    double = transform_points(estimate_norm(face, 224, mode), face)
    np.testing.assert_allclose(double, 2 * at, atol=1e-6)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (35, 0), (-60, 12), (80, -10), (90, 0)])
def test_pose3d_puts_a_turned_head_where_the_turned_mean_head_is(yaw, pitch):
    # Leaning in the image, which turns the head about the line of sight.
    face = transform_points(turn_matrix(23, (300, 90)), turned(yaw, pitch))
    found = transform_points(estimate_norm(face, 112, "pose3d"), face)
    head = mean_head()
    center = head.mean(0)
    expected = ((head - center) @ rotation_matrix(yaw, pitch, 0).T)[:, :2] + center[:2]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_box_gives_the_landmarks_box_the_place_of_the_mean_heads():
    face = turned(30, 5, 10)
    found = transform_points(estimate_norm(face, 112, "box"), face)
    template = mean_head()[:, :2]
    center = (found.min(0) + found.max(0)) / 2
    np.testing.assert_allclose(center, (template.min(0) + template.max(0)) / 2, atol=1e-9)
    assert np.isclose(np.ptp(found, axis=0).max(), np.ptp(template, axis=0).max())
    box = np.concatenate([face.min(0), face.max(0)])
    np.testing.assert_allclose(box_norm(box), estimate_norm(face, 112, "box"), atol=1e-9)
    # The box of a leaning face is turned upright about its center.
    leaning = box_norm(box, roll=90.0)
    np.testing.assert_allclose(
        transform_points(leaning, np.array([[box[2], (box[1] + box[3]) / 2]])),
        [[center[0], center[1] - (box[2] - box[0]) / 2 * np.hypot(*leaning[:, 0])]],
        atol=1e-6,
    )


def test_crops_of_a_batch_are_those_of_its_faces():
    images, faces = render_synthetic_faces(2, 160, seed=3, max_angles=(20, 10, 20))
    for mode in NORMALIZATION_MODES:
        single = [norm_crop(i, f, 112, mode) for i, f in zip(images, faces, strict=True)]
        np.testing.assert_array_equal(norm_crop(images, faces, 112, mode), single)
        np.testing.assert_array_equal(norm_crop(list(images), faces, 112, mode), single)
    both = norm_crop(images[0], np.stack([faces[0], faces[0] + 5]), 96)
    np.testing.assert_array_equal(both[0], norm_crop(images[0], faces[0], 96))
    assert both.shape == (2, 96, 96, 3) and both.dtype == np.uint8
    assert norm_crop(images[:0], faces[:0]).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("mode", NORMALIZATION_MODES)
def test_large_photos_are_averaged(mode):
    # Stripes of one pixel, which sampling alone would turn into a pattern of full contrast.
    image = np.zeros((1600, 1600, 3), np.uint8)
    image[:, ::2] = 255
    face = turned(scale=60, offset=(800, 800))
    crop = norm_crop(image, face, 112, mode)[40:90, 30:80].astype(float)
    assert np.abs(crop - 127.5).max() < 30
    sharp = norm_crop(image[700:900, 700:900], turned(scale=4, offset=(100, 100)), 112, mode)
    assert sharp[40:90, 30:80].std() > 40


def test_frontal3d_shows_a_turned_face_from_the_front():
    size = 240
    image = np.full((size, size, 3), 60, np.uint8)
    face = turned(40, 0, 0, scale=9, offset=(120, 110))
    # A dot on landmarks of the nose and of the half that is seen.
    dots = [26, 24, 22, 28, 45, 42, 35, 54]
    yy, xx = np.mgrid[:size, :size]
    for k in dots:
        distance = np.hypot(xx - face[k, 0], yy - face[k, 1])
        image[distance < 4] = 255
    crop = norm_crop(image, face, 112, "frontal3d")
    head = mean_head()

    def brightest(x, y):
        return crop[round(y) - 3 :, round(x) - 3 :][:7, :7].max()

    for k in dots:
        assert brightest(*head[k, :2]) > 200, k
    for k in (26, 45, 35, 54):  # the other half is their mirror image
        assert brightest(2 * head[30, 0] - head[k, 0], head[k, 1]) > 150, k
    # A frontal face stays as `similarity68` places it.
    images, faces = render_synthetic_faces(1, 160, seed=1, max_angles=(0, 0, 0))
    frontal = norm_crop(images[0], faces[0], 112, "frontal3d")[45:85, 35:78].astype(float)
    similar = norm_crop(images[0], faces[0], 112, "similarity68")[45:85, 35:78].astype(float)
    assert np.abs(frontal - similar).mean() < 12


BAD = {
    "points": (np.zeros((4, 2)), {}, r"shape \(4, 2\)"),
    "three dimensions": (np.zeros((68, 3)), {}, r"shape \(68, 3\)"),
    "text": (np.full((5, 2), "a"), {}, "needs numbers"),
    "NaN": (np.full((5, 2), np.nan), {}, "not finite"),
    "one point": (np.full((5, 2), 7.0), {}, "coincide"),
    "tiny": (PUBLISHED * 1e-3, {}, "coincide"),
    "five of 68": (PUBLISHED, {"mode": "pose3d"}, r"pose3d needs numbers of shape \(68, 2\)"),
    "mode": (PUBLISHED, {"mode": "arc"}, "Unknown mode 'arc'"),
    "size": (PUBLISHED, {"image_size": 3}, "image_size is 3"),
    "part of a size": (PUBLISHED, {"image_size": 112.5}, "image_size is 112.5"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_landmarks(case):
    landmarks, options, message = BAD[case]
    options = dict[str, Any](options)
    with pytest.raises(FaceAlignError, match=message):
        norm_crop(np.zeros((50, 50, 3), np.uint8), landmarks, **options)
    with pytest.raises(FaceAlignError, match=message):
        estimate_norm(landmarks, **options)


def test_unusable_images_and_numbers_of_them():
    with pytest.raises(FaceAlignError, match="not an affine map"):
        estimate_norm(turned(), mode="frontal3d")
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(FaceAlignError, match="1 images for 2 faces"):
        norm_crop([image], np.stack([PUBLISHED] * 2))
    with pytest.raises(FaceAlignError, match="image 1: has shape"):
        norm_crop([image, image[..., :2]], np.stack([PUBLISHED] * 2))


BOXES = np.array([[10, 10, 60, 60], [80, 70, 120, 110]], np.float32)


def normalizer(boxes: Any = BOXES, confidence=0.9, **options: Any) -> FaceNormalizer:
    return FaceNormalizer(FaceAligner(Finder(confidence), lambda image: boxes), **options)


def test_the_largest_or_the_most_central_face_is_cut_out():
    image = np.random.default_rng(0).integers(0, 256, (180, 200, 3), np.uint8)
    for select, box in (("largest", BOXES[0]), ("central", BOXES[1])):
        found = normalizer(select=select)(image)
        np.testing.assert_array_equal(found.face.box, box)
        assert (found.mode, found.note) == ("arcface", "")
        np.testing.assert_array_equal(found.crop, norm_crop(image, found.face.landmarks))
        np.testing.assert_allclose(found.matrix, estimate_norm(found.face.landmarks))


def test_the_landmarks_of_a_face_that_is_not_reliable_are_used_and_it_keeps_the_mark():
    image = np.random.default_rng(0).integers(0, 256, (180, 200, 3), np.uint8)
    found = normalizer(confidence=0.2)(image)
    assert not found.face.reliable and (found.mode, found.note) == ("arcface", "")
    np.testing.assert_array_equal(found.crop, norm_crop(image, found.face.landmarks))


@pytest.mark.parametrize(
    ("value", "message"), [(30.0, "coincide"), (np.nan, "not finite"), (np.inf, "not finite")]
)
def test_a_face_without_usable_landmarks_is_cut_out_by_its_box_and_says_so(value, message):
    image = np.random.default_rng(0).integers(0, 256, (180, 200, 3), np.uint8)
    flat = Face(np.full((68, 2), value, np.float32), np.ones(68), BOXES[0], roll=20.0)
    for mode in NORMALIZATION_MODES:
        found = normalize_face(image, flat, 64, mode)
        assert found.mode == "box" and message in found.note
        matrix = box_norm(BOXES[0], 64, 20.0)
        np.testing.assert_allclose(found.matrix, matrix)
        np.testing.assert_array_equal(found.crop, crop_face(image, matrix, 64))


def test_the_box_does_not_hide_wrong_arguments():
    image = np.zeros((180, 200, 3), np.uint8)
    face = Face(PUBLISHED.astype(np.float32), np.ones(5), BOXES[0])
    with pytest.raises(FaceAlignError, match="Unknown mode 'arc'"):
        normalize_face(image, face, 112, "arc")
    with pytest.raises(FaceAlignError, match="pose3d needs numbers of shape"):
        normalize_face(image, face, 112, "pose3d")
    with pytest.raises(FaceAlignError, match="image_size is 3"):
        normalize_face(image, face, 3)
    with pytest.raises(FaceAlignError, match=r"shape \(180, 200, 2\)"):
        normalize_face(image[..., :2], face)
    lost = Face(np.full((68, 2), 30.0, np.float32), np.ones(68), np.full(4, np.nan))
    with pytest.raises(FaceAlignError, match="box of a face"):
        normalize_face(image, lost)


def test_reliable_faces_come_first():
    shown = np.zeros((68, 2), np.float32), np.ones(68)
    large = Face(*shown, box=BOXES[0], reliable=False)
    small = Face(*shown, box=BOXES[1])
    for select in ("largest", "central"):
        assert select_face([large, small], (200, 180), select) is small


def test_photos_without_a_face_and_wrong_options(tmp_path):
    with pytest.raises(FaceAlignError, match="no face found"):
        normalizer(boxes=[])(np.zeros((90, 90, 3), np.uint8), name="empty.png")
    with pytest.raises(FaceAlignError, match=r"gone\.jpg: cannot be opened"):
        normalizer()(tmp_path / "gone.jpg")
    with pytest.raises(FaceAlignError, match="select is 'first'"):
        normalizer(select="first")
    with pytest.raises(FaceAlignError, match="Unknown mode 'x'"):
        normalizer(mode="x")
