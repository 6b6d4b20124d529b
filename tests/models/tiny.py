"""A network of 23 thousand weights, drawn faces for it, and weights that are the same anywhere."""

from __future__ import annotations

import keras
import numpy as np

from keras_facealign import geometry
from keras_facealign.landmarks import IBUG68
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture
from keras_facealign.objective import Pair
from tfds_builders.ibug_300w.make_dummy_data import template

JIT = keras.backend.backend() == "jax"
"""`jit_compile` where it makes no difference to a test. JAX would otherwise compile every operation
by itself, which takes longer than compiling the step; the others start sooner without."""
SIZE = 32
"""Side of the network's frame in pixels."""
MAP = 16
"""Side of its heatmaps in pixels."""
CROP = 48
"""Side of the crops it trains on, border included."""


def architecture(stacks=1, **fields):
    return Architecture(
        "hourglass", stacks, 1, "resnet", 0.125, input_size=SIZE, map_size=MAP, stem="light",
        **fields,
    )  # fmt: skip


def tiny_model(stacks=1, cls=FaceAlignModel, **fields):
    return cls(architecture(stacks, **fields))


def fix_weights(model, seed=0):
    """Gives every weight a value that depends on its path's place and the seed alone."""
    rng = np.random.default_rng(seed)
    for variable in sorted(model.weights, key=lambda v: v.path):
        shape = tuple(variable.shape)
        if variable.path.endswith(("variance", "gamma")):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = 0.2 * rng.normal(size=shape)
        else:
            value = rng.normal(size=shape) * np.sqrt(0.5 / np.prod(shape[:-1]))
        variable.assign(value.astype("float32"))
    return model


def faces(count, seed=0):
    """A training batch: every landmark a dot, its color that of its region."""
    rng = np.random.default_rng(seed)
    colors = np.empty((68, 3))
    for i, points in enumerate(IBUG68.regions.values()):
        colors[list(points)] = np.random.default_rng(i).uniform(-1, 1, 3)
    grid = np.arange(CROP)
    images, landmarks = [], []
    for _ in range(count):
        points = template() * rng.uniform(9, 12) + (CROP - 1) / 2 + rng.uniform(-2, 2, 2)
        across = np.exp(-((grid - points[:, :1]) ** 2))
        down = np.exp(-((grid - points[:, 1:]) ** 2))
        dots = np.einsum("ky,kx,kc->yxc", down, across, colors)
        images.append(np.clip(128 + 110 * dots, 0, 255))
        landmarks.append(points)
    return {
        "image": np.rint(images).astype("uint8"),
        "landmarks": np.asarray(landmarks, "float32"),
        "visibility": np.full((count, 68), 2, "float32"),
    }


def some_hidden(batch, seed=0):
    """The same batch with a fifth of the landmarks without a position: NaN."""
    hidden = np.random.default_rng(seed).uniform(size=batch["visibility"].shape) < 0.2
    return {
        **batch,
        "landmarks": np.where(hidden[..., None], np.nan, batch["landmarks"]).astype("float32"),
        "visibility": np.where(hidden, 0, batch["visibility"]).astype("float32"),
    }


class Batches(keras.utils.PyDataset):
    """The given batches, in their order, in every epoch."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class FixedPair(FaceAlignModel):
    """Trains on views that nothing draws: image i is turned by the i-th of two transformations."""

    def make_views(self, batch):
        center = ((SIZE - 1) / 2,) * 2
        flip = np.array([0, 1], "float32")
        first = geometry.similarity(
            np.array([1.1, 0.95]), np.array([0.2, -0.1]), (np.ones(2), np.zeros(2)), center
        )
        matrix = geometry.compose(
            geometry.similarity(
                np.array([0.9, 1.05]), np.array([-0.3, 0.4]), (np.zeros(2), np.ones(2)), center
            ),
            geometry.flip_matrix(flip, SIZE),
        )
        matrix, flip = keras.ops.convert_to_tensor(matrix.astype("float32")), as_tensor(flip)
        base = geometry.compose(
            keras.ops.convert_to_tensor(first.astype("float32")), self.augmentation.centering(CROP)
        )
        views = (
            self.augmentation.view(batch, base, keras.ops.zeros_like(flip)),
            self.augmentation.view(batch, geometry.compose(matrix, base), flip),
        )
        return Pair(*views, matrix, flip)


def as_tensor(array):
    return keras.ops.convert_to_tensor(np.asarray(array, "float32"))


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)
