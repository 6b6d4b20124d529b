"""The corpus of the benchmark: its photos, the broken ones, and what it notices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from keras_facealign import FaceAlignError, read_image
from keras_facealign.corpus import AlignOptions, align_shard, plan, prepare
from tests.corpus.samples import load
from tests.paths import ROOT, load_script

pytest.importorskip("pyarrow")
SCRIPT = ROOT / "benchmarks" / "corpus.py"
SETTINGS = AlignOptions().to_dict()


@pytest.fixture(scope="module")
def corpus():
    return load_script(SCRIPT)


def test_every_broken_kind_is_broken_and_photos_differ(corpus):
    photos = [corpus.draw_photo(number) for number in (0, 1)]
    assert photos[0] != photos[1] == corpus.draw_photo(1)
    assert read_image(photos[0]).shape == (128, 128, 3)
    for kind, damage in corpus.BROKEN.items():
        with pytest.raises(FaceAlignError):
            print(kind, read_image(damage(photos[0])).shape)


def test_a_photo_that_is_lost_or_there_twice_is_noticed(corpus, tmp_path):
    good, broken = corpus.write_corpus(tmp_path / "photos", 51)
    assert (len(good), len(broken)) == (50, 1)
    shards, output = plan(tmp_path / "photos", photos_per_shard=26), tmp_path / "out"
    prepare(shards, output, SETTINGS)
    for shard in shards:
        align_shard(shard, output, load())
    corpus.check_complete(output, shards, good, broken, SETTINGS)
    with pytest.raises(SystemExit, match="50 rows for 49 photos"):
        corpus.check_complete(output, shards, good - {"000/000003.jpg"}, broken, SETTINGS)
    with pytest.raises(SystemExit, match="1 dead letters for 0 photos"):
        corpus.check_complete(output, shards, good, set(), SETTINGS)
    (output / "faces" / "000000.parquet").unlink()
    with pytest.raises(SystemExit, match="lost"):
        corpus.check_complete(output, shards, good, broken, SETTINGS)


def test_the_most_memory_of_each_part_of_the_time(corpus):
    watch = corpus.Watch()
    watch.memory = [(0.0, 5.0), (1.0, 7.0), (5.0, 6.0), (9.9, 8.0), (10.0, 2.0)]
    assert watch.curve(2) == [7.0, 8.0]


@pytest.mark.slow
def test_all_passes():
    words = ["--photos", "60", "--photos-per-shard", "10", "--kills", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "59 photos and 1 broken ones: empty" in done.stdout
    assert "all passes are equal" in done.stdout
