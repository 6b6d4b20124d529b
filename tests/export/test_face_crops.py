"""Faces for calibration and comparison."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.export.face_crops import face_crops


def test_crops_are_taken_from_all_over_an_array():
    crops = np.repeat(np.arange(10, dtype=np.uint8), 8 * 8 * 3).reshape(10, 8, 8, 3)
    np.testing.assert_array_equal(face_crops(crops, 8, 4)[:, 0, 0, 0], [0, 3, 6, 9])
    np.testing.assert_array_equal(face_crops(crops, 8, 99), crops)


def test_unusable_sources_are_named(tmp_path):
    good = np.zeros((2, 8, 8, 3), np.uint8)
    for bad in (good[:0], good[0], good.astype("float32"), good[:, :4]):
        with pytest.raises(FaceAlignError, match="calibration_images"):
            face_crops(bad, 8, 4)
    with pytest.raises(FaceAlignError, match="not a folder"):
        face_crops(tmp_path / "nowhere", 8, 4)
    with pytest.raises(FaceAlignError, match="no images"):
        face_crops(tmp_path, 8, 4)
