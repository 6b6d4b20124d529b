"""Runs on several devices: what is refused, and a run whose process is killed."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_facealign.data.pts import write_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.training import DeviceSettings
from keras_facealign.training.processes import share_bytes
from tests.data.readers.drawn_faces import make_face
from tests.models.test_devices import free_port
from tests.models.tiny import fix_weights, tiny_model
from tests.paths import ROOT

DATA = ROOT / "tfds_builders" / "ibug_300w" / "dummy_data"
MINE = {"tensorflow": "mirrored", "jax": "data-parallel", "torch": "ddp"}[keras.backend.backend()]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distribute": "horovod"}, "choose one of: none, mirrored, data-parallel, ddp"),
        ({"devices": 2}, "belong to --distribute"),
        ({"coordinator": "a:1"}, "belong to --distribute"),
        ({"processes": 0}, "--num-processes is 0"),
        ({"processes": 2, "process": 2}, "--process-id is 2"),
        *(
            ({"distribute": name}, "needs KERAS_BACKEND=")
            for name in ("mirrored", "data-parallel", "ddp")
            if name != MINE
        ),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(FaceAlignError, match=message):
        DeviceSettings(**settings)


@pytest.mark.parametrize(
    ("backend", "settings", "message"),
    [
        ("tensorflow", {"distribute": "mirrored", "processes": 2}, "trains in one process"),
        ("torch", {"distribute": "ddp", "devices": 2}, "give --num-processes instead"),
        ("jax", {"distribute": "data-parallel", "processes": 2}, "--coordinator is missing"),
        ("jax", {"distribute": "data-parallel", "coordinator": "host"}, "give HOST:PORT"),
        ("torch", {"distribute": "ddp", "coordinator": "host:65535"}, "a port from 1 to 65534"),
    ],
)
def test_settings_that_do_not_fit_each_other(backend, settings, message, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(FaceAlignError, match=message):
        DeviceSettings(**settings)


def test_one_process_shares_with_itself():
    assert share_bytes(b"\x00abc") == b"\x00abc"
    assert share_bytes(b"") == b""


# ---- runs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save_to_preset(fix_weights(tiny_model()), tmp_path_factory.mktemp("preset") / "tiny")


def known(preset):
    """What is trained in most of these runs."""
    words = ["--data", str(DATA), "--preset", str(preset), "--fine-tune"]
    return [*words, "--batch-size", "2", "--epochs", "6", "--ema-momentum", "0.5"]


def start(what, backend, output, *options):
    command = [sys.executable, "-m", "keras_facealign", "train", *what]
    command += ["--output", str(output), "--no-landmark-offset", *options]
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def pair(what, backend, output, kind, port):
    options = ["--distribute", kind, "--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
    return [
        start(what, backend, folder, *options, "--process-id", str(i))
        for i, folder in enumerate((output, output.parent / "elsewhere"))
    ]


def finish(process, seconds=600):
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def rows(run):
    with open(run / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def epochs(run):
    return [int(row["epoch"]) for row in rows(run)]


def distance(weights, others):
    return sum(np.sum((a - b) ** 2) for a, b in zip(weights, others, strict=True)) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        ("torch", "ddp"),
        pytest.param("jax", "data-parallel", marks=pytest.mark.thorough),
    ],
)
def test_a_killed_process_ends_the_run_and_one_process_goes_on(backend, kind, preset, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    run = tmp_path / "run"
    both = pair(known(preset), backend, run, kind, free_port())
    try:
        end = time.monotonic() + 400
        while not list(run.glob("backup/epoch_*2.weights.h5")):
            stopped = [process for process in both if process.poll() is not None]
            assert not stopped, finish(stopped[0])
            assert time.monotonic() < end, "no backup"
            time.sleep(0.05)
        both[1].kill()
        died = time.monotonic()
        code, _, err = finish(both[0], 60)
    finally:
        for process in both:
            process.kill()
    assert code not in (0, None)
    print(f"{backend}: ended {time.monotonic() - died:.1f} s after the other process")
    said = [line for line in err.splitlines() if "has stopped, so this run ends too" in line]
    assert len(said) == 1 and said[0].startswith("Process 1 "), err[-2000:]
    assert "Traceback" not in err
    assert not (tmp_path / "elsewhere").exists()  # only the first process writes
    done = len(epochs(run))
    assert 2 <= done <= 6

    # The same run with another number of devices.
    code, _, err = finish(start(known(preset), backend, run))
    assert code == 0, err[-2000:]
    assert epochs(run) == list(range(6))
    finished = json.loads((run / "training.json").read_text())
    assert finished["finished"] is True and not (run / "backup").exists()
    if backend == "jax":
        return  # compiles for as long as all that comes before
    code, _, err = finish(start(known(preset), backend, tmp_path / "whole"))
    assert code == 0, err[-2000:]
    before = from_preset(preset).get_weights()
    found, expected = (
        from_preset(folder / "preset").get_weights() for folder in (run, tmp_path / "whole")
    )
    moved, apart = distance(expected, before), distance(expected, found)
    print(f"{backend}: distance {apart / moved:.1e}")
    # Steps of AdamW are the signs of gradients in the beginning, rounding included.
    assert moved > 0 and apart / moved < 1e-2


@pytest.mark.slow
@pytest.mark.thorough
def test_own_landmarks_in_two_processes(preset, tmp_path):
    """What the first process decides and sends is the same on every backend."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    for index in range(4):
        points = make_face(tmp_path / "faces", f"{index}", index)[5:12]
        write_pts(tmp_path / "faces" / f"{index}.pts", points)
    what = [str(tmp_path / "faces"), "--from", str(preset), "--validation", str(tmp_path / "faces")]
    what += ["--epochs", "1", "--batch-size", "2", "--head-epochs", "1", "--patience", "1"]
    both = pair(what, "torch", tmp_path / "run", "ddp", free_port())
    for process in both:
        code, _, err = finish(process)
        assert code == 0, err[-2000:]
    assert not (tmp_path / "elsewhere").exists()
    code, _, err = finish(start(what, "torch", tmp_path / "whole"))
    assert code == 0, err[-2000:]
    for part in ("heads", "."):
        shared, alone = (rows(tmp_path / name / part) for name in ("run", "whole"))
        assert len(shared) == 1 and shared[0].keys() == alone[0].keys() > {"loss", "val_nme"}
        for name, value in alone[0].items():
            assert float(shared[0][name]) == pytest.approx(float(value), rel=1e-2), name
    found, expected = (from_preset(tmp_path / name / "preset") for name in ("run", "whole"))
    assert found.num_landmarks == 7
    weights = expected.get_weights()
    apart, size = distance(weights, found.get_weights()), distance(weights, [0.0] * len(weights))
    print(f"distance {apart / size:.1e} of the weights")
    assert apart / size < 1e-3
