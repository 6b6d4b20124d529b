"""Embeddings of face crops by a network of the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction import any_size, check_crops, fixed_size, run_batches
from keras_facealign.prediction.batches import BatchPlan
from keras_facealign.runtimes.exported import FILE_RUNTIMES, load_graph
from keras_facealign.storage.reading import open_regular, parsing

_BATCH = 32


class Embedder:
    """A network from face crops to vectors whose cosine says how similar two faces are.

    Args:
        run: From float32 (N, S, S, 3) to one array (N, D), in a mapping.
        input_size: Side S of the network's input in pixels.
        name: Name of the network in error messages.
        plan: Sizes of the batches, see `keras_facealign.prediction`.
        mean: Subtracted from the pixels, which are 0 to 255, RGB.
        scale: What they are divided by then.
        flip_average: Whether to add the vectors of a crop and its mirror image.

    Example:
        >>> embedder = Embedder.from_file("network.onnx")  # doctest: +SKIP
        >>> first, second = embedder.embed(crops)  # doctest: +SKIP
        >>> float(first @ second)  # doctest: +SKIP
        0.71
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], Mapping[str, Any]],
        input_size: int,
        name: str,
        plan: BatchPlan | None = None,
        mean: float = 127.5,
        scale: float = 128.0,
        flip_average: bool = False,
    ) -> None:
        if not (np.isfinite(mean) and np.isfinite(scale) and scale > 0):
            raise FaceAlignError(
                f"mean is {mean} and scale {scale}; pixels become (pixel - mean) / scale, so give "
                "numbers, and a scale above 0"
            )
        self.input_size = input_size
        self.name = name
        self.mean, self.scale, self.flip_average = mean, scale, flip_average
        self.dimension: int | None = None
        """Length D of the vectors, once there are some."""
        self._run = run
        self._plan = plan or any_size(_BATCH)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        mean: float = 127.5,
        scale: float = 128.0,
        flip_average: bool = False,
        threads: int | None = None,
    ) -> Embedder:
        """Loads a network.

        Args:
            path: A `.tflite`, `.onnx` or `.keras` file with one input of square RGB crops, channels
                last or first, for any number or for a fixed number of crops, and one output.
            mean: As in the constructor. A network that takes uint8 gets the pixels as they are.
            scale: As in the constructor.
            flip_average: As in the constructor.
            threads: Processor cores for TFLite and ONNX files. Default: all, up to four.

        Raises:
            FaceAlignError: If the file cannot be used, or the network takes something else.
        """
        path = Path(path)
        runtime = FILE_RUNTIMES.get(path.suffix.lower())
        if runtime is None and path.suffix.lower() != ".keras":
            raise FaceAlignError(f"{path}: give a .tflite, .onnx or .keras file of a network")
        graph = _KerasGraph(path) if runtime is None else load_graph(path, runtime, threads)
        shape, size = tuple(graph.input_shape), 0
        first = len(shape) == 4 and shape[1] == 3 and shape[3] != 3
        if len(shape) == 4:
            channels, size, width = (shape[1], *shape[2:]) if first else (shape[3], *shape[1:3])
            size = size if channels == 3 and size == width else 0
        if size < 1 or graph.input_type not in (np.float32, np.uint8):
            raise FaceAlignError(
                f"{path} takes {graph.input_type} of shape {shape}; a network for square RGB crops "
                "of a fixed size is needed, (B, S, S, 3) or (B, 3, S, S), float32 or uint8"
            )
        if len(graph.output_shapes) != 1:
            raise FaceAlignError(
                f"{path} has {len(graph.output_shapes)} outputs "
                f"({', '.join(graph.output_shapes)}); a network with one, (B, D), is needed"
            )

        def run(pixels: np.ndarray) -> Mapping[str, Any]:
            if graph.input_type == np.uint8:
                pixels = np.rint(pixels * scale + mean).astype(np.uint8)
            return graph(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if first else pixels))

        plan = None if shape[0] < 1 else fixed_size(shape[0])
        return cls(run, size, str(path), plan, mean, scale, flip_average)

    def embed(self, crops: np.ndarray, names: Sequence[str] | None = None) -> np.ndarray:
        """Computes the vectors of crops.

        Args:
            crops: (N, S, S, 3), RGB 0 to 255, uint8 or float, as from `norm_crop`.
            names: What error messages call the crops. Default: their numbers.

        Returns:
            float32 (N, D), of length 1.

        Raises:
            FaceAlignError: If the crops have another shape or range, or a vector is not finite, is
                zero, or has another length than before.
        """
        crops = np.asarray(crops)
        try:
            check_crops(crops, self.input_size)
        except FaceAlignError as error:
            raise FaceAlignError(f"{self.name}: {error}") from None
        vectors = self._vectors(crops)
        if self.flip_average:
            vectors = vectors + self._vectors(crops[:, :, ::-1])
        lengths = np.linalg.norm(vectors, axis=1)
        for bad in np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[:1]:
            which = names[bad] if names else f"crop {bad}"
            kind = "zero" if lengths[bad] == 0 else "not finite"
            raise FaceAlignError(
                f"{self.name}: the vector of {which} is {kind}; check the network, mean and scale"
            )
        return vectors / lengths[:, None]

    def _vectors(self, crops: np.ndarray) -> np.ndarray:
        def run(pixels: np.ndarray) -> dict[str, Any]:
            outputs = self._run((pixels.astype(np.float32) - self.mean) / np.float32(self.scale))
            (vectors,) = outputs.values()
            return {"vectors": np.asarray(vectors).reshape(len(pixels), -1)}

        vectors = run_batches(run, crops, self._plan)["vectors"]
        if self.dimension not in (None, vectors.shape[1]):
            raise FaceAlignError(
                f"{self.name}: gives vectors of {vectors.shape[1]} numbers after some of "
                f"{self.dimension}; one length is needed"
            )
        self.dimension = vectors.shape[1]
        return vectors


class _KerasGraph:
    """A `.keras` file with the interface of `TFLiteGraph`."""

    def __init__(self, path: Path) -> None:
        open_regular(path).close()
        import keras

        import keras_facealign.layers  # noqa: F401  (registers the layers)

        with parsing(path, "give a .keras file of a network, as `model.save` writes it"):
            self._model: Any = keras.saving.load_model(path, compile=False)
        if len(self._model.inputs) != 1:
            raise FaceAlignError(
                f"{path} has {len(self._model.inputs)} inputs; save the part of the network that "
                "takes crops alone"
            )
        shape = self._model.inputs[0].shape
        self.input_shape = tuple(-1 if side is None else side for side in shape)
        self.input_type = np.dtype(self._model.inputs[0].dtype)
        self.output_shapes = {o.name: tuple(o.shape) for o in self._model.outputs}

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        import keras

        output = self._model(pixels, training=False)
        output = output[0] if isinstance(output, (list, tuple)) else output
        return {"vectors": keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))}
