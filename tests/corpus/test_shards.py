"""Sources and their shards."""

from __future__ import annotations

import os

import pytest

from keras_facealign.corpus import plan
from keras_facealign.errors import FaceAlignError
from tests.corpus.samples import photos, write_folder, write_tar

pytest.importorskip("pyarrow")


def test_a_folder_is_divided_by_the_sorted_paths(tmp_path):
    names = ["b.jpg", "a/z.png", "a/y.jpg", "c.JPG", "notes.txt", "raw.cr2", ".hidden.jpg"]
    write_folder(tmp_path / "in", dict.fromkeys([*names, "out/old.jpg"], b"x"))
    shards = plan(tmp_path / "in", photos_per_shard=2, exclude=tmp_path / "in" / "out")
    # A raw file cannot be read, which its dead letter will say.
    assert [s.photos for s in shards] == [("a/y.jpg", "a/z.png"), ("b.jpg", "c.JPG"), ("raw.cr2",)]
    assert [s.name for s in shards] == ["000000", "000001", "000002"]
    assert {s.path for s in shards} == {str(tmp_path / "in")}
    assert len({s.fingerprint for s in shards}) == 3


def test_a_list_keeps_its_order_and_any_byte(tmp_path):
    lines = [b"b.jpg", b"", b"sub/a b.jpg\r", os.fsencode(tmp_path / "x.jpg"), b"\xff.jpg"]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    (shard,) = plan(tmp_path / "list.txt")
    expected = ("b.jpg", "sub/a b.jpg", str(tmp_path / "x.jpg"), os.fsdecode(b"\xff.jpg"))
    assert shard.photos == expected
    assert shard.path == str(tmp_path)


def test_files_are_shards(tmp_path):
    for name in ("b.tar", "a.tar", "c.tgz"):
        write_tar(tmp_path / name, {}, "w:gz" if name.endswith("gz") else "w")
    (tmp_path / "README.md").write_text("text")
    shards = plan(tmp_path)
    assert [(s.name, s.kind) for s in shards] == [(f, "tar") for f in ("a.tar", "b.tar", "c.tgz")]
    assert [s.column for s in shards] == [None] * 3
    assert plan(tmp_path / "a.tar") == shards[:1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.parquet", "parquet"),
        ("x.tfrecord", "tfrecord"),
        ("set-train.tfrecord-00001-of-00016", "tfrecord"),
        ("x.TAR.GZ", "tar"),
    ],
)
def test_kinds_are_told_by_name(name, kind, tmp_path):
    (tmp_path / name).write_bytes(b"1234")
    (shard,) = plan(tmp_path / name, column="photo")
    assert (shard.name, shard.kind, shard.fingerprint) == (name, kind, "4 bytes")
    assert shard.column == (None if kind == "tar" else "photo")


def repeated(folder):
    (folder / "list.txt").write_text("a.jpg\nb.jpg\na.jpg\n")
    return folder / "list.txt"


def two_kinds(folder):
    return write_folder(folder, {"a.tar": b"", "b.parquet": b""})


def mixed(folder):
    return write_folder(folder, {"a.tar": b"", **photos(1)})


def other(folder):
    (folder / "a.zip").write_bytes(b"x")
    return folder / "a.zip"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (repeated, "line 3 repeats line 1 (a.jpg)"),
        (two_kinds, "several kinds, such as a.tar, b.parquet"),
        (mixed, "both photos (p000.jpg) and files of photos (a.tar)"),
        (other, "is no corpus"),
        (lambda folder: folder, "no photos"),
        (lambda folder: folder / "missing", "cannot be opened (No such file"),
        (lambda folder: folder / "missing.tar", "cannot be opened (No such file"),
    ],
)
def test_sources_that_cannot_be_used(make, reason, tmp_path):
    source = make(tmp_path)
    with pytest.raises(FaceAlignError) as caught:
        plan(source)
    assert reason in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_results_cannot_be_in_the_place_of_the_photos(tmp_path):
    write_folder(tmp_path, photos(1))
    with pytest.raises(FaceAlignError, match="also the folder of the results"):
        plan(tmp_path, exclude=tmp_path)
