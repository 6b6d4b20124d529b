"""Trains a tiny network in processes that are killed, for `test_run.py`.

    python -m tests.training.killed_run FOLDER

writes the final state of a run that is left alone to FOLDER/whole.npz, and that of one which is
killed in the middle of an epoch, then while a backup is written, to FOLDER/killed.npz. Each process
computes on one thread, so that sums have one order.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_facealign.data import LazyFaceBatches
from keras_facealign.data.batches import BoxJitter
from keras_facealign.training import TrainingConfig, fit
from tests.models.tiny import SIZE, as_numpy, fix_weights, tiny_model
from tests.training.test_run import examples

CONFIG = TrainingConfig(
    epochs=3,
    batch_size=2,
    learning_rate=1e-3,
    warmup_steps=2,
    seed=4,
    ema_momentum=0.6,
    compile={"augmentation": {"color": 0.1, "noise": 4.0}, "run_eagerly": True},
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DieInTheMiddle(keras.callbacks.Callback):
    """Kills the process in the second epoch, after a step."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 2):
            die()


class DieWhileSaving(keras.callbacks.Callback):
    """Kills the process when half of a backup is written."""

    def on_train_begin(self, logs=None):
        save = self.model.save_weights

        def save_half(path, *args, **kwargs):
            save(path, *args, **kwargs)
            content = Path(path).read_bytes()
            Path(path).write_bytes(content[: len(content) // 2])
            die()

        self.model.save_weights = save_half


def train(output: Path, state: Path, callbacks: list) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(os.getpid())  # Keras's own random state must not matter
    model = fix_weights(tiny_model())
    batches = LazyFaceBatches(examples(9), 2, SIZE, True, BoxJitter(), 3, workers=2)
    fit(model, batches, examples(2, seed=9), output, CONFIG, verbose=0, callbacks=callbacks)
    variables = [*model.weights, *model.optimizer.variables]
    variables.append(model.augmentation.seed_generator.state)
    np.savez(state, *(as_numpy(v) for v in variables))


def in_process(*args) -> int:
    """Runs `train` in a fork; returns the signal that ended it, 0 if none did."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            train(*args)
            code = 0
        finally:
            os._exit(code)
    return pid


def main(folder: Path) -> None:
    whole = in_process(folder / "whole", folder / "whole.npz", [])
    for callbacks, expected in (
        ([DieInTheMiddle()], signal.SIGKILL),
        ([DieWhileSaving()], signal.SIGKILL),
        ([], 0),
    ):
        pid = in_process(folder / "killed", folder / "killed.npz", callbacks)
        _, status = os.waitpid(pid, 0)
        assert status == expected, (status, callbacks)
        print(sorted(path.name for path in (folder / "killed").rglob("*.h5")), flush=True)
    assert os.waitpid(whole, 0)[1] == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
