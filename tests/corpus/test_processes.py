"""Processes that are killed, crash, or take too much memory lose nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time

import numpy as np
import pytest

from keras_facealign.corpus import AlignOptions, align_shard, plan, prepare, run
from keras_facealign.errors import FaceAlignError
from tests.cli.processes import run_python
from tests.corpus.samples import (
    BROKEN,
    load,
    load_crashing,
    load_dying,
    photos,
    results,
    rows,
    write_folder,
)

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SETTINGS = AlignOptions(overlay_every=4).to_dict()


def prepared(source, output, size=5):
    return prepare(plan(source, photos_per_shard=size), output, SETTINGS)


@pytest.fixture
def source(tmp_path):
    return write_folder(tmp_path / "in", photos(20, **BROKEN))


def in_this_process(source, output):
    for shard in prepared(source, output):
        align_shard(shard, output, load(), 4)
    return results(output)


def test_killed_at_random_nothing_is_lost_and_nothing_is_there_twice(tmp_path, source):
    output, generator, killed = tmp_path / "out", random.Random(4), []

    def kill_sometimes():
        alive = multiprocessing.active_children()
        if alive and len(killed) < 3:
            time.sleep(generator.random() / 4)
            os.kill(generator.choice(alive).pid, signal.SIGKILL)
            killed.append(1)

    shards = prepared(source, output)
    done = list(run(shards, output, load, 4, workers=2, check=kill_sometimes))
    assert len(killed) == 3
    assert sorted(result.name for result in done) == [shard.name for shard in shards]
    assert sum(result.photos for result in done) == 20
    assert results(output) == in_this_process(source, tmp_path / "expected")
    assert not prepared(source, output)


def test_a_photo_that_crashes_its_process_is_left_out_alone(tmp_path):
    from keras_facealign.formats import write_image

    source = write_folder(tmp_path / "in", photos(4))
    write_image(source / "p001_white.png", np.full((50, 50, 3), 255, np.uint8))
    shards = prepared(source, tmp_path / "out")
    (result,) = run(shards, tmp_path / "out", load_crashing)
    assert (result.photos, result.failed) == (4, 1)
    (dead,) = rows(tmp_path / "out", "dead_letters")
    assert dead["key"] == "p001_white.png" and "ends the process" in dead["reason"]
    assert len(rows(tmp_path / "out")) == 4


def test_a_photo_that_takes_too_much_memory_fails_alone(tmp_path):
    if sys.platform != "linux":
        pytest.skip("the limit is Linux's")
    from PIL import Image

    source = write_folder(tmp_path / "in", photos(2))
    pixels = np.zeros((9000, 9000, 3), np.uint8)
    pixels[:200] = np.random.default_rng(0).integers(0, 256, (200, 9000, 3))  # as large as a photo
    Image.fromarray(pixels).save(source / "large.png", compress_level=1)
    shards = prepared(source, tmp_path / "out")
    (result,) = run(shards, tmp_path / "out", load, memory=200)
    assert (result.photos, result.failed) == (2, 1)
    (dead,) = rows(tmp_path / "out", "dead_letters")
    assert dead["key"] == "large.png" and "takes more memory" in dead["reason"]


def load_unknown():
    return AlignOptions("no_such_preset").load()


@pytest.mark.parametrize(
    ("load", "reason"),
    [(load_unknown, "Unknown preset"), (load_dying, r"processes ended .*\(exit code 7\)")],
)
def test_networks_that_cannot_be_loaded_end_the_run(load, reason, tmp_path, source):
    shards = prepared(source, tmp_path / "out")
    with pytest.raises(FaceAlignError, match=reason):
        list(run(shards, tmp_path / "out", load, workers=1))
    assert not multiprocessing.active_children()


def test_results_that_cannot_be_written_end_the_run(tmp_path, source):
    shards = prepared(source, tmp_path / "out")
    (tmp_path / "out" / "faces").rmdir()
    (tmp_path / "out" / "faces").write_text("x")
    with pytest.raises(FaceAlignError, match="cannot be written"):
        list(run(shards, tmp_path / "out", load, workers=1))


def test_a_stopped_run_keeps_whole_shards_and_goes_on(tmp_path, source):
    output, done = tmp_path / "out", []

    def stop():
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for result in run(prepared(source, output), output, load, 4, workers=2, check=stop):
            done.append(result.name)
    assert not multiprocessing.active_children()
    left = prepared(source, output)
    assert 0 < len(left) <= 3 and not {shard.name for shard in left} & set(done)
    list(run(left, output, load, 4))
    assert results(output) == in_this_process(source, tmp_path / "expected")


def test_a_limit_on_the_cores():
    code = (
        "from keras_facealign.prediction.concurrency import available_cores, limit_cores\n"
        "before = available_cores(); limit_cores(1); print(available_cores() == 1)\n"
        "limit_cores(10**6); print(available_cores() == before)"
    )
    assert run_python(code).stdout.split() == ["True", "True"]


def test_workers_are_counted(tmp_path, source):
    with pytest.raises(FaceAlignError, match="workers is 0"):
        list(run(prepared(source, tmp_path / "out"), tmp_path / "out", load, workers=0))
