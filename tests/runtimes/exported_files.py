"""Small TFLite files with the metadata of this package, for tests that need one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SIZE, POINTS = 32, 5
METADATA: dict[str, Any] = {
    "format": 1,
    "preset": "dots",
    "scheme": "five",
    "num_landmarks": POINTS,
    "input_size": SIZE,
    "decode": True,
    "decode_method": "argmax",
    "outputs": ["landmarks", "confidence"],
    "batch": 1,
    "quantize": "none",
    "box_scale": 1.3,
    "license": "none",
    "version": "0",
}


def pictures(count: int, seed: int | None = None) -> np.ndarray:
    """uint8 (count, SIZE, SIZE, 3): noise with a bright spot somewhere in each color."""
    rng = np.random.default_rng(count if seed is None else seed)
    images = rng.integers(0, 40, (count, SIZE, SIZE, 3)).astype(np.uint8)
    for image in images:
        for color, (row, column) in enumerate(rng.integers(0, SIZE, (3, 2))):
            image[row, column, color] = 200 + 10 * color
    return images


def dots(tf: Any, images: Any) -> dict[str, Any]:
    """The centroid of each color, those of red and green twice; all four outputs.

    The confidence is the brightest value, over 255; sigma is 1 to 5 pixels; visibility half of the
    confidence.
    """
    weights = tf.gather(tf.cast(images, tf.float32), [0, 1, 2, 0, 1], axis=3)
    mass = tf.reduce_sum(weights, (1, 2)) + 1e-6
    place = np.arange(SIZE, dtype=np.float32)
    x = tf.reduce_sum(weights * place[None, None, :, None], (1, 2)) / mass
    y = tf.reduce_sum(weights * place[None, :, None, None], (1, 2)) / mass
    confidence = tf.reduce_max(weights, (1, 2)) / 255.0
    return {
        "landmarks": tf.stack([x, y], axis=-1),
        "confidence": confidence,
        "sigma": confidence * 0.0 + np.arange(1.0, 6.0, dtype=np.float32),
        "visibility": confidence / 2.0,
    }


def heatmaps(tf: Any, images: Any) -> dict[str, Any]:
    """Logits on the pixels themselves, highest where a color is brightest."""
    weights = tf.gather(tf.cast(images, tf.float32), [0, 1, 2, 0, 1], axis=3)
    return {"heatmaps": weights / 16.0 - 8.0}


def write_tflite(
    path: Path,
    network: Any = dots,
    outputs: tuple[str, ...] = ("landmarks", "confidence"),
    metadata: dict[str, Any] | None = None,
    size: int = SIZE,
    dtype: str = "uint8",
    batch: int | None = 1,
) -> Path:
    """Converts a network and says of it what `metadata` says; {} leaves the metadata out."""
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda images: {name: network(tf, images)[name] for name in outputs},
        input_signature=[tf.TensorSpec((batch, size, size, 3), dtype, name="images")],
    )
    function = module.serve.get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert()
    metadata = METADATA | {"outputs": list(outputs)} if metadata is None else metadata
    path.write_bytes(with_metadata(content, metadata) if metadata else content)
    return path


def with_metadata(content: bytes, metadata: dict[str, Any]) -> bytes:
    """The same file with the JSON in a metadata buffer."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "keras_facealign", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
