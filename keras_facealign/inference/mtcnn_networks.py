"""MTCNN's three networks as TensorFlow functions, plugged into the stages of the `mtcnn` package.

The package builds them as Keras models, which yields tensors that it can only read when Keras runs
on TensorFlow. Here they are plain TensorFlow over the package's own weights, so that faces are
found the same way whichever backend Keras uses. Their weights are read from inside the package
only; it would itself prefer a file of the same name in the working directory.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import io
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["build_mtcnn"]


def _import(module: str, remedy: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FaceAlignError(
            f"MTCNN needs {module}, which cannot be imported ({error}); {remedy}, or give boxes or "
            "another detector"
        ) from error


def _load_weights(file_name: str) -> list[np.ndarray]:
    """Arrays in the order in which the layers run: kernel, bias, and slope of the activation."""
    import joblib
    import lz4.frame

    file = importlib.resources.files("mtcnn.assets.weights") / file_name
    # Decompressed here: on Python 3.13 joblib's own reading of .lz4 files complains at exit.
    arrays = joblib.load(io.BytesIO(lz4.frame.decompress(file.read_bytes())))
    return [np.asarray(array, np.float32) for array in arrays]


def _prelu(tf: Any, x: Any, slope: np.ndarray) -> Any:
    return tf.nn.relu(x) - slope * tf.nn.relu(-x)


def _conv(tf: Any, x: Any, weights: list[np.ndarray]) -> Any:
    kernel, bias = weights
    return tf.nn.conv2d(x, kernel, strides=1, padding="VALID") + bias


def _pnet(tf: Any, w: list[np.ndarray]) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    def network(x: Any) -> Any:
        x = _prelu(tf, _conv(tf, x, w[0:2]), w[2])
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        x = _prelu(tf, _conv(tf, x, w[3:5]), w[5])
        x = _prelu(tf, _conv(tf, x, w[6:8]), w[8])
        return _conv(tf, x, w[9:11]), tf.nn.softmax(_conv(tf, x, w[11:13]))

    return network


def _trunk(tf: Any, x: Any, w: list[np.ndarray], pools: tuple[tuple[int, str], ...]) -> Any:
    """Convolutions with pooling after all but the last, flattened column by column, and a layer."""
    for i in range(len(w) // 3 - 1):
        x = _prelu(tf, _conv(tf, x, w[3 * i : 3 * i + 2]), w[3 * i + 2])
        if i < len(pools):
            size, padding = pools[i]
            x = tf.nn.max_pool2d(x, size, 2, padding)
    x = tf.transpose(x, (0, 2, 1, 3))
    x = tf.reshape(x, (-1, int(np.prod(x.shape[1:]))))
    return _prelu(tf, x @ w[-3] + w[-2], w[-1])


def _rnet(tf: Any, w: list[np.ndarray]) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None, 24, 24, 3], tf.float32)])
    def network(x: Any) -> Any:
        x = _trunk(tf, x, w[:12], ((3, "SAME"), (3, "VALID")))
        return x @ w[12] + w[13], tf.nn.softmax(x @ w[14] + w[15])

    return network


def _onet(tf: Any, w: list[np.ndarray]) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None, 48, 48, 3], tf.float32)])
    def network(x: Any) -> Any:
        x = _trunk(tf, x, w[:15], ((3, "SAME"), (3, "VALID"), (2, "SAME")))
        return x @ w[15] + w[16], x @ w[17] + w[18], tf.nn.softmax(x @ w[19] + w[20])

    return network


@functools.cache
def build_mtcnn(device: str = "CPU:0") -> Any:
    """Builds the detector, once a device: its settings are given with each call.

    Args:
        device: TensorFlow device that runs it.

    Returns:
        An `mtcnn.MTCNN`; its `detect_faces` is the entry.

    Raises:
        FaceAlignError: If TensorFlow or the `mtcnn` package cannot be imported.
    """
    tf = _import("tensorflow", 'run: pip install "keras_facealign[tensorflow]"')
    mtcnn = _import("mtcnn", "run: pip install mtcnn")
    stages = importlib.import_module("mtcnn.stages")
    base = importlib.import_module("mtcnn.stages.base").StageBase

    def stage(kind: Any, number: int, builder: Any, file_name: str) -> Any:
        network = builder(tf, _load_weights(file_name))

        class Stage(kind):
            def __init__(self) -> None:
                # Past the package's own constructor, which would build the Keras model.
                base.__init__(self, kind.__name__, number, model=self._run)

            @staticmethod
            def _run(images: Any) -> Any:
                return network(tf.cast(images, tf.float32))

        return Stage()

    with tf.device(device):
        return mtcnn.MTCNN(
            stages=[
                stage(stages.StagePNet, 1, _pnet, "pnet.lz4"),
                stage(stages.StageRNet, 2, _rnet, "rnet.lz4"),
                stage(stages.StageONet, 3, _onet, "onet.lz4"),
            ],
            device=device,
        )
