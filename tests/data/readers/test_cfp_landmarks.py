"""The landmarks of CFP as 30 of the 68."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from keras_facealign.data.catalog import load
from keras_facealign.data.readers import cfp_landmarks
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import box_overlap, landmarks_box
from keras_facealign.landmarks import IBUG68
from keras_facealign.landmarks.mean_face import mean_face
from tests.data.readers.drawn_faces import real_copy

# By the names of the parts, in the order of the files.
PARTS = {"jaw": range(9), "right_brow": [17, 19, 21], "right_eye": range(36, 42)}
PARTS |= {"ridge": range(27, 31), "nostrils": [33, 32, 31], "mouth": [48, 51, 62, 57, 66]}
RIGHT = [index for part in PARTS.values() for index in part]


def head(yaw):
    """All 68 points of the mean head, turned to the image's right by `yaw` degrees; (68, 2)."""
    turn = np.deg2rad(yaw)
    x, y, z = mean_face().T
    return np.column_stack([x * np.cos(turn) - z * np.sin(turn), y]) * 5 + 70


def write(root, person, view, number, points):
    for kind, suffix in (("Images", "jpg"), ("Fiducials", "txt")):
        path = root / "Data" / kind / f"{person:03d}" / view / f"{number:02d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == "jpg":
            Image.new("RGB", (140, 140), (90, 90, 90)).save(path)
        else:
            path.write_text("".join(f"{x:.2f},{y:.2f}\n" for x, y in points))
    return path


@pytest.fixture
def root(tmp_path):
    """A frontal face and both profiles of persons 120 and 200."""
    mirrored = IBUG68.flip_permutation[RIGHT]
    for person in (120, 200):
        write(tmp_path, person, "frontal", 1, head(0)[RIGHT])
        write(tmp_path, person, "profile", 1, head(70)[RIGHT])
        write(tmp_path, person, "profile", 2, head(-70)[mirrored])
    return tmp_path


@pytest.mark.parametrize("split", ["train", "validation"])
def test_thirty_points_have_positions_on_the_side_that_shows(root, split):
    faces = list(load("cfp/landmarks", root, split, strict=True))
    person = {"train": 200, "validation": 120}[split]
    views = ("frontal/01", "profile/01", "profile/02")
    assert [f.file_name for f in faces] == [f"Data/Images/{person}/{view}.jpg" for view in views]
    mirrored = IBUG68.flip_permutation[RIGHT]
    for face, yaw, numbers in zip(faces, (0, 70, -70), (RIGHT, RIGHT, mirrored), strict=True):
        assert np.flatnonzero(face.visibility).tolist() == sorted(numbers)
        np.testing.assert_allclose(face.landmarks[numbers], head(yaw)[numbers], atol=0.01)
        # The labels are of half a face, the box is that of all of it.
        np.testing.assert_allclose(face.box, landmarks_box(head(yaw)), atol=0.2)


def test_a_split_of_one_view(root):
    names = [face.file_name for face in load("cfp/landmarks", root, "train_frontal")]
    assert names == ["Data/Images/200/frontal/01.jpg"]
    assert len(list(load("cfp/landmarks", root, "train_profile"))) == 2


def test_what_cannot_be_read_is_named(root, tmp_path):
    with pytest.raises(FaceAlignError, match="no split 'fp'; choose one of train, train_frontal"):
        load("cfp/landmarks", root, "fp")
    with pytest.raises(FaceAlignError, match="Fiducials: has no labels of the persons of test"):
        load("cfp/landmarks", root, "test")
    with pytest.raises(FaceAlignError, match="holds no Data/Fiducials"):
        load("cfp/landmarks", tmp_path / "none", "train")
    path = write(root, 200, "frontal", 1, head(0)[RIGHT][:29])
    with pytest.raises(FaceAlignError, match=f"{path}: has 29 points instead of 30"):
        list(load("cfp/landmarks", root, "train", strict=True))


def test_real_faces():
    faces = list(load("cfp/landmarks", real_copy("cfp"), "validation", strict=True))
    assert len(faces) == 50 * 14
    for face in faces:
        labeled = face.landmarks[face.visibility > 0]
        assert len(labeled) == len(cfp_landmarks.RIGHT_HALF)
        assert box_overlap(landmarks_box(labeled), face.box) > 0.25
