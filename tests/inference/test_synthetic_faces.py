"""Synthetic faces vary, depend on the seed only, and networks find their landmarks."""

from __future__ import annotations

import numpy as np

from keras_facealign.inference.synthetic_faces import render_synthetic_faces
from keras_facealign.presets import from_preset


def test_the_seed_decides_and_landmarks_fill_the_crop_as_the_crop_rule_says():
    crops, landmarks = render_synthetic_faces(20, 64, seed=3)
    again, _ = render_synthetic_faces(20, 64, seed=3)
    np.testing.assert_array_equal(crops, again)
    assert crops.shape == (20, 64, 64, 3) and crops.dtype == np.uint8
    assert not np.array_equal(crops, render_synthetic_faces(20, 64, seed=4)[0])
    # Landmarks span the crop but for the margin, up to the jitter of the boxes.
    longer = np.ptp(landmarks, axis=1).max(-1)
    assert np.all(np.abs(longer * 1.3 / 64 - 1) < 0.3)
    assert landmarks.min() > -10 and landmarks.max() < 74
    # Both bright and dark, both color and gray.
    assert crops.mean((1, 2, 3)).std() > 15
    assert crops.min() < 30 and crops.max() > 225
    assert render_synthetic_faces(0, 64)[0].shape == (0, 64, 64, 3)


def test_a_network_trained_on_photos_finds_their_landmarks():
    crops, landmarks = render_synthetic_faces(16, 128, seed=1)
    found, _ = from_preset("sat1_cab_mobile").predict_landmarks(crops)
    distance = np.linalg.norm(found - landmarks, axis=-1)
    eyes = np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=-1)
    # Photos have 4 %; landmarks that do not belong to these faces give 25 % and more.
    matching = np.median(distance.mean(1) / eyes)
    shuffled = np.linalg.norm(found - np.roll(landmarks, 1, axis=0), axis=-1).mean(1) / eyes
    assert matching < 0.12 < np.median(shuffled)
