"""Compares the landmarks of an exported file with those of the Keras model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.models import FaceAlignModel
from keras_facealign.ops import deform_implementation
from keras_facealign.prediction import any_size, fixed_size, run_batches
from keras_facealign.runtimes.exported import load_graph
from keras_facealign.runtimes.metadata import SIGNATURE

# Batch size for files that accept any number of faces; 5 also tests an incomplete last batch.
_BATCH = 5


@dataclass(frozen=True)
class Parity:
    """Distances between the landmarks of a file and of the Keras model, in pixels of the crop.

    Args:
        mean: Mean distance over all landmarks and faces.
        p99: 99th percentile of the distance.
        faces: Number of faces that were compared.
        limit: Largest mean that is accepted.
    """

    mean: float
    p99: float
    faces: int
    limit: float

    @property
    def good(self) -> bool:
        """Whether the mean is within the limit; NaN is not."""
        return self.mean <= self.limit

    def __str__(self) -> str:
        return (
            f"landmarks of {self.faces} faces differ from the Keras model's by {self.mean:.4f} px "
            f"in the mean (99 %: {self.p99:.4f}), the limit is {self.limit:g}"
        )


def compare(
    model: FaceAlignModel, format: str, path: Path, faces: np.ndarray, limit: float
) -> Parity:
    """Runs a file and its model on the same faces.

    Args:
        model: The Keras model.
        format: "saved_model", "tflite" or "onnx".
        path: The file, or the SavedModel's version folder.
        faces: uint8 (N, S, S, 3).
        limit: Largest mean distance in pixels.

    Returns:
        The comparison. The heatmaps of a file without decoding are decoded first.
    """
    found = load_export(format, path)(faces)
    with deform_implementation("portable"):
        expected = model.predict_landmarks(faces, batch_size=_BATCH)[0]
    if "heatmaps" in found:
        found = model.landmark_outputs(found["heatmaps"])
    distance = np.linalg.norm(found["landmarks"].astype(np.float64) - expected, axis=-1)
    percentile = float(np.percentile(distance, 99))
    return Parity(float(distance.mean()), percentile, len(faces), limit)


def load_export(format: str, path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads an exported file into its own runtime.

    Args:
        format: "saved_model", "tflite" or "onnx".
        path: The file, or the SavedModel's version folder.

    Returns:
        A function from any number of images, uint8 (N, S, S, 3), to the outputs by name.
    """
    if format == "saved_model":
        graph = _SavedModelGraph(path)
    else:
        graph = load_graph(path, "litert" if format == "tflite" else "onnx")
    batch = graph.input_shape[0]  # -1: any

    plan = fixed_size(batch) if batch > 0 else any_size(_BATCH)
    return lambda images: run_batches(graph, images, plan)


class _SavedModelGraph:
    """A SavedModel's signature, with the interface of the graphs of `runtimes`."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._tensor = tf.constant
        # The loaded object owns the variables of its signature, so it has to be kept.
        self._loaded: Any = tf.saved_model.load(str(folder))
        self._serve = self._loaded.signatures[SIGNATURE]
        (given,) = self._serve.structured_input_signature[1].values()
        self.input_shape = tuple(-1 if side is None else side for side in given.shape)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._serve(images=self._tensor(images))
        return {name: value.numpy() for name, value in outputs.items()}
