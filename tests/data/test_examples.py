"""Examples, and image files paired with their labels."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.examples import make_example, pair_files, read_sample
from keras_facealign.errors import FaceAlignError
from tests.data.readers.drawn_faces import make_face


def test_pairing_names(tmp_path):
    folder = tmp_path / "ibug"
    make_face(folder, "image_092 _01", suffix=".JPG")
    make_face(folder, "both", suffix=".jpg")
    make_face(folder, "both", suffix=".png")
    (folder / "._both.pts").write_bytes(b"\x00")
    (folder / "Thumbs.db").write_bytes(b"\x00")
    samples = pair_files(tmp_path, "ibug")
    assert [s.file_name for s in samples] == ["ibug/both.png", "ibug/image_092 _01.JPG"]
    assert all(read_sample(s).image.shape == (40, 30, 3) for s in samples)


def test_landmarks_without_position_are_left_out_of_the_box():
    points = np.array([[5.0, 6], [9, 8], [np.nan, 70]])
    face = make_example(
        np.zeros((20, 30, 3), np.uint8),
        points,
        np.array([2, 1, 0]),
        file_name="a.png",
        subset="train",
        label_name="a.pts",
    )
    np.testing.assert_array_equal(face.landmarks, [[5, 6], [9, 8], [0, 0]])
    np.testing.assert_array_equal(face.box, [5, 6, 9, 8])
    assert face.landmarks.dtype == face.box.dtype == np.float32
    assert face.key == "a.png" and face.image_path is None


@pytest.mark.parametrize(
    "points, visibility, message",
    [
        ([[1, 1], [2, 2]], [0, 0], "no landmark has a position"),
        ([[1, 1], [2, np.inf]], [2, 2], "landmark 1 is [2.0, inf], which is not a position"),
        ([[1, 1], [2, 2e6]], [2, 2], "landmark 1 is [2.0, 2000000.0], which is not a position"),
        ([[1, 1], [2, 1]], [2, 2], "box [1.0, 1.0, 2.0, 1.0] has no area"),
        ([[-9, -9], [-2, -1]], [2, 2], "lies outside the 30x20 image"),
    ],
)
def test_labels_that_cannot_be_are_refused(points, visibility, message):
    with pytest.raises(FaceAlignError) as caught:
        make_example(
            np.zeros((20, 30, 3), np.uint8),
            np.array(points, float),
            np.array(visibility),
            file_name="a.png",
            subset="train",
            label_name="a.pts",
        )
    assert str(caught.value).startswith("a.pts: ") and message in str(caught.value)
