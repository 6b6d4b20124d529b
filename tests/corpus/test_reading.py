"""The photos of shards, and damaged files of them."""

from __future__ import annotations

import random
import tarfile

import pytest

from keras_facealign.corpus import plan
from keras_facealign.corpus.reading import ColumnError, check_column, read_photos
from keras_facealign.errors import FaceAlignError
from tests.corpus.samples import (
    example,
    photos,
    record,
    write_parquet,
    write_tar,
    write_tfrecord,
)

pytest.importorskip("pyarrow")

PHOTOS = photos(3)


def read(path, **options):
    (shard,) = plan(path, **options)
    return list(read_photos(shard))


def good(found):
    return {key: photo for key, photo in found if not isinstance(photo, FaceAlignError)}


def errors(found):
    return [(key, str(photo)) for key, photo in found if isinstance(photo, FaceAlignError)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_webdataset(mode, tmp_path):
    members = {**PHOTOS, "p000.json": b"{}", "p000.cls": b"1", "._p000.jpg": b"x"}
    path = write_tar(tmp_path / "a.tar", dict(sorted(members.items())), mode)
    assert list(good(read(path)).items()) == list(PHOTOS.items())
    assert not errors(read(path))


def test_members_that_are_no_files_or_no_photos_that_can_be_read(tmp_path):
    path = write_tar(tmp_path / "a.tar", PHOTOS)
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "p000.jpg"
        archive.addfile(link)
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo("raw.cr2"))
    found = read(path)
    assert good(found) == {**PHOTOS, "raw.cr2": b""}
    ((key, reason),) = errors(found)
    assert key == "link.jpg" and "link" in reason


def test_every_truncation_of_a_tar_file_is_noticed(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", {n: c[:700] for n, c in PHOTOS.items()}).read_bytes()
    cut = tmp_path / "cut.tar"
    content_end = 3 * (512 + 1024)
    for size in [*range(0, content_end, 100), 512, 1536, 3072, content_end]:
        cut.write_bytes(whole[:size])
        found = read(cut)
        ((key, reason),) = errors(found)
        assert key == "cut.tar" and str(cut) in reason and "copy it again" in reason
        assert len(good(found)) == size // 1536 if size % 1536 < 512 + 700 else True
    cut.write_bytes(whole[: content_end + 512])
    assert not errors(read(cut))


def test_a_damaged_header_is_not_the_end_of_a_tar_file(tmp_path):
    path = write_tar(tmp_path / "a.tar", PHOTOS)
    content = bytearray(path.read_bytes())
    place = content.index(b"p001.jpg")
    content[place] ^= 1
    path.write_bytes(content)
    found = read(path)
    assert list(good(found)) == ["p000.jpg"]
    ((key, reason),) = errors(found)
    assert key == "a.tar" and "after member p000.jpg" in reason


def test_parquet_with_bytes_paths_and_both(tmp_path):
    contents = list(PHOTOS.values())
    path = write_parquet(tmp_path / "a.parquet", {"image": contents, "id": ["x", "y", "z"]})
    assert read(path) == [(str(i), content) for i, content in enumerate(contents)]
    assert [key for key, _ in read(path, key_column="id")] == ["x", "y", "z"]
    hugging_face = [
        {"bytes": contents[0], "path": "p.jpg"},
        {"bytes": None, "path": "sub/p.jpg"},
        {"bytes": None, "path": None},
    ]
    path = write_parquet(tmp_path / "b.parquet", {"photo": hugging_face})
    found = read(path, column="photo")
    assert good(found) == {"0": contents[0], "1": tmp_path / "sub/p.jpg"}
    assert errors(found) == [("2", "row 2 holds nothing, not an image's bytes or path")]


def test_a_parquet_file_without_the_column_names_those_it_has(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"jpg": [b"x"], "id": [1]})
    for options in ({}, {"column": "jpg", "key_column": "name"}):
        (shard,) = plan(path, **options)
        with pytest.raises(ColumnError, match="has no column .*but jpg, id; choose with --column"):
            check_column(shard)
    (shard,) = plan(path, column="jpg", key_column="id")
    check_column(shard)
    assert list(read_photos(shard)) == [("1", b"x")]


def test_keys_and_values_of_other_types_fail_alone(tmp_path):
    columns = {"image": [b"x", b"y"], "id": [None, "b"]}
    path = write_parquet(tmp_path / "a.parquet", columns)
    found = read(path, key_column="id")
    assert good(found) == {"b": b"y"}
    assert errors(found) == [("0", "row 0 has the key None; give it a text")]
    path = write_parquet(tmp_path / "b.parquet", {"image": [3]})
    assert errors(read(path)) == [("0", "row 0 holds int, not an image's bytes or path")]


def test_a_tfrecord_file(tmp_path):
    path = write_tfrecord(tmp_path / "a.tfrecord", PHOTOS)
    assert read(path) == [(str(i), content) for i, content in enumerate(PHOTOS.values())]
    assert good(read(path, key_column="id")) == PHOTOS
    (shard,) = plan(path, column="image/encoded")
    with pytest.raises(ColumnError, match="no feature 'image/encoded' .*but id, image"):
        check_column(shard)


def test_records_that_are_no_examples_fail_alone(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(record(b"\x0f") + record(example(image=b"x")) + record(example(label=b"1")))
    found = read(path)
    assert good(found) == {"1": b"x"}
    assert [key for key, _ in errors(found)] == ["0", "2"]


@pytest.mark.parametrize("kind", ["tar", "tgz", "parquet", "tfrecord"])
def test_random_damage_gives_errors_of_this_package_only(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        contents = list(PHOTOS.values())
        whole = write_parquet(path, {"image": contents}, row_group_size=1).read_bytes()
    elif kind == "tfrecord":
        whole = write_tfrecord(path, PHOTOS).read_bytes()
    else:
        whole = write_tar(path, PHOTOS, "w:gz" if kind == "tgz" else "w").read_bytes()
    generator = random.Random(3)
    for turn in range(60):
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 3, 30])):
            # Headers and footers are at both ends.
            place = generator.choice([generator.randrange(len(whole)), generator.randrange(600)])
            damaged[place if turn % 2 else -1 - place] = generator.randrange(256)
        if turn % 5 == 0:
            del damaged[generator.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        for key, photo in read(path):
            assert isinstance(key, str)
            assert isinstance(photo, (bytes, FaceAlignError))
