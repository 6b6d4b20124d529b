"""COCO keypoints against hand-written files."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import coco, lines, picture, write

FACE = {"file": "a.png", "keypoints": [10, 20, 2, 30.5, 21, 1, 0, 0, 0]}
OTHER = {"file": "b.png", "keypoints": [11, 20, 2, 31, 21, 2, 20, 40, 2], "bbox": [5, 10, 40, 35]}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        picture(tmp_path, name)
    return tmp_path


def test_points_visibility_names_and_boxes(folder):
    labels = load(write(folder, "labels.json", coco(FACE, OTHER)))
    assert (labels.kind, labels.guessed, labels.num_landmarks) == ("coco", True, 3)
    assert labels.names == ("a", "b", "c") and labels.edges == ((0, 2),)
    one, two = labels
    assert one.landmarks.tolist() == [[10, 20], [30.5, 21], [0, 0]]
    assert one.visibility.tolist() == [2, 1, 0] and one.visibility.dtype == np.int32
    assert one.box.tolist() == [10, 20, 30.5, 21]
    assert two.box.tolist() == [5, 10, 45, 45]
    assert [face.box_source for face in labels.faces] == ["points", "file"]
    assert one.image.shape == (48, 64, 3) and one.image_path == folder / "a.png"
    assert labels.groups is None and not labels.skipped
    tight = load(folder / "labels.json", boxes="points")
    assert list(tight)[1].box.tolist() == [11, 20, 31, 40]


def test_annotations_before_images_and_groups(folder):
    value = coco(FACE | {"person_id": 7}, OTHER)
    value = dict(reversed(value.items()))
    labels = load(write(folder, "labels.json", value))
    assert labels.groups == ("7", None)


def test_what_does_not_fit_is_named(folder):
    value = coco(
        FACE,
        OTHER,
        OTHER | {"keypoints": [1, 2, 2]},
        FACE | {"keypoints": [1, 2]},
        FACE | {"keypoints": [1, 2, 3, 1, 1, 1, 1, 1, 1]},
        FACE | {"file": "missing.png"},
        FACE | {"keypoints": [0] * 9, "bbox": [1, 2, 3, 4]},
        FACE,
    )
    value["annotations"].append(OTHER | {"image_id": 99})
    labels = load(write(folder, "labels.json", value), "coco")
    assert len(labels) == 2 and not labels.guessed
    told = lines(labels)
    assert len(labels.skipped) == 6
    assert "annotation 2 (b.png): has 1 points where 4 of 5 faces have 3" in told
    assert "annotation 3 has keypoints [1, 2]" in told
    assert "annotation 4 has the visibility 3" in told
    assert "annotation 5 (missing.png): the picture 'missing.png' is not below" in told
    assert "annotation 7 (a.png): has the same labels of the same picture" in told
    assert "annotation 8 is of the image 99" in told
    assert labels.empty_boxes == (("a.png", (1, 2, 4, 6)),)
    assert "6 left out" in labels.describe() and "COCO keypoints" in labels.describe()


def test_images_without_labels_are_listed(folder):
    value = coco(FACE)
    value["images"].append({"id": 99, "file_name": "b.png"})
    picture(folder, "c.png")
    labels = load(write(folder, "labels.json", value))
    assert labels.unlabeled == ("b.png", "c.png")


def test_a_picture_with_two_ids(folder):
    value = coco(FACE, OTHER)
    value["images"][1]["file_name"] = "a.png"
    labels = load(write(folder, "labels.json", value))
    assert len(labels) == 2 and labels.faces[1].key == "a.png#2"
    assert any("1 images whose file_name is there before" in note for note in labels.notes)


def test_labels_of_another_size_are_refused(folder):
    picture(folder, "a.png", (32, 24))
    labels = load(write(folder, "labels.json", coco(FACE, OTHER)))
    assert [face.file_name for face in labels] == ["b.png"]
    assert "of a picture of 64x48 pixels" in lines(labels) and "32x24" in lines(labels)
    with pytest.raises(FaceAlignError, match="32x24"):
        list(labels.examples(strict=True))


def test_the_face_of_whole_bodies_is_read(folder):
    points = [v for x in range(1, 69) for v in (x, 2 * x % 40 + 1, 0.5 * (x != 3))]
    face = OTHER | {"face_kpts": points, "face_box": [0, 1, 69, 40], "face_valid": True}
    labels = load(write(folder, "labels.json", coco(face, FACE | {"face_kpts": [0.0] * 204})))
    (face,) = labels
    assert labels.num_landmarks == 68 and face.visibility.sum() == 134
    assert face.box.tolist() == [0, 1, 69, 41] and labels.names is None


@pytest.mark.parametrize("value", [{"images": []}, {"annotations": [{"keypoints": 3}]}, [], 3])
def test_no_faces(folder, value):
    with pytest.raises(FaceAlignError, match="labels.json"):
        load(write(folder, "labels.json", value), "coco")


def test_coordinates_that_are_no_pixels_are_refused(folder):
    face = FACE | {"keypoints": [0.1, 0.2, 2, 0.3, 0.2, 2, 0.2, 0.4, 2]}
    path = write(folder, "labels.json", coco(face))
    with pytest.raises(FaceAlignError, match="units='normalized'"):
        load(path)
    (face,) = load(path, units="normalized")
    np.testing.assert_allclose(face.landmarks[0], [0.1 * 64 - 0.5, 0.2 * 48 - 0.5], rtol=1e-6)
    with pytest.raises(FaceAlignError, match="one_based is for CSV"):
        load(path, one_based=True)
