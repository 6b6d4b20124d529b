"""Files and folders of data sets."""

from __future__ import annotations

import sys

import pytest

from keras_facealign.data.files import import_extra, read_text, resolve_inside
from keras_facealign.errors import FaceAlignError


def test_paths_stay_in_the_data_set(tmp_path):
    assert resolve_inside(tmp_path, tmp_path / "a", "../b/c.jpg", "x") == tmp_path / "b" / "c.jpg"
    assert (
        resolve_inside(tmp_path, tmp_path / "a", "b\\c.jpg", "x") == tmp_path / "a" / "b" / "c.jpg"
    )
    for path in ("../../c.jpg", "/etc/passwd", "..\\..\\c.jpg"):
        with pytest.raises(FaceAlignError, match="line 3: the path .* leads out of the data set"):
            resolve_inside(tmp_path, tmp_path / "a", path, "list.txt: line 3")


def test_text_files_are_checked(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n")
    assert read_text(path).split() == ["one"]
    with pytest.raises(FaceAlignError, match="is larger than 5 bytes"):
        read_text(path, 5)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FaceAlignError, match="is not a text file"):
        read_text(path)
    with pytest.raises(FaceAlignError, match="cannot be opened"):
        read_text(tmp_path)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(FaceAlignError, match=r'pip install "keras_facealign\[tfds\]"'):
        import_extra("scipy.io.nothing")
    assert import_extra("json.decoder").__name__ == "json.decoder"
