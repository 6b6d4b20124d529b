"""CSV files, wide and long, against hand-written ones."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "ü.png"):
        picture(tmp_path, name)
    return tmp_path


WIDE = """file,x0,y0,x1,y1,x2,y2,v2,box_x0,box_y0,box_x1,box_y1,group
a.png,10.5,20,30,21,15,40,1,5,6,45,46,anna
b.png,11,20,,,16,40,,,,,,
"""


def test_a_face_per_row(folder):
    labels = load(write(folder, "labels.csv", WIDE))
    assert labels.kind == "csv" and labels.num_landmarks == 3 and labels.names is None
    one, two = labels
    assert one.landmarks.tolist() == [[10.5, 20], [30, 21], [15, 40]]
    assert one.visibility.tolist() == [2, 2, 1] and two.visibility.tolist() == [2, 0, 2]
    assert one.box.tolist() == [5, 6, 45, 46] and two.box.tolist() == [11, 20, 16, 40]
    assert labels.groups == ("anna", None)
    assert "taken to count from 0" in labels.describe()


def test_counting_from_1_is_stated(folder):
    labels = load(write(folder, "labels.csv", WIDE), one_based=True)
    assert next(iter(labels)).landmarks[0].tolist() == [9.5, 19]
    assert labels.faces[0].box.tolist() == [4, 5, 44, 45]
    assert "1 was subtracted" in labels.describe()
    assert "as in the file" in load(folder / "labels.csv", one_based=False).describe()


@pytest.mark.parametrize(
    "header",
    [
        "image,nose_x,nose_y,chin_x,chin_y,chin_v",
        "Path,x_nose,y_nose,x_chin,y_chin,v_chin",
        "filename;nose.x;nose.y;chin.x;chin.y;chin.v",
        "image\tnose-x\tnose-y\tchin-x\tchin-y\tchin-v",
    ],
)
def test_named_points(folder, header):
    delimiter = next(c for c in ",;\t" if c in header)
    text = header + "\n" + delimiter.join(["a.png", "1", "2", "3", "4", "1"]) + "\n"
    labels = load(write(folder, "labels.csv", text), units="pixels")
    assert labels.names == ("nose", "chin")
    (face,) = labels
    assert face.landmarks.tolist() == [[1, 2], [3, 4]] and face.visibility.tolist() == [2, 1]


def test_no_header(folder):
    labels = load(write(folder, "labels.csv", "a.png,10,20,30,40\nb.png,11,21,31,41\n"))
    assert len(labels) == 2 and "has no header" in labels.notes[0]
    assert labels.faces[1].landmarks.tolist() == [[11, 21], [31, 41]]


def test_a_landmark_per_row(folder):
    text = (
        "file,name,x,y,visibility,face\n"
        "a.png,nose,10,20,2,1\na.png,chin,12,30,1,1\n"
        "a.png,chin,42,31,2,2\na.png,nose,40,20,2,2\n"
        "b.png,nose,9,8,2,1\n"
        "b.png,eye,7,7.5,,1\n"
    )
    labels = load(write(folder, "labels.csv", text))
    assert labels.names == ("nose", "chin", "eye") and len(labels) == 3
    faces = labels.faces
    assert faces[1].landmarks.tolist() == [[40, 20], [42, 31], [0, 0]]
    assert faces[1].visibility.tolist() == [2, 2, 0] and faces[1].key == "a.png#2"
    assert faces[2].visibility.tolist() == [2, 0, 2]


def test_numbered_names_are_in_the_order_of_their_numbers(folder):
    rows = [f"a.png,p{n},{n + 10},{n * n}\n" for n in (10, 2, 0)]
    labels = load(write(folder, "labels.csv", "file,landmark,x,y\n" + "".join(rows)))
    assert labels.names == ("p0", "p2", "p10")
    assert labels.faces[0].landmarks[:, 0].tolist() == [10, 12, 20]


def test_broken_rows_are_named(folder):
    text = WIDE + "\n".join(
        [
            "c.png,1,2,3,4,5,6,2,,,,,",
            "a.png,1,2,3,x,5,6,2,,,,,",
            "a.png,1,2,3,,5,6,2,,,,,",
            "a.png,1,2",
            "a.png,1,2,3,4,5,6,9,,,,,",
            ",1,2,3,4,5,6,2,,,,,",
            "a.png,1,2,3,4,5,6,2,9,9,1,1,",
            "a.png,1e9,2,3,4,5,6,2,,,,,",
            "a.png,,,,,,,,1,2,3,4,",
        ]
    )
    labels = load(write(folder, "labels.csv", text))
    told = lines(labels)
    assert len(labels) == 2 and len(labels.skipped) == 8
    for expected in (
        "line 4 (c.png): the picture 'c.png' is not below",
        "line 5 (a.png) has 'x', which is no number",
        "line 6 (a.png) has only one coordinate of point 1",
        "line 7 has 3 cells where 7 are needed",
        "line 8 (a.png) has the visibility '9'",
        "line 9 () names no picture",
        "line 10 (a.png) has the box [9.0, 9.0, 1.0, 1.0] without an area",
        "line 11 (a.png) has the coordinate 1e+09, beyond 1000000 pixels",
    ):
        assert expected in told
    assert labels.empty_boxes == (("a.png", (1, 2, 3, 4)),)


def test_normalized_and_percent_coordinates(tmp_path):
    picture(tmp_path, "a.png", (400, 300))
    path = write(tmp_path, "labels.csv", "file,x0,y0,x1,y1,x2,y2\na.png,0.5,0.5,0.25,0.1,1,0\n")
    with pytest.raises(FaceAlignError, match="units='normalized'"):
        load(path)
    labels = load(path, units="normalized")
    np.testing.assert_allclose(
        labels.faces[0].landmarks, [[199.5, 149.5], [99.5, 29.5], [399.5, -0.5]]
    )
    assert "less 0.5" in labels.describe()
    path = write(tmp_path, "percent.csv", "file,x0,y0,x1,y1,x2,y2\na.png,50,50,25,10,100,0\n")
    with pytest.raises(FaceAlignError, match="units='percent'"):
        load(path)
    same = load(path, units="percent")
    np.testing.assert_allclose(same.faces[0].landmarks, labels.faces[0].landmarks)
    assert load(path, units="pixels").faces[0].landmarks[0].tolist() == [50, 50]
    with pytest.raises(FaceAlignError, match="do not count pixels"):
        load(path, units="percent", one_based=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(folder, encoding):
    text = "file,x0,y0,x1,y1,x2,y2\nü.png,1,2,3,4,5,60\n"
    labels = load(write(folder, "labels.csv", text, encoding), units="pixels")
    assert labels.faces[0].file_name == "ü.png"
    assert any("Windows-1252" in note for note in labels.notes) == (encoding == "latin-1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,x0,y0,x1,y1\na.png,1,2,3,4\n", "may be boxes or two points"),
        ("nose_x,nose_y\n1,2\n", "no column of file names"),
        ("file,nose_x\na.png,1\n", "only one column for the point 'nose'"),
        ("file,size\na.png,1\n", "columns for 0 points"),
        ("file,x0,x0\na.png,1,1\n", "two columns 'x0'"),
        ("file,x2,y2\n", "no labeled face"),
        ("\n", "empty"),
    ],
)
def test_other_tables_are_refused(folder, text, told):
    with pytest.raises(FaceAlignError, match=told):
        load(write(folder, "labels.csv", text))
