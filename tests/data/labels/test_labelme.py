"""LabelMe's JSON files against hand-written ones."""

from __future__ import annotations

import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write


def point(label, x, y, **more):
    return {"label": label, "points": [[x, y]], "shape_type": "point", **more}


def labelme(name, *shapes, size=(64, 48)):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": name,
        "imageData": "AAAA" * 100,
        "imageWidth": size[0],
        "imageHeight": size[1],
    }


NOSE, CHIN = point("nose", 10.5, 20.25), point("chin", 30.5, 40.5, flags={"occluded": True})
BOX = {"label": "face", "points": [[45, 46], [5, 6]], "shape_type": "rectangle"}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "day/c.png"):
        picture(tmp_path, name)
    return tmp_path


def test_points_boxes_and_missing_points(folder):
    write(folder, "a.json", labelme("a.png", NOSE, CHIN, BOX))
    write(folder, "b.json", labelme("b.png", CHIN))
    write(folder, "day/c.json", labelme(r"..\day\c.png", CHIN, NOSE))
    labels = load(folder)
    assert labels.kind == "labelme" and labels.names == ("nose", "chin")
    one, two, three = labels.faces
    assert one.landmarks.tolist() == [[10, 19.75], [30, 40]] and one.visibility.tolist() == [2, 1]
    assert one.box.tolist() == [4.5, 5.5, 44.5, 45.5] and two.visibility.tolist() == [0, 1]
    assert three.file_name == "day/c.png" and three.box_source == "points"
    assert "0.5 was subtracted" in labels.describe()
    alone = load(folder / "a.json")
    assert alone.kind == "labelme" and len(alone) == 1


def test_several_faces(folder):
    grouped = [{**shape, "group_id": group} for group in (1, 2) for shape in (NOSE, CHIN, BOX)]
    grouped[3]["points"] = [[20, 21]]
    write(folder, "a.json", labelme("a.png", *grouped))
    line = {"label": "f", "shape_type": "linestrip", "points": [[1, 2], [3, 4]]}
    assert len(load(folder)) == 2
    write(folder, "a.json", labelme("a.png", line, {**line, "points": [[3, 4], [5, 7]]}))
    labels = load(folder)
    assert labels.names is None and labels.faces[1].landmarks.tolist() == [[2.5, 3.5], [4.5, 6.5]]
    boxes = [{**BOX, "points": [[x, 0], [x + 20, 40]]} for x in (0, 30)]
    shapes = [point(n, x, y) for x in (5, 35) for n, y in (("nose", 10), ("chin", 30))]
    write(folder, "a.json", labelme("a.png", *shapes, *boxes))
    labels = load(folder)
    assert len(labels) == 2 and labels.names == ("nose", "chin")
    assert labels.faces[1].box.tolist() == [29.5, -0.5, 49.5, 39.5]


def test_what_does_not_fit_is_named(folder):
    write(folder, "a.json", labelme("a.png", NOSE, CHIN))
    write(folder, "b.json", labelme("b.png", NOSE, NOSE, CHIN))
    write(folder, "c.json", labelme("missing.png", NOSE, CHIN))
    write(folder, "d.json", labelme("b.png", {**NOSE, "points": [[1, 2, 3]]}))
    write(folder, "e.json", "{broken")
    write(folder, "f.json", {"other": 1})
    write(folder, "g.json", labelme(3, NOSE))
    labels = load(folder, "labelme")
    told = lines(labels)
    assert len(labels) == 1 and len(labels.skipped) == 5
    assert "b.json has the point 'nose' 2 times" in told
    assert "c.json: the picture 'missing.png' is not below" in told
    assert "d.json: shape 0 has the point [1, 2, 3]" in told
    assert "e.json: cannot be read" in told and "g.json: has the imagePath 3" in told
    assert any("f.json is left out" in note for note in labels.notes)
    assert {"b.png", "day/c.png"} <= set(labels.unlabeled)
    with pytest.raises(FaceAlignError, match="holds no .json files"):
        load(folder / "day", "labelme")


def test_pictures_of_another_size_and_encoding(folder):
    write(folder, "a.json", labelme("a.png", NOSE, CHIN, size=(640, 480)), "utf-16")
    labels = load(folder)
    with pytest.raises(FaceAlignError, match="640x480"):
        list(labels.examples(strict=True))
