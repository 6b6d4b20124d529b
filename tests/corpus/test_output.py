"""What is missing in a folder of results, and which folders are refused."""

from __future__ import annotations

import json

import pytest

from keras_facealign.corpus import AlignOptions, align_shard, plan, prepare, read_dead_letters
from keras_facealign.corpus.output import count_photos, model_digest
from keras_facealign.errors import FaceAlignError
from tests.corpus.samples import load, photos, rows, write_folder, write_parquet, write_tar

pytest.importorskip("pyarrow")

SETTINGS = AlignOptions().to_dict()


@pytest.fixture(scope="module")
def aligner():
    return load()


@pytest.fixture
def source(tmp_path):
    for name, broken in (("a.tar", {}), ("b.tar", {"text": b"no photo"}), ("c.tar", {})):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_tar(tmp_path / "in" / name, photos(2, **broken))
    return tmp_path / "in"


def names(shards):
    return [shard.name for shard in shards]


def finish(shards, output, aligner):
    for shard in shards:
        align_shard(shard, output, aligner)


def test_only_what_is_missing_is_done(tmp_path, source, aligner):
    shards, output = plan(source), tmp_path / "out"
    assert prepare(shards, output, SETTINGS) == shards
    finish(shards[:2], output, aligner)
    assert count_photos(shards, output) == (2, 4, 1)
    assert names(prepare(shards, output, SETTINGS)) == ["c.tar"]
    finish(shards[2:], output, aligner)
    assert prepare(shards, output, SETTINGS) == []
    assert names(prepare(shards, output, SETTINGS, retry=True)) == ["b.tar"]
    (dead,) = read_dead_letters(output)
    assert (dead["shard"], dead["key"]) == ("b.tar", "p000_text.jpg")


def test_a_file_that_was_replaced_or_added_is_done(tmp_path, source, aligner):
    output = tmp_path / "out"
    finish(prepare(plan(source), output, SETTINGS), output, aligner)
    write_tar(source / "b.tar", photos(5))
    write_tar(source / "d.tar", photos(1))
    missing = prepare(plan(source), output, SETTINGS)
    assert names(missing) == ["b.tar", "d.tar"]
    finish(missing, output, aligner)
    assert len(rows(output)) == 2 + 5 + 2 + 1
    assert not list(read_dead_letters(output))  # those of the old file have gone


def test_a_damaged_result_is_done_again(tmp_path, source, aligner):
    output = tmp_path / "out"
    finish(prepare(plan(source), output, SETTINGS), output, aligner)
    (output / "faces" / "a.tar.parquet").write_bytes(b"PAR1")
    assert names(prepare(plan(source), output, SETTINGS)) == ["a.tar"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"preset": "sat2_cab_small"}, "preset 'sat1_cab_mobile'"),
        ({"flip_test": True}, "flip_test False"),
        ({"min_face": 30.0}, "min_face None"),
        ({"model": "0" * 16}, "model"),
        ({"overlay_every": 5}, "overlay_every 0"),
    ],
)
def test_results_of_other_settings_are_not_mixed(change, named, tmp_path, source):
    prepare(plan(source), tmp_path / "out", SETTINGS)
    with pytest.raises(FaceAlignError, match="choose another folder") as caught:
        prepare(plan(source), tmp_path / "out", {**SETTINGS, **change})
    assert named in str(caught.value) and "corpus.json" in str(caught.value)


def test_results_of_another_corpus_are_not_mixed(tmp_path, source, aligner):
    output = tmp_path / "out"
    finish(prepare(plan(source), output, SETTINGS)[:1], output, aligner)
    (source / "a.tar").unlink()
    with pytest.raises(FaceAlignError, match=r"another corpus \(a.tar.parquet\)"):
        prepare(plan(source), output, SETTINGS)
    (output / "corpus.json").unlink()
    with pytest.raises(FaceAlignError, match="another corpus"):
        prepare(plan(source), output, SETTINGS)


def test_photos_that_were_added_to_a_folder_change_its_shards(tmp_path, aligner):
    folder, output = write_folder(tmp_path / "in", photos(3)), tmp_path / "out"
    finish(prepare(plan(folder), output, SETTINGS), output, aligner)
    assert prepare(plan(folder), output, SETTINGS) == []
    write_folder(folder, {"new.jpg": b"x"})
    with pytest.raises(FaceAlignError, match="photos were added or removed"):
        prepare(plan(folder), output, SETTINGS)


def test_a_missing_column_is_found_before_anything_is_written(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"jpg": [b"x"]})
    with pytest.raises(FaceAlignError, match="has no column 'image', but jpg"):
        prepare(plan(path), tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()
    prepare(plan(path, column="jpg"), tmp_path / "out", SETTINGS)
    write_parquet(path, {"jpg": [b"x"], "png": [b"x"]})
    with pytest.raises(FaceAlignError, match="column 'jpg'"):
        prepare(plan(path, column="png"), tmp_path / "out", SETTINGS)


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"[1]"])
def test_a_damaged_description_is_refused(content, tmp_path, source):
    prepare(plan(source), tmp_path / "out", SETTINGS)
    (tmp_path / "out" / "corpus.json").write_bytes(content)
    with pytest.raises(FaceAlignError, match=r"corpus\.json"):
        prepare(plan(source), tmp_path / "out", SETTINGS)


def test_a_place_that_cannot_be_a_folder(tmp_path, source):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FaceAlignError, match="file.*choose another folder"):
        prepare(plan(source), tmp_path / "file", SETTINGS)


def test_the_description_can_be_read_and_has_the_settings(tmp_path, source):
    prepare(plan(source), tmp_path / "out", SETTINGS)
    about = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert about["format"] == "keras-facealign corpus 1"
    assert {**about, **SETTINGS} == about and about["kind"] == "tar"


def test_the_digest_changes_with_the_network_only(tmp_path):
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        (tmp_path / name).write_text("{}")
    before = model_digest(tmp_path)
    (tmp_path / "metadata.json").write_text('{"description": "other"}')
    assert model_digest(tmp_path) == before
    (tmp_path / "model.weights.h5").write_text("other")
    assert model_digest(tmp_path) != before
    with pytest.raises(FaceAlignError, match="Unknown preset 'no_such'"):
        model_digest("no_such")
