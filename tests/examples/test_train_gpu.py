"""The training script for accelerators: its schedule, its budget, and a run that was killed."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest

from keras_facealign.data import pack
from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import from_preset, save_to_preset
from tests.models.tiny import CROP, SIZE, as_numpy, faces, fix_weights, tiny_model
from tests.paths import ROOT, load_script

PATH = ROOT / "examples" / "train_gpu.py"


@pytest.fixture(scope="module")
def script():
    return load_script(PATH)


def test_the_rate_warms_up_and_falls_to_nothing(script):
    rates = np.array([script.learning_rate(p, 2.0) for p in np.linspace(0, 1, 1001)])
    assert rates[0] == pytest.approx(0.02)
    top = int(1000 * script.WARMUP)
    assert rates[top] == pytest.approx(2.0) and rates.argmax() == top
    assert (np.diff(rates[:top]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    middle = script.WARMUP + (1 - script.WARMUP) / 2
    assert script.learning_rate(middle, 2.0) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_a_budget_of_time(script):
    budget = script.Budget(seconds=100.0, steps=None, per_call=10)
    assert budget.total(0, 5.0) is None
    budget.measured(20.0)  # compiles, and says nothing of the steps
    assert budget.total(10, 25.0) is None
    budget.measured(2.0)
    # 73 seconds are left for calls of 2 seconds and 10 steps.
    assert budget.total(20, 27.0) == 20 + 10 * 36
    for _ in range(30):
        budget.measured(4.0)
    assert budget.total(300, 80.0) == 300 + 10 * 5
    assert budget.total(300, 97.0) == 300  # not enough for another call
    assert budget.steps_a_second() == pytest.approx(2.5)
    note = json.loads(json.dumps(budget.note(300, 60.0)))
    resumed = script.Budget(seconds=100.0, steps=None, per_call=10)
    assert resumed.resume(note) == 300
    # 60 seconds are spent, 5 more, and 20 will go to compiling again.
    assert resumed.total(300, 5.0) == 300 + 10 * 3
    assert resumed.total(300, 40.0) == 300


def test_a_budget_of_steps(script):
    budget = script.Budget(math.inf, 25, 10)
    assert budget.total(0, 1e9) == 30


def test_every_face_once_in_an_epoch(script):
    order = script.Order(11, 3, seed=4)
    epochs = [np.concatenate([order.step(3 * e + i) for i in range(3)]) for e in range(3)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()
    np.testing.assert_array_equal(script.Order(11, 3, seed=4).step(4), order.step(4))
    with pytest.raises(FaceAlignError, match="2 faces do not fill a batch of 3"):
        script.Order(2, 3, 0)


@pytest.fixture
def words(tmp_path):
    batch = faces(4)
    box = np.array([6, 6, CROP - 6, CROP - 6], np.float32)
    drawn = [
        {**{k: v[i] for k, v in batch.items()}, "box": box, "file_name": f"{i}.png"}
        for i in range(4)
    ]
    pack(drawn, tmp_path / "drawn.faces.npz", 95, CROP, SIZE)
    preset = save_to_preset(fix_weights(tiny_model()), tmp_path / "tiny")
    return [
        *("--faces", str(tmp_path / "drawn.faces.npz"), "--preset", str(preset), "--fine-tune"),
        *("--validation", str(tmp_path / "drawn.faces.npz"), "--output", str(tmp_path / "run")),
        *("--steps", "6", "--steps-per-call", "2", "--batch-size", "2"),
        *("--checkpoint-seconds", "0"),
    ]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="is for GPUs, by JAX")
def test_a_killed_run_goes_on_and_leaves_a_preset(script, words, tmp_path, monkeypatch, capsys):
    write = script.write_checkpoint

    def write_and_stop(*args):
        write(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(script, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            script.main(words)
    assert not (tmp_path / "run" / "preset").exists()
    with pytest.raises(FaceAlignError, match="another weight_decay; give another output"):
        script.main([*words, "--weight-decay", "0.5"])
    result = script.main(words)
    printed = capsys.readouterr().out
    assert "resumed at step 2" in printed and "step 6 of 6" in printed
    assert result["steps"] == 6 and result["images_per_second"] > 0
    assert result["weights"] == min(result["nme"], key=result["nme"].get)

    start, trained = from_preset(tmp_path / "tiny"), from_preset(tmp_path / "run" / "preset")
    changed = [
        np.abs(as_numpy(a) - as_numpy(b)).max()
        for a, b in zip(start.weights, trained.weights, strict=True)
    ]
    assert all(np.isfinite(changed)) and max(changed) > 1e-3
    metadata = json.loads((tmp_path / "run" / "preset" / "metadata.json").read_text())
    assert metadata["training"]["steps"] == 6
    (tmp_path / "run" / "checkpoint.npz").write_bytes(b"PK")
    with pytest.raises(FaceAlignError, match="checkpoint.npz cannot be read.*start over"):
        script.main(words)


def test_faces_for_another_network(script, words, tmp_path):
    big = tiny_model()
    preset = save_to_preset(big, tmp_path / "big")
    config = json.loads((preset / "config.json").read_text())
    config["config"]["architecture"].update(input_size=64, map_size=32)
    (preset / "config.json").write_text(json.dumps(config))
    words = [word for word in words if word != "--fine-tune"]
    with pytest.raises(FaceAlignError, match="packed for an input of 32 pixels.*takes 64"):
        script.main([*words, "--preset", str(preset)])
