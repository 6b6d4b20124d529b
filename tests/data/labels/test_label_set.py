"""The set of faces: iteration, what is skipped while reading, and selections."""

from __future__ import annotations

import pytest
from PIL import Image

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import lines, picture, write

TEXT = "file,x0,y0,x1,y1,x2,y2,person\n" + "".join(
    f"{name}.png,10,20,30,{21 + i},14,40,{name}\n" for i, name in enumerate("abc")
)


@pytest.fixture
def labels(tmp_path):
    for name in "abc":
        picture(tmp_path, f"{name}.png")
    return load(write(tmp_path, "labels.csv", TEXT))


def test_pictures_are_read_when_iterated(labels):
    assert len(labels) == 3 and not labels.skipped
    (labels.root / "b.png").write_bytes(b"broken")
    for _ in range(2):
        assert [face.file_name for face in labels] == ["a.png", "c.png"]
        assert len(labels.skipped) == 1 and "b.png" in lines(labels)
    with pytest.raises(FaceAlignError, match=r"b\.png"):
        list(labels.examples(strict=True))
    told: list[FaceAlignError] = []
    list(labels.examples(on_skip=told.append))
    assert told == labels.skipped


def test_labels_outside_of_the_picture(labels):
    picture(labels.root, "a.png", (8, 8))
    assert [face.key for face in labels] == ["b.png", "c.png"]
    assert "lies outside the 8x8 image" in lines(labels)


def test_selection(labels):
    part = labels.select([2, 0])
    assert [face.file_name for face in part] == ["c.png", "a.png"]
    assert part.groups == ("c", "a") and part.num_landmarks == 3
    assert not part.unlabeled and "2 faces" in part.describe()


def test_a_turned_picture_of_another_size_is_named(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=exif)
    face = {"image_id": 1, "keypoints": [10, 20, 2, 30, 21, 2, 14, 40, 2]}
    image = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
    labels = load(write(tmp_path, "a.json", {"images": [image], "annotations": [face]}))
    with pytest.raises(FaceAlignError, match="turned by its EXIF data"):
        list(labels.examples(strict=True))
