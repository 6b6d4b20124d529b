"""What a shard's results hold."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from keras_facealign.corpus import AlignOptions, align_shard, plan, prepare
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import OutputError
from tests.corpus.samples import (
    BROKEN,
    load,
    photo,
    photos,
    results,
    rows,
    write_folder,
    write_parquet,
    write_tar,
    write_tfrecord,
)

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def aligner():
    return load()


def align(source, output, aligner, **options):
    shards = plan(source, photos_per_shard=4)
    prepare(shards, output, AlignOptions().to_dict())
    return [align_shard(shard, output, aligner, **options) for shard in shards]


def test_rows_are_the_json_of_each_photo(tmp_path, aligner):
    source = write_folder(tmp_path / "in", photos(6, **BROKEN))
    found = align(source, tmp_path / "out", aligner)
    assert [(r.name, r.photos, r.faces, r.failed) for r in found] == [
        ("000000", 2, 2, 2),
        ("000001", 4, 4, 0),
    ]
    written = rows(tmp_path / "out")
    assert [row["key"] for row in written] == [f"p{i:03d}.jpg" for i in range(6)]
    for number, row in enumerate(written):
        assert (row["width"], row["height"], row["overlay"]) == (110, 110, None)
        (face,) = row["faces"]
        (expected,) = aligner.align(photo(number))
        assert face["box"] == pytest.approx(expected.to_dict()["box"])
        record = expected.to_dict()
        assert {key for key, value in face.items() if value is not None} == record.keys()
        # Photos share a batch here, so that the last digit may differ.
        np.testing.assert_allclose(face["landmarks"], record["landmarks"], atol=0.0021)
        np.testing.assert_allclose(face["confidence"], record["confidence"], atol=0.0011)
    dead = rows(tmp_path / "out", "dead_letters")
    assert [(row["shard"], row["key"]) for row in dead] == [
        ("000000", "p000_empty.jpg"),
        ("000000", "p000_text.jpg"),
    ]
    assert "empty" in dead[0]["reason"]
    # float32 holds what the JSON has.
    points = np.array(written[0]["faces"][0]["landmarks"])
    np.testing.assert_allclose(points, points.round(3), atol=1e-5)


def test_all_sources_give_the_same_faces(tmp_path, aligner):
    contents = photos(3, text=b"no photo")
    write_tar(tmp_path / "a.tar", contents)
    write_tfrecord(tmp_path / "a.tfrecord", contents)
    columns = {"image": list(contents.values()), "id": list(contents)}
    write_parquet(tmp_path / "a.parquet", columns)
    (tmp_path / "list.txt").write_text("\n".join(f"in/{name}" for name in contents))
    write_folder(tmp_path / "in", contents)
    faces = []
    for name in ("in", "list.txt", "a.tar", "a.tfrecord", "a.parquet"):
        output = tmp_path / "out" / name
        align(tmp_path / name, output, aligner)
        faces.append([row["faces"] for row in rows(output)])
        (dead,) = rows(output, "dead_letters")
        assert dead["key"] == {"in": "p000_text.jpg", "list.txt": "in/p000_text.jpg"}.get(
            name, "p000_text.jpg" if name == "a.tar" else "1"
        )
    assert len(faces[0]) == 3
    assert all(found == faces[0] for found in faces)


def test_the_same_photos_give_the_same_bytes(tmp_path, aligner):
    source = write_tar(tmp_path / "a.tar", photos(5, **BROKEN))
    for name in ("one", "other"):
        align(source, tmp_path / name, aligner, overlay_every=2)
    assert results(tmp_path / "one") == results(tmp_path / "other")


def test_overlays_are_drawn_for_some_and_named_in_the_rows(tmp_path, aligner):
    source = write_folder(tmp_path / "in", photos(8))
    align(source, tmp_path / "out", aligner, overlay_every=3)
    named = {row["overlay"]: row["key"] for row in rows(tmp_path / "out") if row["overlay"]}
    assert 1 <= len(named) < 8
    assert set(named) == {n for n in results(tmp_path / "out") if n.startswith("overlays")}
    for name, key in named.items():
        with Image.open(tmp_path / "out" / name) as drawn:
            before = np.asarray(Image.open(source / key)).astype(int)
            assert np.abs(np.asarray(drawn) - before).max() > 100
    before = named
    align(source, tmp_path / "out", aligner, overlay_every=1000)
    assert not set(before) & set(results(tmp_path / "out"))


def test_a_key_that_is_there_twice_fails_the_second_time(tmp_path, aligner):
    members = [("a.jpg", photo(0)), ("b.jpg", photo(1)), ("a.jpg", photo(2))]
    align(write_tar(tmp_path / "a.tar", members), tmp_path / "out", aligner)
    assert [row["key"] for row in rows(tmp_path / "out")] == ["a.jpg", "b.jpg"]
    (dead,) = rows(tmp_path / "out", "dead_letters")
    assert dead["key"] == "a.jpg" and "same key" in dead["reason"]


def test_what_is_before_the_damage_of_a_file_is_kept(tmp_path, aligner):
    path = write_tar(tmp_path / "a.tar", photos(4))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"p003.jpg") + 700])
    align(path, tmp_path / "out", aligner)
    assert [row["key"] for row in rows(tmp_path / "out")] == [f"p{i:03d}.jpg" for i in range(3)]
    (dead,) = rows(tmp_path / "out", "dead_letters")
    assert dead["key"] == "a.tar" and "copy it again" in dead["reason"]


def test_names_of_any_bytes(tmp_path, aligner):
    odd = ["\udcff.jpg", "a\nb.jpg", "人.jpg", "=1.jpg"]
    align(write_tar(tmp_path / "a.tar", dict.fromkeys(odd, photo(0))), tmp_path / "out", aligner)
    keys = [row["key"] for row in rows(tmp_path / "out")]
    assert keys == ["\\udcff.jpg", "a\nb.jpg", "人.jpg", "=1.jpg"]


def test_a_photo_without_a_face_is_a_row(tmp_path):
    align(write_tar(tmp_path / "a.tar", photos(1)), tmp_path / "out", load(lambda image: []))
    (row,) = rows(tmp_path / "out")
    assert row["faces"] == [] and row["width"] == 110


def test_skipped_photos_are_not_read(tmp_path, aligner):
    source, seen = write_tar(tmp_path / "a.tar", photos(3)), []
    align(source, tmp_path / "out", aligner, skip={1}, on_photo=seen.append)
    assert seen == [0, 1, 2]
    assert [row["key"] for row in rows(tmp_path / "out")] == ["p000.jpg", "p002.jpg"]
    (dead,) = rows(tmp_path / "out", "dead_letters")
    assert dead["key"] == "p001.jpg" and "ends the process" in dead["reason"]


def test_more_photos_than_are_in_memory_at_a_time(tmp_path, monkeypatch, aligner):
    source = write_tar(tmp_path / "a.tar", photos(7, **BROKEN))
    align(source, tmp_path / "whole", aligner)
    monkeypatch.setattr("keras_facealign.corpus.aligning._GROUP", 3)
    align(source, tmp_path / "parts", aligner)
    keys = [[row["key"] for row in rows(tmp_path / name)] for name in ("whole", "parts")]
    assert keys[0] == keys[1] and len(keys[0]) == 7
    assert rows(tmp_path / "whole", "dead_letters") == rows(tmp_path / "parts", "dead_letters")


def test_landmarks_that_are_not_finite_are_no_result(tmp_path, aligner):
    class Broken:
        model = aligner.model

        def align_batch(self, images, names, on_error):
            found = aligner.align_batch(images, names=names, on_error=on_error)
            for faces in found[1:2]:
                faces[0].landmarks[0] = np.nan
            return found

    align(write_tar(tmp_path / "a.tar", photos(3)), tmp_path / "out", Broken())
    assert len(rows(tmp_path / "out")) == 2
    (dead,) = rows(tmp_path / "out", "dead_letters")
    assert dead["key"] == "p001.jpg" and "not finite" in dead["reason"]


def test_a_shard_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch, aligner):
    source = write_tar(tmp_path / "a.tar", photos(2, **BROKEN))

    def fail(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", lambda a, b: fail())
    shards = plan(source)
    for folder in ("faces", "dead_letters"):
        (tmp_path / "out" / folder).mkdir(parents=True)
    with pytest.raises(OutputError, match="No space"):
        align_shard(shards[0], tmp_path / "out", aligner)
    assert not results(tmp_path / "out")


def test_an_error_inside_the_network_is_not_taken_for_a_broken_photo(tmp_path):
    class Failing:
        model = None

        def align_batch(self, images, **options):
            list(images)
            raise FaceAlignError("the network does not run")

    with pytest.raises(FaceAlignError, match="does not run"):
        align(write_tar(tmp_path / "a.tar", photos(2)), tmp_path / "out", Failing())
    assert set(results(tmp_path / "out")) == {"corpus.json"}


def test_other_kinds_of_photos(tmp_path, aligner):
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo(0))).convert("L").save(stream, "png")
    members = {"gray.png": stream.getvalue(), "b.webp": photo(0, "webp"), "c.heic": b"x"}
    align(write_tar(tmp_path / "a.tar", members), tmp_path / "out", aligner)
    assert [row["key"] for row in rows(tmp_path / "out")] == ["gray.png", "b.webp"]
    assert [row["key"] for row in rows(tmp_path / "out", "dead_letters")] == ["c.heic"]
