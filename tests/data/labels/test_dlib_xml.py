"""dlib's XML against a hand-written file."""

from __future__ import annotations

import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write

BOX = "<box top='10' left='5' width='40' height='30'>{}</box>"
FULL = BOX.format(
    "<part name='02' x='20' y='35'/><part name='00' x='10' y='20'/><part name='01' x='30' y='21'/>"
)
PART = BOX.format("<part name='00' x='11' y='20'/><part name='02' x='21' y='36'/>")


def xml(**images):
    rows = [f"<image file='{name}.png'>{boxes}</image>" for name, boxes in images.items()]
    return (
        f"<?xml version='1.0'?>\n<dataset><name>x</name><images>{''.join(rows)}</images></dataset>"
    )


@pytest.fixture
def folder(tmp_path):
    for name in "abcd":
        picture(tmp_path, f"{name}.png")
    return tmp_path


def test_parts_boxes_and_missing_parts(folder):
    labels = load(write(folder, "faces.xml", xml(a=FULL, b=PART + FULL, c="")))
    assert labels.kind == "dlib" and labels.names == ("00", "01", "02")
    one, two, three = labels.faces
    assert one.landmarks.tolist() == [[10, 20], [30, 21], [20, 35]]
    assert two.landmarks.tolist() == [[11, 20], [0, 0], [21, 36]]
    assert two.visibility.tolist() == [2, 0, 2] and three.key == "b.png#2"
    assert one.box.tolist() == [5, 10, 44, 39] and one.box_source == "file"
    assert labels.unlabeled == ("c.png", "d.png")


def test_what_does_not_fit_is_named(folder):
    broken = BOX.format("<part name='00' x='a' y='1'/>")
    twice = BOX.format("<part name='00' x='1' y='1'/><part name='00' x='2' y='2'/>")
    flat = "<box top='1' left='1' width='0' height='3'/>"
    ignored = "<box top='1' left='1' width='9' height='3' ignore='1'/>"
    text = xml(a=FULL, b=broken + twice + flat, c=BOX.format("") + ignored, missing=FULL)
    labels = load(write(folder, "faces.xml", text))
    told = lines(labels)
    assert len(labels) == 1 and len(labels.skipped) == 4
    assert "box 1 of b.png has 'a', which is no number" in told
    assert "box 2 of b.png has the point '00' 2 times" in told
    assert "box 3 of b.png has the box" in told and "'missing.png' is not below" in told
    assert labels.empty_boxes == (("c.png", (5, 10, 44, 39)),)
    assert any("1 boxes that are marked to be ignored" in note for note in labels.notes)


def test_other_xml_and_entities(folder):
    with pytest.raises(FaceAlignError, match="begins with <html>"):
        load(write(folder, "faces.xml", "<html><dataset/></html>"), "dlib")
    with pytest.raises(FaceAlignError, match="DOCTYPE"):
        load(write(folder, "faces.xml", "<!DOCTYPE x [<!ENTITY e 'y'>]>" + xml(a=FULL)[22:]))
