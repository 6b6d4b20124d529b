"""Files and folders of data sets."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from keras_facealign.data import photo_formats
from keras_facealign.data.files import (
    find_photos,
    import_extra,
    list_names,
    read_text,
    resolve_inside,
)
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
    with pytest.raises(FaceAlignError, match="is not a regular file"):
        read_text(tmp_path)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(FaceAlignError, match=r'pip install "keras_facealign\[tfds\]"'):
        import_extra("scipy.io.nothing")
    assert import_extra("json.decoder").__name__ == "json.decoder"


def test_photos_of_a_folder_are_those_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_formats, "enable_heif", lambda: False)
    folder = tmp_path / "photos"
    for name in ("b.JPG", "a.jfif", "c.mpo", "IMG.HEIC", "d.cr2", ".e.jpg", "._b.JPG", "n.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name in ("x.jpg/in.png", "sub/y.tga", "sub/.hidden/z.jpg", "results/a_overlay.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    photos, skipped = find_photos(folder)
    assert [path.name for path in photos] == ["a.jfif", "b.JPG", "c.mpo"]
    reasons = {file.path.name: file.reason for file in skipped}
    assert reasons.keys() == {"IMG.HEIC", "d.cr2", ".e.jpg", "._b.JPG", "x.jpg"}
    assert "is HEIC" in reasons["IMG.HEIC"] and "raw" in reasons["d.cr2"]
    assert reasons["._b.JPG"] == "is a hidden file" and reasons["x.jpg"] == "is a folder"
    assert {file.path.name for file in skipped if file.is_photo} == {"IMG.HEIC", "d.cr2"}
    photos, skipped = find_photos(folder, recursive=True, exclude=tmp_path / "photos/./results")
    names = [path.relative_to(folder).as_posix() for path in photos]
    assert names == ["a.jfif", "b.JPG", "c.mpo", "sub/y.tga", "x.jpg/in.png"]


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_links_and_pipes_are_photos_that_fail_later(tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "up").symlink_to("..")
    photos, skipped = find_photos(tmp_path, recursive=True)
    assert [path.name for path in photos] == ["dangling.jpg", "loop.jpg", "pipe.jpg"]
    assert [(file.path.name, file.reason) for file in skipped] == [("up", "is a link to a folder")]
    assert list_names(tmp_path, (".jpg",)) == ["loop.jpg"]


def test_folders_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"x")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    errors = []
    photos, _ = find_photos(tmp_path, recursive=True, on_error=errors.append)
    assert [path.name for path in photos] == ["a.jpg"]
    assert [error.filename for error in errors] == [str(tmp_path / "closed")]
