"""The detector interface and the box conversion."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.detection import Detection, as_detections, check_box, shift_and_scale_box
from keras_facealign.errors import FaceAlignError


def test_shift_and_scale_box_by_hand():
    # 20 wide and 45 high: size 30, center (20, 32.5), moved to (23, 38.5), side 24.
    box = shift_and_scale_box(np.array([10.0, 10.0, 30.0, 55.0]), (0.1, 0.2), 0.8)
    np.testing.assert_allclose(box, [11.0, 26.5, 35.0, 50.5])
    both = shift_and_scale_box(np.array([[10.0, 10, 30, 55], [0, 0, 1, 1]]), (0.1, 0.2), 0.8)
    np.testing.assert_allclose(both, [[11.0, 26.5, 35.0, 50.5], [0.2, 0.3, 1.0, 1.1]])


def test_as_detections_accepts_boxes_and_detections():
    found = [[1, 2, 30, 40], np.array([1.0, 2, 30, 40]), Detection((1, 2, 30, 40), 0.25)]
    detections = as_detections(found, (100, 100), "photo")
    assert [d.score for d in detections] == [1.0, 1.0, 0.25]
    for detection in detections:
        assert detection.box.dtype == np.float32
        assert detection.box.tolist() == [1, 2, 30, 40]
    points = np.zeros((6, 2))
    (leaning,) = as_detections([Detection((1, 2, 30, 40), 0.5, 30, points)], (100, 100), "photo")
    assert leaning.roll == 30.0 and leaning.keypoints is points
    assert len(as_detections(np.tile([1, 2, 30, 40], (5, 1)), (100, 100), "photo")) == 5


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ("box", "box 'box' is not four numbers"),
        ([1, 2, 3], r"box \[1, 2, 3\] is not four numbers"),
        ([1, 2, float("nan"), 4], "is not finite"),
        ([5, 2, 5, 9], "has no area"),
        ([5, 2, 5.5, 2.5], "smaller than a pixel"),
        ([100, 2, 130, 20], "outside the 100x100 image"),
    ],
)
def test_unusable_boxes_are_rejected(box, problem):
    with pytest.raises(FaceAlignError, match=f"^photo: .*{problem}"):
        check_box(box, (100, 100), "photo")


def test_as_detections_rejects_what_is_not_a_list():
    with pytest.raises(FaceAlignError, match="photo: int is not a list of boxes"):
        as_detections(3, (100, 100), "photo")
