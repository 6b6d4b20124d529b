"""Trains a small network on one device or several, in a process of its own.

`python -m tests.models.shared_training OUTPUT --devices 2 [--processes N --index I --port P]`
writes the weights before and after, and the history. The number of devices is fixed when a backend
starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os

import numpy as np

CORRUPTIONS = {"occlusion": 0.7, "noise": 4.0}


def start(arguments):
    """Connects devices and processes; returns the scope in which a model is made."""
    devices, processes = arguments.devices, arguments.processes
    backend = os.environ["KERAS_BACKEND"]
    if backend == "jax":
        flag = f"--xla_force_host_platform_device_count={devices // processes}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    import keras

    if backend == "tensorflow":
        import tensorflow as tf

        # Rewriting graphs takes longer than the whole training.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if devices == 1:
        return contextlib.nullcontext()
    if backend == "jax":
        if processes > 1:
            keras.utils.set_random_seed(0)
            keras.distribution.initialize(f"127.0.0.1:{arguments.port}", processes, arguments.index)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
        assert len(keras.distribution.list_devices()) == devices
        return contextlib.nullcontext()
    if backend == "torch":
        import torch.distributed as dist

        address = f"tcp://127.0.0.1:{arguments.port}"
        dist.init_process_group("gloo", address, world_size=processes, rank=arguments.index)
        return contextlib.nullcontext()
    cpus = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)]).scope()


def labeled_faces(count):
    """Faces of which some have few labels, and some none: replicas' means would differ."""
    from tests.models.tiny import faces

    batch = faces(count)
    rng = np.random.default_rng(0)
    shares = np.linspace(0, 1, count)[:, None]
    batch["visibility"][rng.uniform(size=(count, 68)) > shares] = 0
    batch["visibility"][1] = 0
    return batch


def batches(count, arguments, **options):
    from keras_facealign.data.epochs import EpochBatches

    class Batches(EpochBatches):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.faces = labeled_faces(count)
            self._set_count(count)

        def __getitem__(self, index):
            chosen = self._chosen(index)
            return self._marked(index, {name: v[chosen] for name, v in self.faces.items()})

    return Batches(shard=(arguments.index, arguments.processes), batch_size=8, **options)


def train(arguments):
    scope = start(arguments)
    import keras

    from keras_facealign.models import FaceAlignModel
    from keras_facealign.training.optimizers import QuickAdamW
    from tests.models.tiny import JIT, architecture, fix_weights

    with scope:
        model = FaceAlignModel(architecture(head_prior=0.02))
        if os.environ["KERAS_BACKEND"] == "tensorflow":
            # Of ours, what all variables share comes from one replica. With so large an epsilon,
            # rounding does not change the signs of its steps.
            optimizer = QuickAdamW(0.02, epsilon=1e-2, global_clipnorm=arguments.clip)
        else:
            optimizer = keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=arguments.clip)
        model.compile(
            optimizer,
            foreground_weight=9,
            landmark_weight=0.01,
            coherent=arguments.coherent,
            coherent_weight=0.1,
            augmentation={**CORRUPTIONS, "seed": 3},
            jit_compile=JIT,
        )
    # Processes may begin with different weights: PyTorch sends the first one's to all.
    other = arguments.index if os.environ["KERAS_BACKEND"] == "torch" else 0
    fix_weights(model, other)
    before = [np.array(w) for w in fix_weights(model, 0).get_weights()]
    fix_weights(model, other)
    history = model.fit(
        batches(20, arguments, shuffle=True, seed=1),
        validation_data=batches(13, arguments),
        epochs=2,
        verbose=0,
    ).history
    after = model.get_weights()
    state = keras.ops.convert_to_numpy(model.augmentation.seed_generator.state)
    if arguments.index == 0:
        arrays = {f"before_{i:03d}": w for i, w in enumerate(before)}
        arrays.update({f"after_{i:03d}": w for i, w in enumerate(after)})
        np.savez(arguments.output, seed=state, history=json.dumps(history), **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--port", type=int)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--coherent", default="paper")
    train(parser.parse_args())
