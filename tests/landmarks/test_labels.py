"""Labels that cannot be are named: the landmark, its value, and what is possible."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import check_labels

POINTS = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [np.nan, np.inf]]]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_what_can_be_is_returned_as_arrays(dtype):
    points, marks = check_labels(POINTS, np.array([[1, 2], [2, 0]], dtype), "set/a.png")
    assert points.dtype == np.float32 and marks.dtype == dtype
    np.testing.assert_array_equal(points, np.float32(POINTS))
    one, _ = check_labels(POINTS[0], [True, False], "set/a.png")
    assert one.shape == (2, 2)


@pytest.mark.parametrize("mark", [-1, 3, 7, 255, 0.5, np.nan, np.inf, -np.inf])
def test_another_visibility_is_refused(mark):
    with pytest.raises(FaceAlignError, match=rf"a.png: the visibility of landmark 1 is {mark}; it"):
        check_labels(POINTS[0], [2, mark], "a.png")
    with pytest.raises(FaceAlignError, match="landmark 0 of face 1"):
        check_labels(POINTS, [[2, 2], [mark, 0]], "The batch")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mark", [1, 2])
def test_a_position_that_is_none_is_refused(value, mark):
    points = np.array(POINTS[0])
    points[1, 0] = value
    with pytest.raises(
        FaceAlignError, match=rf"a.png: landmark 1 has visibility {mark} but is not"
    ):
        check_labels(points, [2, mark], "a.png")
    check_labels(points, [2, 0], "a.png")


@pytest.mark.parametrize(
    ("landmarks", "visibility"),
    [
        (POINTS[0], [2, 2, 2]),
        (POINTS[0], 2),
        ([[1.0, 2.0, 3.0]], [2]),
        ([["x", "y"]], [2]),
        ([[1.0, 2.0]], ["2"]),
        ([[1.0, 2.0], [3.0]], [2, 2]),
        ([[10**400, 0]], [2]),
    ],
)
def test_other_shapes_and_types_are_refused(landmarks, visibility):
    with pytest.raises(FaceAlignError, match="a.png: (landmarks .* do not fit|the landmarks are)"):
        check_labels(landmarks, visibility, "a.png")
