"""The options of `load`."""

from __future__ import annotations

import pytest

import keras_facealign.data
from keras_facealign.data.labels import KINDS, load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import coco, picture, write

FACE = {"file": "a.png", "keypoints": [10, 20, 2, 30, 21, 2, 14, 40, 2], "bbox": [1, 2, 40, 40]}


def test_pictures_in_another_folder(tmp_path):
    picture(tmp_path, "photos/a.png")
    path = write(tmp_path, "labels/labels.json", coco(FACE))
    with pytest.raises(FaceAlignError, match="is not below"):
        load(path)
    labels = keras_facealign.data.load(path, images=tmp_path / "photos")
    assert next(iter(labels)).file_name == "a.png"


def test_the_label_file_of_a_folder(tmp_path):
    picture(tmp_path, "a.png")
    path = write(tmp_path, "labels.json", coco(FACE))
    labels = load(tmp_path)
    assert labels.path == path and labels.guessed and "(guessed)" in labels.describe()
    assert "(guessed)" not in load(path, "coco").describe()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "nonsense"}, "there is no kind of labels 'nonsense'; choose one of pts_folder"),
        ({"boxes": "mine"}, "no choice of boxes 'mine'"),
        ({"units": "inches"}, "no units 'inches'"),
        ({"one_based": False}, "coco defines how pixels count"),
        ({"kind": "csv"}, "labels.json"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, told):
    picture(tmp_path, "a.png")
    with pytest.raises(FaceAlignError, match=told):
        load(write(tmp_path, "labels.json", coco(FACE)), **options)


def test_every_kind_has_a_module():
    import importlib

    for module in set(KINDS.values()):
        assert importlib.import_module(f"keras_facealign.data.labels.{module}").read
