"""Devices and processes that share batches end with the weights of one device."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_facealign.data.epochs import EpochBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.models import devices
from tests.models.tiny import faces, tiny_model
from tests.paths import ROOT

# Of the way that the weights have moved.
TOLERANCE = {"jax": 1e-5, "tensorflow": 1e-4, "torch": 1e-4}
CASES = [
    ("tensorflow", 2, 1),
    ("jax", 2, 1),
    pytest.param("jax", 4, 2, marks=pytest.mark.thorough),
    ("torch", 2, 2),
]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run_processes(backend, output, devices, processes, *options):
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    port = free_port()
    command = [sys.executable, "-m", "tests.models.shared_training", str(output)]
    command += ["--devices", str(devices), "--processes", str(processes), "--port", str(port)]
    started = [
        subprocess.Popen(
            [*command, "--index", str(i), *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(processes)
    ]
    try:
        logs = [process.communicate(timeout=600)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for process, log in zip(started, logs, strict=True):
        assert process.returncode == 0, log[-3000:]
    with np.load(output) as file:
        return dict(file)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The run of one device, by backend."""
    runs = {}

    def run(backend):
        if backend not in runs:
            output = tmp_path_factory.mktemp(backend) / "one.npz"
            runs[backend] = run_processes(backend, output, 1, 1)
        return runs[backend]

    return run


def weights(run, when):
    names = sorted(name for name in run if name.startswith(when))
    return np.concatenate([run[name].ravel() for name in names]).astype(np.float64)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts every backend itself")
@pytest.mark.parametrize(("backend", "devices", "processes"), CASES)
def test_several_devices_train_like_one(backend, devices, processes, one_device, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    one = one_device(backend)
    shared = run_processes(backend, tmp_path / "shared.npz", devices, processes)
    before, after = weights(one, "before"), weights(one, "after")
    np.testing.assert_array_equal(before, weights(shared, "before"))
    moved = np.linalg.norm(after - before)
    assert moved > 1  # the run is one that the limits can tell from another
    distance = np.linalg.norm(weights(shared, "after") - after) / moved
    print(f"{backend}, {devices} devices in {processes} processes: distance {distance:.1e}")
    assert distance < TOLERANCE[backend]
    np.testing.assert_array_equal(one["seed"], shared["seed"])
    # The last validation batch is a short one, which is filled up.
    logs, expected = (json.loads(str(run["history"])) for run in (shared, one))
    assert set(logs) == set(expected) and "val_nme" in logs
    for name, values in expected.items():
        assert logs[name] == pytest.approx(values, rel=1e-3), name


# ---- what is refused ------------------------------------------------------------------------


class Batches(EpochBatches):
    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.faces = faces(count)
        self._set_count(count)

    def __getitem__(self, index):
        chosen = self._chosen(index)
        return self._marked(index, {name: v[chosen] for name, v in self.faces.items()})


@pytest.fixture
def model():
    model = tiny_model()
    model.compile("sgd")
    return model


def strategy(name):
    return type(name, (), {"num_replicas_in_sync": 2})()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strategies of TensorFlow")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MultiWorkerMirroredStrategy", "Keras 3 cannot train"),
        ("CollectiveAllReduceStrategy", "KERAS_BACKEND=torch with torchrun"),
        ("ParameterServerStrategyV2", "use MirroredStrategy"),
    ],
)
def test_strategies_that_would_fail_are_refused(model, name, reason):
    model._distribute_strategy = strategy(name)
    with pytest.raises(FaceAlignError, match=reason):
        model.fit(Batches(4, batch_size=2))


def test_processes_with_the_same_faces_are_refused(model, monkeypatch):
    monkeypatch.setattr(devices, "process_place", lambda: (1, 2))
    monkeypatch.setattr(devices, "device_count", lambda model: 2)
    with pytest.raises(FaceAlignError, match=r"Process 1 of 2 got shard \(0, 1\)"):
        devices.prepare_batches(model, Batches(4, batch_size=2))
    with pytest.raises(FaceAlignError, match=r"shard \(0, 2\)"):
        devices.prepare_batches(model, Batches(4, batch_size=2, shard=(0, 2)))
    with pytest.raises(FaceAlignError, match=r"shard=\(1, 2\)"):
        devices.prepare_batches(model, faces(2))
    devices.prepare_batches(model, Batches(4, batch_size=2, shard=(1, 2)))


def test_batches_that_cannot_be_divided_are_refused(model, monkeypatch):
    monkeypatch.setattr(devices, "device_count", lambda model: 3)
    with pytest.raises(FaceAlignError, match="batch_size is 4, .* multiple of 3"):
        devices.prepare_batches(model, Batches(4, batch_size=4))
    batches = Batches(4, batch_size=3)
    devices.prepare_batches(model, batches)
    assert [b["present"].tolist() for b in batches] == [[1, 1, 1], [1, 0, 0]]
