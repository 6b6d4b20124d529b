"""Order of named points, remarks, and what a set leaves out."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.labels.assembling import assemble, natural_order, points_outside
from keras_facealign.data.labels.raw_labels import RawFace, RawLabels
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture


def raw(*faces, **options):
    labels = RawLabels("test", "as it is", **options)
    for number, (file, names) in enumerate(faces):
        points = np.array([[10.0 + i, 20 + i * i + number] for i in range(len(names))])
        visibility = np.full(len(names), 2, np.int32)
        names = tuple(names) if isinstance(names[0], str) else None
        labels.faces.append(RawFace(file, points, visibility, f"face {number}", names))
    return labels


@pytest.fixture
def root(tmp_path):
    for name in "abc":
        picture(tmp_path, f"{name}.png")
    return tmp_path


def build(labels, root, **options):
    return assemble(labels, root / "labels", "csv", True, root, **options)


def test_named_points_are_put_in_one_order(root):
    labels = build(raw(("a.png", ["x", "y", "z"]), ("b.png", ["z", "x"])), root)
    assert labels.names == ("x", "y", "z")
    assert labels.faces[1].visibility.tolist() == [2, 0, 2]
    assert labels.faces[1].landmarks.tolist() == [[11, 22], [0, 0], [10, 21]]


def test_points_that_all_have_one_name_are_told_by_their_order(root):
    labels = build(raw(("a.png", ["p"] * 3), ("b.png", ["p"] * 3), ("c.png", ["p"] * 2)), root)
    assert labels.names is None and labels.num_landmarks == 3 and len(labels) == 2
    assert "face 2: has 2 points where 2 of 3 faces have 3" in lines(labels)


def test_named_and_nameless_points_are_not_mixed(root):
    faces = [("a.png", ["x", "y"]), ("b.png", [0, 1]), ("c.png", ["y", "x"])]
    labels = build(raw(*faces), root)
    assert labels.names == ("x", "y") and len(labels) == 2
    assert "face 1: its points have no names, where those of most faces have names" in lines(labels)
    labels = build(raw(*faces[:2], ("c.png", [0, 1])), root)
    assert labels.names is None and len(labels) == 2
    assert "face 0: its points have names, where those of most faces have none" in lines(labels)


def test_declared_and_repeated_names(root):
    faces = [("a.png", ["x", "y"]), ("b.png", ["x", "x"]), ("c.png", ["x"])]
    labels = build(raw(*faces, names=("z", "y", "x")), root)
    assert labels.names == ("z", "y", "x") and len(labels) == 2
    assert labels.faces[0].visibility.tolist() == [0, 2, 2]
    assert "face 1 has the point 'x' 2 times" in lines(labels)
    assert build(raw(*faces, names=("z", "x")), root).names == ("x", "y")


def test_names_without_end_are_refused(root):
    with pytest.raises(FaceAlignError, match="has 10000 names of points"):
        build(raw(("a.png", [f"p{i}" for i in range(10_000)])), root)
    with pytest.raises(FaceAlignError, match="has 10000 points"):
        build(raw(("a.png", list(range(10_000)))), root)


def test_natural_order():
    assert natural_order(["lm-10", "lm-9", "lm-1"]) == ("lm-1", "lm-9", "lm-10")
    assert natural_order(["10", "2"]) == ("2", "10")
    assert natural_order(["b2", "a1"]) == ("b2", "a1")
    assert natural_order(["1", "01"]) == ("1", "01")


def test_remarks(root):
    labels = raw(("a.png", [0, 1, 2]), ("a.png", [0, 1, 2]))
    face = labels.faces[1]
    labels.faces[1] = RawFace(
        face.file, face.points + 50, face.visibility, face.where, box=(0, 0, 60, 60), size=(64, 48)
    )
    found = build(labels, root)
    told = "\n".join(found.notes)
    assert "1 pictures have several faces, such as a.png with 2" in told
    assert "3 points of 1 faces lie outside of their pictures, such as point 0 of a.png" in told
    assert "boxes are 15.0 times as long" in told
    assert points_outside(found.faces[0], (64, 22)).tolist() == [2]
    assert points_outside(found.faces[0]).tolist() == []
    assert not any("boxes" in note for note in build(labels, root, boxes="points").notes)


def test_nothing_that_can_be_used(root):
    with pytest.raises(FaceAlignError, match="no labeled face"):
        build(raw(), root)
    with pytest.raises(FaceAlignError, match=r"none of the 1 faces .* 'd.png' is not below"):
        build(raw(("d.png", [0, 1])), root)
