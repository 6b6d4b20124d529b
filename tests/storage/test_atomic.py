"""Files are written as a whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path, atomic_write


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = atomic_write(tmp_path / "a.txt", lambda file: file.write(b"whole"))

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(FaceAlignError, match=r"a\.txt: cannot be written \(disk full\)"):
        atomic_write(path, fail)
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["a.txt"]


def test_the_temporary_file_ends_as_the_file_does_and_lies_beside_it(tmp_path):
    path = tmp_path / "clip.mp4"
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".mp4"
        assert not path.exists()
        temporary.write_bytes(b"drawn")
    assert path.read_bytes() == b"drawn" and names(tmp_path) == ["clip.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX's")
def test_the_file_has_the_rights_of_any_other_new_file(tmp_path):
    (tmp_path / "plain").touch()
    path = atomic_write(tmp_path / "whole", lambda file: file.write(b""))
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, tmp_path / "plain")]
    assert modes[0] == modes[1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FaceAlignError, match=r"nowhere.*check the folder"):
        atomic_write(tmp_path / "nowhere" / "a.txt", lambda file: file.write(b""))
