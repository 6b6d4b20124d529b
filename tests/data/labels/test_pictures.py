"""Names of pictures from other computers."""

from __future__ import annotations

import pytest

from keras_facealign.data.labels.pictures import Pictures
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import picture


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in ("a.png", "day/b.png", "day/c.png", "night/c.png", "night/deep/ü 1.png"):
        picture(root, name)
    picture(tmp_path, "outside.png")
    return root


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        ("A.PNG", "a.png"),
        ("/home/someone/set/day/b.png", "day/b.png"),
        (r"C:\Users\someone\day\b.png", "day/b.png"),
        ("b.png", "day/b.png"),
        ("../day/c.png", "day/c.png"),
        ("https://example.org/set/night/c.png?size=3", "night/c.png"),
        ("/data/local-files/?d=set/night/c.png", "night/c.png"),
        ("/data/upload/1/%C3%BC%201.png", "night/deep/ü 1.png"),
        ("\udcfc 1.png", "night/deep/ü 1.png"),
    ],
)
def test_found(root, name, found):
    pictures = Pictures(root)
    path = pictures.find(name)
    assert pictures.relative(path) == found and path.is_file()


@pytest.mark.parametrize(
    "name",
    ["", "d.png", "../outside.png", "/etc/passwd", "x" * 10_000, "a/" * 3000, "\0", "\ud800"],
)
def test_not_found(root, name):
    with pytest.raises(FaceAlignError, match="is not below"):
        Pictures(root).find(name)


def test_several_of_one_name(root):
    with pytest.raises(FaceAlignError, match="may be day/c.png or night/c.png"):
        Pictures(root).find("c.png")


def test_the_second_name_is_tried(root):
    assert Pictures(root).find("0a1b2c3d-b.png", "b.png") == root / "day/b.png"


def test_unused(root):
    pictures = Pictures(root)
    for name in ("a.png", "b.png", "night/c.png"):
        pictures.find(name)
    assert pictures.unused() == ["day/c.png", "night/deep/ü 1.png"]


def test_no_folder(tmp_path):
    with pytest.raises(FaceAlignError, match="no such folder"):
        Pictures(tmp_path / "missing")
