"""Each format is recognized by its content, not by its name."""

from __future__ import annotations

import pytest

from keras_facealign.data.labels import guess_kind
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import coco, picture, write

REGION = {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {}}
VIA = {"a.png12": {"filename": "a.png", "size": 12, "regions": [REGION], "file_attributes": {}}}
FILES = {
    "coco": coco({"file": "a.png", "keypoints": [1, 2, 2]}),
    "label_studio": [{"id": 1, "data": {"image": "a.png"}, "annotations": []}],
    "labelme": {"version": "5", "flags": {}, "shapes": [{"label": "x", "points": [[1, 2]]}]},
    "via_json": {"_via_settings": {"ui": {}}, "_via_img_metadata": VIA},
    "dlib": "<?xml version='1.0'?>\n<dataset><images></images></dataset>",
    "cvat": "<annotations><version>1.1</version></annotations>",
    "via_csv": "filename,file_size,region_shape_attributes\n",
    "csv": "file,x0,y0\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", FILES)
def test_files(tmp_path, kind, encoding):
    path = write(tmp_path, "labels.dat", FILES[kind], encoding)
    assert guess_kind(path) == (kind, path)


def test_more_forms(tmp_path):
    assert guess_kind(write(tmp_path, "a", VIA))[0] == "via_json"
    minimal = [{"id": 1, "img": "a.png", "kp": [{"x": 1, "keypointlabels": ["a"]}]}]
    assert guess_kind(write(tmp_path, "b", minimal))[0] == "label_studio"


def test_folders(tmp_path):
    path = write(tmp_path, "one/labels.json", FILES["coco"])
    write(tmp_path, "one/settings.json", {"a": 1})
    assert guess_kind(tmp_path / "one") == ("coco", path)
    write(tmp_path, "one/labels.csv", FILES["csv"])
    with pytest.raises(FaceAlignError, match="several label files"):
        guess_kind(tmp_path / "one")
    for ending, text in (("pts", "1 2\n3 4\n"), ("txt", "1 2\n3 4\n")):
        picture(tmp_path, f"{ending}/a.png")
        write(tmp_path, f"{ending}/a.{ending}", text)
        assert guess_kind(tmp_path / ending) == (f"{ending}_folder", tmp_path / ending)
    picture(tmp_path, "notes/a.png")
    write(tmp_path, "notes/a.txt", "A picture of mine.")
    with pytest.raises(FaceAlignError, match="holds neither pictures"):
        guess_kind(tmp_path / "notes")


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1, 2]", "{broken", "<html></html>", "<"])
def test_others(tmp_path, content):
    with pytest.raises(FaceAlignError, match="labels"):
        guess_kind(write(tmp_path, "labels", content))
    with pytest.raises(FaceAlignError, match="cannot be opened"):
        guess_kind(tmp_path / "missing")
