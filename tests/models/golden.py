"""What one network gives and one step makes of it, in numbers that every backend must reproduce.

    KERAS_BACKEND=tensorflow python -m tests.models.golden

writes `tests/data/models/tiny_hourglass.npz` anew, from TensorFlow without XLA. That is for a
change that is meant to change the numbers, after the slow references of the other tests agree.
"""

from __future__ import annotations

import keras
import numpy as np

from tests.models.tiny import (
    CROP,
    SIZE,
    Batches,
    FixedPair,
    as_numpy,
    faces,
    fix_weights,
    some_hidden,
    tiny_model,
)
from tests.paths import TESTS

FILE = TESTS / "data" / "models" / "tiny_hourglass.npz"

LOSSES = {
    "coherent_weight": 0.5,
    "sigma": 1.3,
    "foreground_weight": 3.0,
    "landmark_weight": 0.2,
}


def model(stacks=2):
    network = fix_weights(tiny_model(stacks, cls=FixedPair))
    network.decode_method = "soft_argmax"
    return network


def batch():
    return some_hidden(faces(2))


def center_crops(images):
    border = (CROP - SIZE) // 2
    return images[:, border : border + SIZE, border : border + SIZE]


def outputs():
    """Every fourth pixel of the heatmaps of both stacks, and the landmarks, of two faces."""
    network, images = model(), center_crops(batch()["image"])
    maps = [as_numpy(stack)[:, ::4, ::4] for stack in network(images)]
    return {"heatmaps": np.stack(maps), "landmarks": network.predict_landmarks(images)[0]}


def losses():
    """The terms of the loss for the fixed pair, with batch norm as in inference."""
    network = model()
    network.compile("sgd", **LOSSES)
    pair = network.make_views(batch())
    terms = network.pair_loss(pair, network(pair.first.images), network(pair.second.images))
    return {name: float(as_numpy(value)) for name, value in terms.items()}


def step(jit_compile):
    """The change of every third element of each weight in one step, and what the step logs."""
    network = model(stacks=1)
    network.compile(keras.optimizers.SGD(1.0), jit_compile=jit_compile, **LOSSES)
    before = {v.path: as_numpy(v) for v in network.weights}
    history = network.fit(Batches(batch()), verbose=0).history
    changes = {v.path: (as_numpy(v) - before[v.path]).ravel()[::3] for v in network.weights}
    return changes, {name: values[0] for name, values in history.items()}


def main():
    changes, logs = step(jit_compile=False)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        FILE,
        **outputs(),
        **{f"loss/{name}": value for name, value in losses().items()},
        **{f"log/{name}": value for name, value in logs.items()},
        **{f"change/{path}": change for path, change in changes.items()},
    )


if __name__ == "__main__":
    main()
