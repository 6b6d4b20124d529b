"""Whether an exported file finds the landmarks that the Keras model finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.export.files import SIGNATURE
from keras_facealign.models import FaceAlignModel
from keras_facealign.ops import decode_heatmaps, deform_implementation

__all__ = ["Parity", "compare", "load_export"]

# Where a file takes any number of faces, they come so many at a time; the last are fewer.
_BATCH = 5


@dataclass(frozen=True)
class Parity:
    """Differences between the landmarks of a file and of the Keras model, in pixels of the crop.

    Args:
        mean: Mean distance over all landmarks and faces.
        p99: Distance that 99 % of the landmarks stay below.
        faces: How many faces were compared.
        limit: Greatest mean that is good.
    """

    mean: float
    p99: float
    faces: int
    limit: float

    @property
    def good(self) -> bool:
        """Whether the mean is within the limit; a NaN never is."""
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
        limit: Greatest mean distance in pixels.

    Returns:
        The comparison. Files that give heatmaps are compared by the landmarks in them.
    """
    found = load_export(format, path)(faces)
    with deform_implementation("portable"):
        expected = model.predict_landmarks(faces, batch_size=_BATCH)[0]
    if "heatmaps" in found:
        landmarks, _ = decode_heatmaps(found["heatmaps"], model.input_size, model.decode_method)
        found = {"landmarks": keras.ops.convert_to_numpy(landmarks)}
    distance = np.linalg.norm(found["landmarks"].astype(np.float64) - expected, axis=-1)
    percentile = float(np.percentile(distance, 99))
    return Parity(float(distance.mean()), percentile, len(faces), limit)


def load_export(format: str, path: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads an exported file into its own runtime.

    Args:
        format: "saved_model", "tflite" or "onnx".
        path: The file, or the SavedModel's version folder.

    Returns:
        A function of any number of images, uint8 (N, S, S, 3), that gives the outputs by name.
    """
    call, batch = _LOADERS[format](path)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        size = batch or _BATCH
        parts = []
        for start in range(0, len(images), size):
            chunk = images[start : start + size]
            missing = (batch or 0) - len(chunk)
            if missing > 0:  # a file of fixed batch takes no fewer
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
            parts.append(call(chunk))
        return {
            name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]
        }

    return run


_Loaded = tuple[Callable[[np.ndarray], dict[str, np.ndarray]], int | None]


def _saved_model(path: Path) -> _Loaded:
    import tensorflow as tf

    loaded: Any = tf.saved_model.load(str(path))
    serve = loaded.signatures[SIGNATURE]
    batch = serve.structured_input_signature[1]["images"].shape[0]

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        # `loaded` is named here to be kept: it owns what the signature refers to.
        outputs = loaded.signatures[SIGNATURE](images=tf.constant(images))
        return {name: value.numpy() for name, value in outputs.items()}

    return call, batch


def _tflite(path: Path) -> _Loaded:
    from keras_facealign.inference.runtimes.interpreter import find_interpreter

    interpreter = find_interpreter()(model_path=str(path))
    signature = interpreter.get_input_details()[0]["shape_signature"]
    runner = interpreter.get_signature_runner(SIGNATURE)

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in runner(images=images).items()}

    return call, None if signature[0] < 0 else int(signature[0])


def _onnx(path: Path) -> _Loaded:
    try:
        import onnxruntime
    except ImportError as error:
        raise FaceAlignError(
            "onnxruntime is not installed; get it with: pip install 'keras_facealign[onnx]'."
        ) from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    batch = session.get_inputs()[0].shape[0]

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, {"images": images}), strict=True))

    return call, batch if isinstance(batch, int) else None


_LOADERS: dict[str, Callable[[Path], _Loaded]] = {
    "saved_model": _saved_model,
    "tflite": _tflite,
    "onnx": _onnx,
}
