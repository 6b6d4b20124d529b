"""CVAT's XML against hand-written files."""

from __future__ import annotations

from html import escape

import pytest

from keras_facealign.data.labels import load
from keras_facealign.data.labels.cvat import parse_skeleton
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write

SVG = escape(
    '<line x1="1" data-type="edge" data-node-from="2" data-node-to="3"></line>'
    '<circle data-node-id="1" data-label-name="nose"></circle>'
    '<circle data-node-id="2" data-label-name="chin"></circle>'
    '<circle data-node-id="3" data-label-name="ear"></circle>'
)
META = (
    "<meta><task><labels><label><name>face</name><type>skeleton</type>"
    f"<svg>{SVG}</svg></label><label><name>nose</name><parent>face</parent></label></labels>"
    "</task></meta>"
)


def point(label, x, y, more=""):
    return f'<points label="{label}" points="{x},{y}" {more}></points>'


SKELETON = (
    '<skeleton label="face" group_id="4">'
    + point("ear", 40.5, 10.5, 'occluded="1"')
    + point("nose", 10.5, 20.25)
    + point("chin", 3, 3, 'outside="1"')
    + '</skeleton><box label="box" xtl="5" ytl="6" xbr="45" ybr="46" group_id="4"></box>'
)


def xml(meta="", **images):
    rows = [
        f'<image id="0" name="{name}.png" width="64" height="48">{shapes}</image>'
        for name, shapes in images.items()
    ]
    return f"<annotations><version>1.1</version>{meta}{''.join(rows)}</annotations>"


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        picture(tmp_path, f"{name}.png")
    return tmp_path


def test_skeletons(folder):
    labels = load(write(folder, "annotations.xml", xml(META, a=SKELETON, b="")))
    assert labels.kind == "cvat" and labels.names == ("nose", "chin", "ear")
    assert labels.edges == ((1, 2),) and "0.5 was subtracted" in labels.describe()
    (face,) = labels
    assert face.landmarks.tolist() == [[10, 19.75], [0, 0], [40, 10]]
    assert face.visibility.tolist() == [2, 0, 1] and face.box.tolist() == [4.5, 5.5, 44.5, 45.5]
    assert labels.unlabeled == ("b.png", "c.png")


def test_faces_of_many_points_and_grouped_points(folder):
    many = '<points label="face" points="1.5,2.5;3.5,4.5;5.5,40.5" occluded="1"></points>'
    labels = load(write(folder, "a.xml", xml(a=many, b=many + many.replace("40", "30"))))
    assert len(labels) == 3 and labels.names is None
    assert labels.faces[0].landmarks.tolist() == [[1, 2], [3, 4], [5, 40]]
    assert labels.faces[0].visibility.tolist() == [1, 1, 1]
    single = "".join(
        point(name, 10 * group + place + 0.5, 20.5 * place + 1, f'group_id="{group}"')
        for group in (1, 2)
        for place, name in enumerate(["nose", "chin"])
    )
    labels = load(write(folder, "a.xml", xml(a=single)))
    assert labels.names == ("nose", "chin") and len(labels) == 2
    assert [face.landmarks[0, 0] for face in labels.faces] == [10, 20]


@pytest.mark.parametrize("drawing", ["<circle " + "a" * 500_000 + ">", "<circle " * 60_000])
def test_a_long_drawing_takes_no_longer_than_many(drawing):
    """Patterns that look at all of it from each of its characters would take minutes."""
    assert parse_skeleton(drawing) == (None, None)


def test_what_does_not_fit_is_named(folder):
    text = xml(
        a=SKELETON,
        b='<points label="x" points="1;2,3"/>' + SKELETON.replace("10.5,20.25", "1,2;3,4"),
        c='<box xtl="1" ytl="1" xbr="9" ybr="9"/><box xtl="9" ytl="1" xbr="9" ybr="9"/>',
    )
    labels = load(write(folder, "a.xml", text))
    told = lines(labels)
    assert len(labels) == 1 and len(labels.skipped) == 3
    assert "image b.png: has the points '1'" in told
    assert "the point 'nose' of a skeleton has 2 positions" in told
    assert "image c.png has the box" in told
    assert ("c.png", (0.5, 0.5, 8.5, 8.5)) in labels.empty_boxes
    with pytest.raises(FaceAlignError, match="tracks of a video"):
        load(write(folder, "a.xml", "<annotations><track/></annotations>"))
    with pytest.raises(FaceAlignError, match="begins with <x>"):
        load(write(folder, "a.xml", "<x/>"), "cvat")
