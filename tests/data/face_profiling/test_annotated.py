"""Differences between the kit's landmarks and those of the data sets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.data.face_profiling import HeadFitter, load_head_model
from keras_facealign.data.face_profiling.annotated import kit_annotation_bias, kit_jaw_shift
from keras_facealign.data.readers.aflw2000_3d import load_samples as load_aflw2000
from tests.data.face_profiling.head import arrays, write_model


def test_the_kits_own_landmarks_are_told_by_their_vertices(tmp_path, model):
    """The jaw is exchanged and annotation_bias are known for the kit, and for no other head."""
    assert not model.annotation_bias.any()
    marks = arrays()["idx_to_landmark_verts"].copy()
    marks[:9] = (1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966)
    kit = load_head_model(write_model(tmp_path / "kit.npz", idx_to_landmark_verts=marks))
    np.testing.assert_array_equal(kit.landmarks[17:], marks[17:])
    assert not set(kit.landmarks[:17].tolist()) & set(marks[:8].tolist())
    np.testing.assert_array_equal(kit.annotation_bias, kit_annotation_bias())
    assert not model.jaw_shift.any()
    np.testing.assert_array_equal(kit.jaw_shift, kit_jaw_shift())
    np.testing.assert_array_equal(kit.neutral, model.neutral)


def test_the_kits_annotation_bias_mirror_each_other():
    annotation_bias = kit_annotation_bias()
    assert (
        annotation_bias.shape == (68, 3)
        and not annotation_bias[:17].any()
        and annotation_bias[17:].any(axis=1).all()
    )
    pairs = [(17, 26), (21, 22), (31, 35), (36, 45), (41, 46), (48, 54), (55, 59), (60, 64)]
    for right, left in pairs:
        np.testing.assert_array_equal(annotation_bias[right], annotation_bias[left] * [-1, 1, 1])
    assert not annotation_bias[[27, 28, 29, 30, 33, 51, 57, 62, 66], 0].any()
    # Centimeters: no annotator is off by more than a finger's breadth.
    assert np.abs(annotation_bias).max() < 1.0


def test_the_kits_jaw_shift_is_that_of_a_mirror_image():
    shift = kit_jaw_shift()
    assert shift.shape == (17, 3) and shift.dtype == np.float32
    np.testing.assert_array_equal(shift, shift[::-1] * [-1, 1, 1])
    assert shift[8, 0] == 0 and (shift[:, 1:] <= 0).all() and np.abs(shift).max() < 1.0


def test_jaws_that_fits_do_not_see_on_real_faces():
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", ""))
    path = root / "ict_facekit" / "ict_facekit_f16.npz"
    if not path.is_file() or not (root / "aflw2000").is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folders ict_facekit and aflw2000")
    kit = load_head_model(path)
    right, left = kit.landmarks[:8], kit.landmarks[16:8:-1]
    np.testing.assert_allclose(
        kit.neutral[right] * [-1, 1, 1], kit.neutral[left], atol=1e-3, err_msg="no mirror images"
    )
    fitter, hidden = HeadFitter(kit), np.full(68, 2)
    hidden[:17] = 0
    errors = []
    for face in load_aflw2000(root / "aflw2000"):
        fit = fitter.fit(face.landmarks, hidden)
        jaw = fit.camera.project(kit.vertices(fit.coefficients)[kit.landmarks[:17]])[:, :2]
        size = np.sqrt(np.prod(np.ptp(face.landmarks, axis=0)))
        errors.append(np.linalg.norm(jaw - face.landmarks[:17], axis=1).mean() / size)
    assert np.mean(errors) < 0.034
