"""Files are written as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage import atomic
from keras_facealign.storage.atomic import (
    PARTIAL,
    OutputError,
    atomic_path,
    atomic_write,
    partial_path,
    remove_partial_files,
)


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
    before = os.umask(0o027)
    try:
        (tmp_path / "plain").touch()
        path = atomic_write(tmp_path / "whole", lambda file: file.write(b""))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, tmp_path / "plain")]
    assert modes == [0o640, 0o640]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FaceAlignError, match=r"nowhere.*check the folder"):
        atomic_write(tmp_path / "nowhere" / "a.txt", lambda file: file.write(b""))


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_errors_of_the_disk_are_named_and_leave_the_earlier_file(call, code, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"earlier")

    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(FaceAlignError) as caught:
        atomic_write(path, lambda file: file.write(b"later"))
    monkeypatch.undo()
    assert f"a.txt: cannot be written ({os.strerror(code)})" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_bytes() == b"earlier" and names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_a_full_disk_is_noticed_when_the_file_closes(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"earlier")
    with (
        pytest.raises(FaceAlignError, match="No space left"),
        atomic_path(tmp_path / "a.txt"),
        open("/dev/full", "wb") as file,
    ):
        file.write(b"buffered until it closes")
    assert (tmp_path / "a.txt").read_bytes() == b"earlier"


@pytest.mark.skipif(os.name == "nt", reason="processes are asked for by POSIX signals")
def test_files_of_killed_programs_go_and_those_of_running_ones_stay(tmp_path):
    code = (
        "import sys, time\n"
        "from keras_facealign.storage.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as path:\n"
        "    print(path.name, flush=True)\n"
        "    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.json")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = process.stdout.readline().strip()
    assert left.startswith(PARTIAL) and left.endswith(".json")
    remove_partial_files(tmp_path)
    assert names(tmp_path) == [left]
    process.kill()
    process.communicate()
    atomic_write(tmp_path / "b.json", lambda file: file.write(b"{}"))
    assert names(tmp_path) == ["b.json"]


def test_own_files_stay_and_those_of_other_computers_for_a_day(tmp_path):
    old, new = (tmp_path / f"{PARTIAL}{tag}" for tag in ("01234567-1-89.npz", "fedcba98-1-89.npz"))
    for path in (old, new, tmp_path / f"{PARTIAL}folder"):
        path.mkdir() if path.name.endswith("folder") else path.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    with atomic_path(tmp_path / "a.txt") as own:
        remove_partial_files(tmp_path)
        assert sorted(names(tmp_path)) == sorted([own.name, new.name, f"{PARTIAL}folder"])
    remove_partial_files(tmp_path / "nowhere")


def test_a_file_of_an_earlier_process_with_the_same_number_goes(tmp_path):
    with atomic_path(tmp_path / "a.txt") as own:
        left = tmp_path / own.name.replace(own.stem[-8:], "00000000")
    left.touch()
    remove_partial_files(tmp_path)
    assert names(tmp_path) == ["a.txt"]


def test_folders_go_as_files_do(tmp_path):
    with partial_path(tmp_path / "7") as left:
        (left / "variables").mkdir(parents=True)
        remove_partial_files(tmp_path)
        assert (left / "variables").is_dir()
    assert names(tmp_path) == []
    (left / "variables").mkdir(parents=True)
    remove_partial_files(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(OutputError, match=r"pipe\.json: cannot be written .*not a regular file"):
        atomic_write(tmp_path / "pipe.json", lambda file: file.write(b"x"))
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.json"]
    assert (tmp_path / "pipe.json").is_fifo()
