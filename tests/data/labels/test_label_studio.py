"""Label Studio's JSON exports against hand-written ones."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write

SIZE = {"original_width": 200, "original_height": 100}


def point(name, x, y, **more):
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
    return {"type": "keypointlabels", "image_rotation": 0, "value": value, **SIZE, **more}


def rectangle(x, y, width, height, **more):
    value = {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": ["face"]}
    return {"type": "rectanglelabels", "value": value, **SIZE, **more}


def task(name, *regions, **more):
    result = [*regions, {"type": "choices", "value": {"choices": ["good"]}}]
    return {"id": 1, "data": {"image": name}, "annotations": [{"result": result, **more}]}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "c d.png"):
        picture(tmp_path, name, (200, 100))
    return tmp_path


def test_percent_become_pixels(folder):
    value = [
        task("/data/upload/3/0a1b2c3d-a.png", point("nose", 10, 20), point("chin", 55.5, 80)),
        task("/data/local-files/?d=set/b.png", point("chin", 50, 90), rectangle(5, 10, 40, 80)),
        task("https://example.org/c%20d.png"),
    ]
    labels = load(write(folder, "export.json", value))
    assert labels.kind == "label_studio" and labels.names == ("nose", "chin")
    one, two = labels.faces
    assert one.file_name == "a.png" and two.file_name == "b.png"
    np.testing.assert_allclose(one.landmarks, [[19.5, 19.5], [110.5, 79.5]], rtol=1e-6)
    assert two.visibility.tolist() == [0, 2] and two.box_source == "points"
    assert labels.empty_boxes == (("b.png", (9.5, 9.5, 89.5, 89.5)),)
    assert labels.unlabeled == ("c d.png",) and "percent" in labels.describe()


def test_faces_inside_of_regions(folder):
    regions = [
        rectangle(0, 0, 40, 90, id="f1"),
        rectangle(50, 0, 40, 90, id="f2"),
        *(
            point(n, x, y, parentID=f)
            for f, x in (("f1", 9), ("f2", 60))
            for n, y in (("n", 9), ("c", 80))
        ),
    ]
    labels = load(write(folder, "export.json", [task("a.png", *regions)]))
    assert len(labels) == 2 and [face.box[0] for face in labels.faces] == [-0.5, 99.5]
    without = [{k: v for k, v in region.items() if k != "parentID"} for region in regions]
    assert len(load(write(folder, "export.json", [task("a.png", *without)]))) == 2


def test_the_small_export_and_unknown_sizes(folder):
    small = {"x": 10, "y": 20, "keypointlabels": ["nose"], **SIZE}
    value = [
        {"id": 1, "img": "a.png", "kp-1": [small, {**small, "y": 90, "keypointlabels": ["b"]}]}
    ]
    labels = load(write(folder, "export.json", value))
    assert labels.kind == "label_studio" and labels.names == ("nose", "b")
    old = point("nose", 10, 20)
    del old["original_width"]
    other = task("a.png", old, point("b", 10, 90) | {"original_width": None})
    other["completions"] = other.pop("annotations")
    again = load(write(folder, "export.json", [other]))
    np.testing.assert_array_equal(again.faces[0].landmarks, labels.faces[0].landmarks)


def test_what_does_not_fit_is_named(folder):
    good = [point("n", 10, 20), point("c", 10, 80)]
    value = [
        task("a.png", *good),
        task("b.png", *good, point("n", 50, 50)),
        task("missing.png", *good),
        task("b.png", point("n", "x", 3)),
        task("b.png", point("n", 1, 3, image_rotation=90)),
        {"id": 3, "data": {"n": 1}, "annotations": []},
        3,
        task("b.png", *good, was_cancelled=True),
    ]
    value[0]["annotations"].append({"result": [point("n", 1, 1)]})
    labels = load(write(folder, "export.json", value))
    told = lines(labels)
    assert len(labels) == 1 and len(labels.skipped) == 6
    assert "task 1 (b.png) has the point 'n' 2 times" in told
    assert "task 3 (b.png) has 'x'" in told and "turned by 90 degrees" in told
    assert "task 5 names no picture" in told and "task 6 is 3" in told
    assert any("1 tasks have several annotations" in note for note in labels.notes)
    with pytest.raises(FaceAlignError, match="leave out units"):
        load(folder / "export.json", units="percent")
    with pytest.raises(FaceAlignError, match="list of tasks"):
        load(write(folder, "export.json", {"a": 1}), "label_studio")
