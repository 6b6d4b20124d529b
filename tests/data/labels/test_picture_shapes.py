"""Which shapes of a picture are one face."""

from __future__ import annotations

from keras_facealign.data.labels.picture_shapes import PictureShapes
from keras_facealign.data.labels.raw_labels import RawLabels


def gathered(*shapes):
    picture, labels = PictureShapes("a.png", "here", (64, 48)), RawLabels("test", "")
    for shape, *arguments in shapes:
        getattr(picture, shape)(*arguments)
    picture.add_to(labels, {})
    return labels


def test_no_shape_is_a_picture_without_labels():
    assert gathered().pictures == ["a.png"]


def test_points_of_a_group_are_a_face():
    labels = gathered(
        ("point", "n", 1, 2, 2, "x"), ("point", "n", 3, 4, 1, "y"), ("point", "c", 1, 5, 2, "x")
    )
    assert [face.names for face in labels.faces] == [("n", "c"), ("n",)]
    assert labels.faces[0].points.tolist() == [[1, 2], [1, 5]]
    assert labels.faces[1].where == "here, group y"


def test_boxes_go_to_their_group_and_else_to_the_face_inside():
    labels = gathered(
        ("box", (0, 0, 10, 10), "y"),
        ("box", (0, 0, 9, 9)),
        ("box", (20, 20, 30, 30)),
        ("point", "n", 1, 2, 2, "x"),
        ("point", "n", 3, 4, 1, "y"),
    )
    assert [face.box for face in labels.faces] == [(0, 0, 9, 9), (0, 0, 10, 10)]
    assert labels.empty_boxes == [("a.png", (20, 20, 30, 30))]


def test_a_point_in_two_boxes_leaves_the_face_whole():
    boxes = [("box", (0, 0, 10, 10)), ("box", (5, 5, 20, 20))]
    labels = gathered(*boxes, ("point", "n", 6, 6), ("point", "n", 12, 12))
    assert len(labels.faces) == 1
    labels = gathered(*boxes, ("point", "n", 1, 1), ("point", "n", 12, 12))
    assert len(labels.faces) == 2


def test_mixed_shapes_are_named():
    labels = gathered(("point", "n", 1, 2), ("face", [(1, 2), (3, 4)], [2, 2]))
    assert "single points beside shapes of several points" in str(labels.skipped[0])
