"""Drawn faces are faces: varied, the same for the same seed, and networks find landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.export.face_crops import face_crops
from keras_facealign.inference.synthetic_faces import draw_faces
from keras_facealign.presets import from_preset


def test_the_seed_decides_and_landmarks_fill_the_crop_as_the_crop_rule_says():
    crops, landmarks = draw_faces(20, 64, seed=3)
    again, _ = draw_faces(20, 64, seed=3)
    np.testing.assert_array_equal(crops, again)
    assert crops.shape == (20, 64, 64, 3) and crops.dtype == np.uint8
    assert not np.array_equal(crops, draw_faces(20, 64, seed=4)[0])
    # Landmarks span the crop but for the margin, up to the jitter of the boxes.
    longer = np.ptp(landmarks, axis=1).max(-1)
    assert np.all(np.abs(longer * 1.3 / 64 - 1) < 0.3)
    assert landmarks.min() > -10 and landmarks.max() < 74
    # Both bright and dark, both color and gray.
    assert crops.mean((1, 2, 3)).std() > 15
    assert crops.min() < 30 and crops.max() > 225
    assert draw_faces(0, 64)[0].shape == (0, 64, 64, 3)


def test_a_network_trained_on_photos_finds_their_landmarks():
    crops, landmarks = draw_faces(16, 128, seed=1)
    found, _ = from_preset("sat1_cab_mobile").predict_landmarks(crops)
    distance = np.linalg.norm(found - landmarks, axis=-1)
    eyes = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=-1)
    # Photos have 4 %; landmarks that do not belong to these faces give 25 % and more.
    matching = np.median(distance.mean(1) / eyes)
    shuffled = np.linalg.norm(found - np.roll(landmarks, 1, axis=0), axis=-1).mean(1) / eyes
    assert matching < 0.12 < np.median(shuffled)


def test_crops_are_taken_from_all_over_an_array():
    crops = np.repeat(np.arange(10, dtype=np.uint8), 8 * 8 * 3).reshape(10, 8, 8, 3)
    np.testing.assert_array_equal(face_crops(crops, 8, 4)[:, 0, 0, 0], [0, 3, 6, 9])
    np.testing.assert_array_equal(face_crops(crops, 8, 99), crops)


def test_unusable_sources_are_named(tmp_path):
    good = np.zeros((2, 8, 8, 3), np.uint8)
    for bad in (good[:0], good[0], good.astype("float32"), good[:, :4]):
        with pytest.raises(FaceAlignError, match="calibration_images"):
            face_crops(bad, 8, 4)
    with pytest.raises(FaceAlignError, match="no folder"):
        face_crops(tmp_path / "nowhere", 8, 4)
    with pytest.raises(FaceAlignError, match="no pictures"):
        face_crops(tmp_path, 8, 4)
