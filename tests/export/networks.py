"""Small networks whose batch norm has learned something, and their heatmaps."""

from __future__ import annotations

import keras
import numpy as np

from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture
from tests.models.tiny import fix_weights


def network(topology="sat", block="cab", **fields):
    options = {"stacks": 1, "depth": 1, "width": 0.125, "input_size": 32, "map_size": 16}
    arch = Architecture(topology, block=block, **{**options, **fields})
    return fix_weights(FaceAlignModel(arch))


def images(count=2, size=32):
    return np.random.default_rng(5).uniform(0, 255, (count, size, size, 3)).astype("float32")


def heatmaps(model, batch):
    outputs = model(batch)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [keras.ops.convert_to_numpy(maps) for maps in outputs]


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()
