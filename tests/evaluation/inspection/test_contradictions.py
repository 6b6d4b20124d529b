"""Labels against a network's landmarks, here known ones."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.inspection.contradictions import (
    Shift,
    check_landmarks,
    errors_of,
    median_shift,
    predict_faces,
)
from keras_facealign.landmarks import IBUG68, numbered_scheme
from tests.evaluation.inspection.labeled import shapes, write_set


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    faces = shapes(20)
    faces[3, 2] = np.nan
    return write_set(tmp_path_factory.mktemp("set"), faces)


class Known:
    """Finds the labels themselves, moved."""

    def __init__(self, labels, by):
        self.faces = {face.file_name: face for face in labels.faces}
        self.by, self.boxes = by, []

    def align_batch(self, images, boxes=None, names=None):
        self.boxes += boxes
        return [[SimpleNamespace(landmarks=self.faces[name].landmarks + self.by)] for name in names]


def predicted(labels, by):
    images = {index: np.zeros((9, 9, 3), np.uint8) for index in range(len(labels))}
    return predict_faces(Known(labels, by), numbered_scheme(9), labels, images)


def test_errors_and_shift(labels):
    found = predicted(labels, np.array([-1.0, -1.0]))
    errors = errors_of(labels, found)
    points = labels.faces[0].landmarks
    size = np.sqrt(np.prod(np.ptp(points, axis=0)))
    np.testing.assert_allclose(errors[0], 100 * np.sqrt(2) / size, rtol=1e-5)
    assert np.isnan(errors[3][2]) and np.isfinite(np.delete(errors[3], 2)).all()
    shift = median_shift(labels, found)
    assert shift is not None and shift.believable
    np.testing.assert_allclose([shift.x, shift.y], 1, atol=1e-5)
    assert "one_based=True" in shift.describe()
    assert median_shift(labels, dict(list(found.items())[:9])) is None


def test_what_a_shift_says():
    assert "no sign of a shift" in Shift(0.9, 1.1, 0.5).describe()
    assert "no sign of a shift" in Shift(0.2, 0.1, 0.01).describe()
    assert "one_based=False" in Shift(-1.1, -0.9, 0.05).describe()
    assert "another convention" in Shift(3, 0, 0.05).describe()


def test_faces_are_cropped_as_the_scheme_says(labels):
    scheme = replace(numbered_scheme(9), face_box=(-0.5, 0, 1.5, 1))
    known = Known(labels, 0)
    predict_faces(known, scheme, labels, {4: np.zeros((9, 9, 3), np.uint8)})
    x0, y0, x1, y1 = known.boxes[0][0]
    low, high = labels.faces[4].landmarks.min(axis=0), labels.faces[4].landmarks.max(axis=0)
    half = (high[0] - low[0]) / 2
    np.testing.assert_allclose([x0, y0, x1, y1], [low[0] - half, low[1], high[0] + half, high[1]])


def test_other_landmarks():
    check_landmarks(IBUG68, 68, "net")
    with pytest.raises(FaceAlignError, match="net has 68 landmarks .* and the labels 9"):
        check_landmarks(IBUG68, 9, "net")
