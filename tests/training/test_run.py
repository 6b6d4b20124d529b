"""Training runs: their files, and how they resume after a kill."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_facealign.data.batches import FaceBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from keras_facealign.models import SATFaceAlign
from keras_facealign.networks import Architecture
from keras_facealign.presets import from_preset, preset_architecture
from keras_facealign.training import TrainingConfig, fit, make_optimizer
from tests.models.tiny import CROP, SIZE, as_numpy, faces, fix_weights, tiny_model
from tests.paths import ROOT, load_script

# Nearly all tests train a network.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("module_without_graphs")]

CONFIG = TrainingConfig(
    epochs=3,
    batch_size=2,
    learning_rate=1e-3,
    seed=4,
    compile={"augmentation": {"color": 0.1}, "jit_compile": False},
)
COLUMNS = {"loss", "heatmap_loss", "coherent_loss", "nme"}
VALIDATION = {"val_loss", "val_heatmap_loss", "val_nme"}


def examples(count, seed=0):
    batch = faces(count, seed)
    keys = ("image", "landmarks", "visibility")
    box = np.array([6, 6, CROP - 6, CROP - 6], np.float32)
    return [
        {**{key: batch[key][i] for key in keys}, "box": box, "file_name": f"face_{i}.png"}
        for i in range(count)
    ]


def run(output, config=CONFIG, model=None, count=4, **options):
    """A run from fixed weights, as every call of the same script would start it."""
    model = model or fix_weights(tiny_model())
    options.setdefault("validation", examples(2, seed=9))
    result = fit(model, examples(count), output=output, config=config, verbose=0, **options)
    return model, result


def log_of(output):
    with open(output / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def state_of(model):
    variables = [*model.weights, *model.optimizer.variables]
    variables.append(model.augmentation.seed_generator.state)
    # Without the optimizer's and the model's own names, which count how many there have been.
    return [(v.path.partition("/")[2], as_numpy(v).copy()) for v in variables]


class Kill(keras.callbacks.Callback):
    """Ends the work at one moment, and keeps the state at the start and after each epoch."""

    def __init__(self, epoch=None, moment="never"):
        super().__init__()
        self.epoch, self.moment = epoch, moment
        self.running = None
        self.epochs = []
        self.start, self.last = [], []

    def on_train_begin(self, logs=None):
        self.start = state_of(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self.running = epoch
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if self.moment == "in the middle" and self.running == self.epoch:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.last = state_of(self.model)
        if self.moment == "at the end" and epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "run"
    model, result = run(output, metadata={"description": "drawn faces"})
    return output, model, result


def test_a_run_leaves_log_and_preset(uninterrupted):
    output, model, result = uninterrupted
    rows = log_of(output)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert set(rows[0]) == COLUMNS | VALIDATION | {"epoch"}
    last = {name: float(value) for name, value in rows[-1].items() if name != "epoch"}
    assert result == {**last, "seconds": pytest.approx(result["seconds"])}
    assert result["seconds"] > 0
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())

    assert not (output / "backup").exists()
    preset = from_preset(output / "preset")
    for a, b in zip(preset.weights, model.weights, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b), err_msg=a.path)
    metadata = json.loads((output / "preset" / "metadata.json").read_text())
    assert metadata["description"] == "drawn faces"
    assert metadata["last_epoch"] == last
    assert json.loads((output / "training.json").read_text())["config"]["epochs"] == 3


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not importlib.util.find_spec("tensorboard"),
    reason="TensorBoard logs need its package and the TensorFlow backend",
)
def test_tensorboard_gets_training_and_validation(uninterrupted):
    folder = uninterrupted[0] / "tensorboard"
    for kind in ("train", "validation"):
        assert list((folder / kind).glob("events*")), kind


@pytest.mark.parametrize(
    ("epoch", "moment", "kept"),
    [(1, "in the middle", 1), (2, "at the end", 3)],
)
def test_a_killed_run_ends_as_if_it_had_not_been(uninterrupted, tmp_path, epoch, moment, kept):
    output, _, result = uninterrupted
    killed, going_on = Kill(epoch, moment), Kill()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, callbacks=[killed])
    assert len(log_of(tmp_path)) == kept
    assert not (tmp_path / "preset").exists()
    resumed, again = run(tmp_path, callbacks=[going_on])

    # Weights, optimizer and random state are those after the last whole epoch, to the bit.
    for (path, value), (saved_path, saved) in zip(going_on.start, killed.last, strict=True):
        assert path == saved_path
        np.testing.assert_array_equal(value, saved, err_msg=path)
    assert not (tmp_path / "backup").exists()
    for row, expected in zip(log_of(tmp_path), log_of(output), strict=True):
        assert row["epoch"] == expected["epoch"]
        # Adam's first steps blow the rounding of parallel sums up, and an untrained network's
        # peaks are ties that it decides: the losses are close, the NME need not be.
        for name in ("loss", "heatmap_loss", "val_loss"):
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=0.02), name
    assert set(again) == set(result)
    assert int(as_numpy(resumed.optimizer.iterations)) == 6
    preset = from_preset(tmp_path / "preset")
    for a, b in zip(preset.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b), err_msg=a.path)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not hasattr(os, "fork"),
    reason="the processes fork, and set TensorFlow's threads",
)
def test_a_run_that_was_killed_twice_has_the_same_weights(tmp_path):
    """SIGKILL in an epoch and in a backup, with batches in their real order, jitter and average."""
    command = [sys.executable, "-m", "tests.training.killed_run", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, _ = done.stdout.splitlines()
    assert first == "['epoch_000001.weights.h5']"
    # The half of the second epoch's backup is there, and is not read.
    assert second == "['epoch_000001.weights.h5', 'unfinished.weights.h5']"
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "killed.npz") as killed:
        assert whole.files == killed.files and len(whole.files) > 50
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)
    for name in ("log.csv", "preset/metadata.json"):
        texts = [(tmp_path / run / name).read_text() for run in ("whole", "killed")]
        assert texts[0] == texts[1]
    assert len(log_of(tmp_path / "killed")) == 3
    note = json.loads(texts[0])["average"]
    assert note["decay"] == 0.6 and note["kept"] == min(note["nme"], key=note["nme"].get)


def test_a_kill_while_saving_leaves_the_backup_before(tmp_path, monkeypatch):
    """The log has a row for an epoch without a backup, which is then written again."""
    save, paths = keras.Model.save_weights, []

    def save_half(self, path, *args, **kwargs):
        save(self, path, *args, **kwargs)
        paths.append(path)
        if len(paths) == 2:
            Path(path).write_bytes(Path(path).read_bytes()[:100])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", save_half)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert [row["epoch"] for row in log_of(tmp_path)] == ["0", "1"]
    going_on = Kill()
    run(tmp_path, callbacks=[going_on])
    assert going_on.epochs == [1, 2]
    assert [row["epoch"] for row in log_of(tmp_path)] == ["0", "1", "2"]
    assert from_preset(tmp_path / "preset")


def test_a_kill_before_the_older_backup_is_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, callbacks=[Kill(1, "at the end")])
    names = [path.name for path in (tmp_path / "backup").iterdir()]
    assert names == ["epoch_000002.weights.h5"]
    (tmp_path / "backup" / "epoch_000001.weights.h5").write_bytes(b"older")
    going_on = Kill()
    run(tmp_path, callbacks=[going_on])
    assert going_on.epochs == [2]


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """The folder of a run that was killed after its first epoch."""
    output = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        run(output, callbacks=[Kill(0, "at the end")])
    return output


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of that folder."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def test_a_broken_backup_is_named(stopped):
    (stopped / "backup" / "epoch_000001.weights.h5").write_bytes(b"")
    with pytest.raises(FaceAlignError, match=r"epoch_000001.weights.h5 cannot be resumed.*restart"):
        run(stopped)


def test_a_run_of_version_0_1_is_not_resumed(stopped):
    (stopped / "training.json").rename(stopped / "schedule.json")
    with pytest.raises(FaceAlignError, match="unfinished run of version 0.1.*another output"):
        run(stopped)


def test_an_unfinished_run_is_not_resumed_as_another(stopped):
    before = (stopped / "training.json").read_text()
    other = dataclasses.replace(CONFIG, learning_rate=1e-2)
    shared = dataclasses.replace(CONFIG, optimizer="shared_nadam")
    for config, model in (
        (other, tiny_model()),
        (shared, tiny_model()),
        (CONFIG, tiny_model(head_prior=0.1)),
    ):
        with pytest.raises(FaceAlignError, match="unfinished run with other settings.*training"):
            run(stopped, config, model)
        assert (stopped / "training.json").read_text() == before
    with pytest.raises(FaceAlignError, match="unfinished run with other settings"):
        run(stopped, count=3)
    assert (stopped / "training.json").read_text() == before
    (stopped / "training.json").write_text("{")
    with pytest.raises(FaceAlignError, match="training.json cannot be read"):
        run(stopped)


def test_an_unusable_output_folder_is_reported_before_training(tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(FaceAlignError, match="cannot be the folder of a run") as error:
            run(output)
        assert str(output) in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "run" / "preset").mkdir(parents=True)
    (tmp_path / "run" / "preset" / "notes.txt").write_text("mine")
    with pytest.raises(FaceAlignError, match="preset holds notes.txt and is not a preset"):
        run(tmp_path / "run")
    assert not (tmp_path / "run" / "log.csv").exists()


def test_keras_backup_and_restore_resumes_a_plain_fit(tmp_path):
    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.epochs = []

        def on_epoch_begin(self, epoch, logs=None):
            self.epochs.append(epoch)

    def fit_plainly(*callbacks):
        model = fix_weights(tiny_model())
        model.compile(keras.optimizers.AdamW(1e-3), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        watch = Watch()
        batches = FaceBatches(examples(4), 2, SIZE)
        model.fit(batches, epochs=3, verbose=0, callbacks=[backup, watch, *callbacks])
        return model, watch.epochs

    kill = Kill(1, "in the middle")
    with pytest.raises(KeyboardInterrupt):
        fit_plainly(kill)
    recorder = Kill()
    model, epochs = fit_plainly(recorder)
    assert epochs == [1, 2]
    assert int(as_numpy(model.optimizer.iterations)) == 6
    for (name, before), (_, after) in zip(kill.last, recorder.start, strict=True):
        np.testing.assert_array_equal(before, after, err_msg=name)


def files_of(folder):
    """Content and time of every file, but for what a kept preset's reader may touch."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_finished_run_is_not_repeated_unless_it_is_restarted(tmp_path):
    once = dataclasses.replace(CONFIG, epochs=1, jitter=True)
    trained, result = run(tmp_path, once, validation=None)
    assert set(result) == COLUMNS | {"seconds"}
    before = files_of(tmp_path)

    # Examples are not even read.
    model = fix_weights(tiny_model())
    again = fit(model, iter(()), None, tmp_path, once, verbose=0)
    assert again == {**result, "seconds": 0.0, "already_finished": True}
    for a, b in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b), err_msg=a.path)
    for other in (dataclasses.replace(once, epochs=2), dataclasses.replace(once, seed=5)):
        with pytest.raises(
            FaceAlignError, match="finished run with other settings .config.*restar"
        ):
            run(tmp_path, other, validation=None)
    assert files_of(tmp_path) == before

    with pytest.raises(FaceAlignError, match="no examples"):
        fit(model, iter(()), None, tmp_path, once, verbose=0, restart=True)
    assert files_of(tmp_path) == before

    (tmp_path / "backup").mkdir()  # a kill after the preset was complete
    assert run(tmp_path, once, validation=None)[1]["already_finished"]
    kill = Kill(0, "in the middle")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, once, validation=None, restart=True, callbacks=[kill])
    assert kill.epochs == [0] and not log_of(tmp_path)
    for path, content in before.items():
        if path.parts[0] == "preset":
            assert (tmp_path / path).read_bytes() == content[0]
    # Not taken for finished, although the old preset is there.
    assert json.loads((tmp_path / "training.json").read_text())["finished"] is False


class Poison(keras.callbacks.Callback):
    """Makes a weight infinite before an epoch."""

    def __init__(self, epoch, spoil):
        super().__init__()
        self.epoch, self.spoil = epoch, spoil

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.spoil(self.model)


def spoil_a_weight(model):
    variable = model.trainable_weights[0]
    variable.assign(np.full(variable.shape, np.inf, np.float32))


def test_a_diverged_run_keeps_its_last_finite_state(tmp_path):
    from keras_facealign.presets import save_to_preset

    save_to_preset(fix_weights(tiny_model(), seed=7), tmp_path / "preset")
    earlier = files_of(tmp_path / "preset")
    with pytest.raises(
        FaceAlignError, match=r"diverged: loss is (nan|inf) in epoch 2, step [12], l"
    ):
        run(tmp_path, callbacks=[Poison(1, spoil_a_weight)])
    assert files_of(tmp_path / "preset") == earlier
    assert [row["epoch"] for row in log_of(tmp_path)] == ["0"]
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["epoch_000001.weights.h5"]
    going_on = Kill()
    model, result = run(tmp_path, callbacks=[going_on])
    assert going_on.epochs == [1, 2] and np.isfinite(result["loss"])
    assert all(np.isfinite(as_numpy(v)).all() for v in model.weights)


def test_a_run_without_a_measurable_face_says_so(tmp_path):
    """The NME is NaN, the averaged weights are judged by the loss, and metadata is JSON."""
    hidden = examples(2, seed=9)
    for example in hidden:
        example["visibility"] = np.zeros(68, np.float32)
        example["visibility"][:36] = 2  # no corner of an eye
    config = dataclasses.replace(CONFIG, epochs=1, ema_momentum=0.6)
    _, result = run(tmp_path, config, validation=hidden)
    assert np.isnan(result["val_nme"]) and np.isfinite(result["val_loss"])
    text = (tmp_path / "preset" / "metadata.json").read_text()
    assert "NaN" not in text
    metadata = json.loads(text)
    assert "val_nme" not in metadata["last_epoch"] and metadata["average"]["nme"] == {}
    assert set(metadata["last_epoch"]) == (COLUMNS | VALIDATION) - {"val_nme"}


def test_bad_examples_stop_the_run_before_it_starts(tmp_path):
    broken = examples(2)
    broken[1]["box"] = np.zeros(4, np.float32)
    with pytest.raises(FaceAlignError, match="face_1.png: box"):
        fit(tiny_model(), broken, None, tmp_path, CONFIG, verbose=0)
    with pytest.raises(FaceAlignError, match="no examples"):
        fit(tiny_model(), [], None, tmp_path, CONFIG, verbose=0)


def test_a_killed_run_of_a_code_keeps_its_momentum_schedule(tmp_path):
    settings = {"recipe": "insightface_2018", "jit_compile": False}
    config = TrainingConfig(2, 2, 2.5e-4, compile=settings, optimizer="shared_nadam")
    killed, going_on = Kill(0, "at the end"), Kill()
    options = {"config": config, "validation": None, "count": 2}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, callbacks=[killed], **options)
    model, _ = run(tmp_path, callbacks=[going_on], **options)
    for (path, value), (_, saved) in zip(going_on.start, killed.last, strict=True):
        np.testing.assert_array_equal(value, saved, err_msg=path)
    assert int(as_numpy(model.optimizer.iterations)) == 2


# ---- faces without labels -----------------------------------------------------------------------


def unlabeled(batch, faces_of):
    """The batch with the labels of some faces gone: no visibility, positions that mean nothing."""
    result = {name: value.copy() for name, value in batch.items()}
    result["visibility"][faces_of] = 0
    result["landmarks"][faces_of] = np.nan
    return result


def compiled(**settings):
    model = fix_weights(tiny_model())
    model.compile(keras.optimizers.SGD(0.1), landmark_weight=0.01, jit_compile=False, **settings)
    return model


def test_unlabeled_faces_train_by_the_coherent_loss_alone():
    batch = unlabeled(faces(2), slice(None))
    still, moving = compiled(coherent_weight=0.0), compiled(coherent_weight=1.0)
    before = [as_numpy(v).copy() for v in still.trainable_weights]
    logs = still.train_on_batch(batch, return_dict=True)
    assert logs["loss"] == logs["heatmap_loss"] == 0
    for v, value in zip(still.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(as_numpy(v), value, err_msg=v.path)
    logs = moving.train_on_batch(batch, return_dict=True)
    assert logs["heatmap_loss"] == 0
    assert logs["loss"] == pytest.approx(logs["coherent_loss"]) and logs["coherent_loss"] > 0
    values = [as_numpy(v) for v in moving.trainable_weights]
    assert all(np.isfinite(v).all() for v in values)
    assert any(np.abs(a - b).max() > 0 for a, b in zip(values, before, strict=True))


def test_unlabeled_faces_beside_labeled_ones_add_to_the_coherent_loss_alone():
    model = compiled()
    batch = faces(4)
    model.train_on_batch(batch)  # the random state exists, and can be set back
    state = as_numpy(model.augmentation.seed_generator.state).copy()

    def terms(batch):
        model.augmentation.seed_generator.state.assign(state)
        pair = model.make_views({name: keras.ops.convert_to_tensor(v) for name, v in batch.items()})
        images = keras.ops.concatenate([pair.first.images, pair.second.images])
        maps = model(images, training=False)[0]
        found = model.pair_loss(pair, [maps[:4]], [maps[4:]])
        both = as_numpy(pair.visible_in_both(model.scheme.flip_permutation))
        return {name: float(as_numpy(value)) for name, value in found.items()}, both, pair, maps

    found, both, pair, maps = terms(unlabeled(batch, [1, 3]))
    assert both[[1, 3]].all() and np.isfinite(list(found.values())).all()
    full = terms(batch)[1]
    np.testing.assert_array_equal(both[[0, 2]], full[[0, 2]])
    # The heatmap loss is that of the labeled faces, as if the others were not there.
    alone = 0.0
    for view, part in ((pair.first, maps[:4]), (pair.second, maps[4:])):
        kept = np.array([0, 2])
        part_view = type(view)(
            None,
            keras.ops.convert_to_tensor(as_numpy(view.landmarks)[kept]),
            keras.ops.convert_to_tensor(as_numpy(view.visible)[kept]),
        )
        part_maps = keras.ops.convert_to_tensor(as_numpy(part)[kept])
        alone += float(as_numpy(model.view_loss(part_view, [part_maps])[0]))
    assert found["heatmap_loss"] == pytest.approx(alone, rel=1e-4)


def test_a_run_of_labeled_and_unlabeled_faces(tmp_path):
    mixed = examples(4)
    for example in mixed[::2]:
        example["visibility"] = np.zeros(68, np.float32)
    batches = FaceBatches(mixed, 2, SIZE, shuffle=True)
    model, result = fit_batches(tmp_path, batches)
    assert np.isfinite(list(result.values())).all() and result["coherent_loss"] > 0
    assert all(np.isfinite(as_numpy(v)).all() for v in model.weights)


def fit_batches(output, batches):
    """A run on batches that are ready."""
    model = fix_weights(tiny_model())
    once = dataclasses.replace(CONFIG, epochs=1)
    held_out = FaceBatches(examples(2, seed=9), 2, SIZE)
    return model, fit(model, batches, held_out, output, once, verbose=0)


def test_the_example_describes_a_run_that_can_be():
    example = load_script(ROOT / "examples" / "train_2d.py")
    config = example.make_config(epochs=3, learning_rate=1e-3, seed=5)
    assert json.loads(json.dumps(dataclasses.asdict(config)))["epochs"] == 3
    assert preset_architecture("sat1_cab_mobile") == Architecture(**example.ARCHITECTURE)
    model = SATFaceAlign(1, 1, width=0.125, input_size=SIZE, map_size=SIZE // 2)
    model.compile(make_optimizer(config, 100), **config.compile)
    asked = config.compile["augmentation"]
    assert model.augmentation.base.rotation == asked["base"]["rotation"]
    assert model.scheme is IBUG68
    assert example.__doc__.splitlines()[2].startswith("    python examples/train_2d.py")
