"""VIA's projects, JSON and CSV files against hand-written ones."""

from __future__ import annotations

import csv
import io
import json

import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write


def point(x, y, **attributes):
    return {
        "shape_attributes": {"name": "point", "cx": x, "cy": y},
        "region_attributes": attributes,
    }


def rect(x, y, width, height, **attributes):
    shape = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
    return {"shape_attributes": shape, "region_attributes": attributes}


REGIONS = [
    point(10, 20, landmark="nose", face="1"),
    point(30, 40, landmark={"chin": True, "nose": False}, face="1", occluded="yes"),
    point(50, 20, face="2", landmark="nose"),
    rect(5, 6, 40, 40, face="1"),
]


def annotations(**files):
    return {
        f"{name}.png99": {
            "filename": f"{name}.png",
            "size": 99,
            "regions": regions,
            "file_attributes": {},
        }
        for name, regions in files.items()
    }


def as_csv(value):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        [
            "filename",
            "file_size",
            "file_attributes",
            "region_count",
            "region_id",
            "region_shape_attributes",
            "region_attributes",
        ]
    )
    for entry in value.values():
        parts = [json.dumps(r[k]) for r in entry["regions"] for k in r]
        rows = list(zip(parts[::2], parts[1::2], strict=True)) or [("{}", "{}")]
        for number, row in enumerate(rows):
            writer.writerow([entry["filename"], 99, "{}", len(rows), number, *row])
    return text.getvalue()


FORMS = {
    "via_json": lambda value: value,
    "project": lambda value: {"_via_settings": {"ui": {"a": []}}, "_via_img_metadata": value},
    "via_csv": as_csv,
}


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        picture(tmp_path, f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_points_faces_and_boxes(folder, form):
    value = FORMS[form](annotations(a=REGIONS, b=[]))
    labels = load(write(folder, "via", value))
    assert labels.kind == ("via_csv" if form == "via_csv" else "via_json")
    assert labels.names == ("nose", "chin") and "whole pixels" in labels.describe()
    one, two = labels.faces
    assert one.landmarks.tolist() == [[10, 20], [30, 40]] and one.visibility.tolist() == [2, 1]
    assert one.box.tolist() == [5, 6, 45, 46] and two.visibility.tolist() == [2, 0]
    assert labels.unlabeled == ("b.png", "c.png")


@pytest.mark.parametrize("form", FORMS)
def test_polylines_and_points_in_order(folder, form):
    shape = {"name": "polyline", "all_points_x": [1, 3, 5], "all_points_y": [2, 4, 9]}
    line = {"shape_attributes": shape, "region_attributes": {}}
    labels = load(write(folder, "via", FORMS[form](annotations(a=[line]))))
    assert labels.names is None and labels.faces[0].landmarks.tolist() == [[1, 2], [3, 4], [5, 9]]
    nameless = [point(1, 2), point(3, 4), point(5, 9)]
    labels = load(write(folder, "via", FORMS[form](annotations(a=nameless))))
    assert labels.names is None and labels.faces[0].landmarks.tolist() == [[1, 2], [3, 4], [5, 9]]


def test_regions_by_key(folder):
    value = annotations(a={str(i): region for i, region in enumerate(REGIONS)})
    assert len(load(write(folder, "via", value))) == 2


@pytest.mark.parametrize("form", FORMS)
def test_what_does_not_fit_is_named(folder, form):
    bad = {"name": "polyline", "all_points_x": [1], "all_points_y": [2, 4]}
    regions = [
        point("x", 1, landmark="nose"),
        {"shape_attributes": bad, "region_attributes": {}},
        rect(1, 1, 0, 5),
    ]
    value = annotations(a=REGIONS, b=regions, missing=REGIONS[:2])
    labels = load(write(folder, "via", FORMS[form](value)))
    told = lines(labels)
    assert len(labels) == 2 and len(labels.skipped) == 4
    for expected in ("'x', which is no number", "without as many x as y", "without an area"):
        assert expected in told
    assert "missing.png" in told


def test_broken_files(folder):
    header = as_csv({})
    path = write(folder, "via", as_csv(annotations(a=REGIONS)) + "a.png,1\nb.png,1,{},1,1,{x,{}\n")
    told = lines(load(path))
    assert "line 6 has 2 cells where 7 are needed" in told and "line 7: cannot be read" in told
    with pytest.raises(FaceAlignError, match="no labeled face"):
        load(write(folder, "via", header))
    with pytest.raises(FaceAlignError, match="no column region_attributes"):
        load(write(folder, "via", header.replace(",region_attributes", "")), "via_csv")
    with pytest.raises(FaceAlignError, match="no labeled face"):
        load(write(folder, "via", {"a": {"filename": 3, "regions": []}}))
