"""Writes MTCNN's three networks as TFLite files, from the weights inside the `mtcnn` package.

    pip install "keras_facealign[tensorflow]" mtcnn
    python benchmarks/export_mtcnn.py

The output folder is `keras_facealign/detection/mtcnn`; `README.md` there describes the networks'
inputs and outputs. Fixed computations are folded into the files: the first layer's kernel and bias
scale the pixels, the score is the sigmoid of a difference where the original computes the softmax
of two numbers, and fully connected layers are convolutions as large as their input, so that graphs
contain no fixed shape and an interpreter can change the size of the image or the batch.
"""

from __future__ import annotations

import argparse
import importlib.resources
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["INPUT_SHAPES", "export_networks", "load_weights"]

INPUT_SHAPES = {"pnet": (1, 256, 256, 3), "rnet": (16, 24, 24, 3), "onet": (4, 48, 48, 3)}
"""Shapes stored in the files; runtimes that cannot change them pad or split their input."""

FOLDER = Path(__file__).parents[1] / "keras_facealign" / "detection" / "mtcnn"

# The original networks were trained on (pixel - 127.5) / 128.
_MEAN, _SCALE = 127.5, 128.0
# Pooling after the convolutions of RNet and ONet: size and padding, always with stride 2.
_POOLS = {
    "rnet": ((3, "SAME"), (3, "VALID")),
    "onet": ((3, "SAME"), (3, "VALID"), (2, "SAME")),
}
# Height, width and channels of the first fully connected layer's input.
_LAST_MAPS = {"rnet": (3, 3, 64), "onet": (3, 3, 128)}


def load_weights(name: str) -> list[np.ndarray]:
    """Reads the arrays of a network, layer by layer: kernel, bias, slope of the activation.

    Always reads the file inside the `mtcnn` package; the package itself prefers a file of the same
    name in the working directory.

    Args:
        name: "pnet", "rnet" or "onet".

    Returns:
        float32 arrays.
    """
    import joblib
    import lz4.frame

    file = importlib.resources.files("mtcnn.assets.weights") / f"{name}.lz4"
    # joblib's own reading of .lz4 files warns at exit on Python 3.13.
    arrays = joblib.load(io.BytesIO(lz4.frame.decompress(file.read_bytes())))
    arrays = [np.asarray(array, np.float32) for array in arrays]
    kernel, bias = arrays[0].astype(np.float64), arrays[1]
    arrays[0] = (kernel / _SCALE).astype(np.float32)
    arrays[1] = (bias - kernel.sum(axis=(0, 1, 2)) * _MEAN / _SCALE).astype(np.float32)
    return arrays


def _conv(tf: Any, x: Any, kernel: np.ndarray, bias: np.ndarray) -> Any:
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=1, padding="VALID"), bias)


def _prelu(tf: Any, x: Any, slope: np.ndarray) -> Any:
    # The converter recognizes this form as its own operator PRELU.
    return tf.nn.relu(x) + -slope.reshape(1, 1, -1) * tf.nn.relu(-x)


def _heads(tf: Any, x: Any, boxes: Sequence[np.ndarray], classes: Sequence[np.ndarray]) -> Any:
    kernel, bias = classes
    score = _conv(tf, x, kernel[..., 1:] - kernel[..., :1], bias[1:] - bias[:1])
    return {"boxes": _conv(tf, x, *boxes), "scores": tf.sigmoid(score)}


def _pnet(tf: Any, w: list[np.ndarray]) -> Callable[[Any], Any]:
    def network(images: Any) -> Any:
        x = _prelu(tf, _conv(tf, images, w[0], w[1]), w[2])
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        x = _prelu(tf, _conv(tf, x, w[3], w[4]), w[5])
        x = _prelu(tf, _conv(tf, x, w[6], w[7]), w[8])
        return _heads(tf, x, w[9:11], w[11:13])

    return network


def _refinement(tf: Any, name: str, w: list[np.ndarray]) -> Callable[[Any], Any]:
    """Makes RNet, or ONet without its output of five facial points."""
    count = 3 if name == "rnet" else 4
    height, width, channels = _LAST_MAPS[name]
    # The originals flatten column by column.
    dense = w[3 * count].reshape(width, height, channels, -1).transpose(1, 0, 2, 3)
    kernel, bias, class_kernel, class_bias = *w[3 * count + 3 : 3 * count + 5], *w[-2:]
    boxes, classes = (kernel[None, None], bias), (class_kernel[None, None], class_bias)

    def network(images: Any) -> Any:
        x = images
        for index in range(count):
            x = _prelu(tf, _conv(tf, x, *w[3 * index : 3 * index + 2]), w[3 * index + 2])
            if index < len(_POOLS[name]):
                size, padding = _POOLS[name][index]
                x = tf.nn.max_pool2d(x, size, 2, padding)
        x = _prelu(tf, _conv(tf, x, dense, w[3 * count + 1]), w[3 * count + 2])
        return _heads(tf, x, boxes, classes)

    return network


def export_networks(folder: Path) -> list[Path]:
    """Writes `pnet.tflite`, `rnet.tflite` and `onet.tflite`.

    Args:
        folder: An existing folder.

    Returns:
        The files.
    """
    import tensorflow as tf

    paths = []
    for name, shape in INPUT_SHAPES.items():
        weights = load_weights(name)
        network = _pnet(tf, weights) if name == "pnet" else _refinement(tf, name, weights)
        module: Any = tf.Module()
        module.serve = tf.function(
            network, input_signature=[tf.TensorSpec(shape, tf.float32, name="images")]
        )
        function = module.serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        paths.append(folder / f"{name}.tflite")
        paths[-1].write_bytes(converter.convert())
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes MTCNN's networks.")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder")
    for written in export_networks(parser.parse_args().output):
        print(f"{written}: {written.stat().st_size} bytes")
