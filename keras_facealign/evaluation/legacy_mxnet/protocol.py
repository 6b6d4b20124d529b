"""Measures accuracy as the original MXNet code did for its tables: the protocol `legacy_mxnet`.

It is not the paper's protocol. Crops come from the ground truth, prediction *and* ground truth are
whole pixels of the 128-pixel crop, and lengths are measured on the rounded ground truth. Two
variants were published:

* `"dfa"` (github.com/deepinx/deep-face-alignment, `test_rec_nme.py`): the record is aligned by five
  points, then cropped by the landmarks' box with a margin on top that depends on the set. The
  ground truth is rounded down (2D) or to the nearest pixel (3D). 3D errors are divided by the
  square root of the box's area.
* `"insightface"` (github.com/deepinsight/insightface, `alignment/heatmap`): the middle 256 pixels,
  20 more up to five times until all landmarks are inside; faces that never fit are left out.
  The ground truth is rounded down. 3D errors are divided by the box's diagonal.

2D errors are divided by the distance between the eyes' midpoints, each the mean of two corners.
The original can also crop by a detector of its own; that detector's weights were not published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError, check_batch_size
from keras_facealign.evaluation.examples import as_example
from keras_facealign.evaluation.legacy_mxnet import crops
from keras_facealign.evaluation.predictions import Predictions
from keras_facealign.evaluation.report import EvaluationReport
from keras_facealign.geometry import compose, invert

_NUM_LANDMARKS = 68
_FIRST_SCALE, _SCALE_STEP, _TRIES = 256, 20, 6


@dataclass(frozen=True)
class MXNetProtocol:
    """The original code's evaluation of 68 landmarks.

    Args:
        variant: `"dfa"` or `"insightface"`.
        dimensions: 2 for landmarks on the visible outline, 3 for projected 3D ones.
        image_set: For `"dfa"`: `"ibug"`, `"cofw_testset"`, `"300W"`, or any other name.

    Raises:
        FaceAlignError: For an unknown variant or number of dimensions.

    Example:
        >>> protocol = MXNetProtocol(image_set="ibug")
        >>> faces = load_samples("300w", "challenge")  # doctest: +SKIP
        >>> report = protocol.evaluate(model, faces)  # doctest: +SKIP
        >>> protocol.normalizer
        'eye_corner_center'
    """

    variant: str = "dfa"
    dimensions: int = 2
    image_set: str = "ibug"

    def __post_init__(self) -> None:
        if self.variant not in ("dfa", "insightface"):
            raise FaceAlignError(f"Unknown variant {self.variant!r}; choose dfa or insightface.")
        if self.dimensions not in (2, 3):
            raise FaceAlignError(f"dimensions is {self.dimensions}; landmarks are 2D or 3D.")

    @property
    def normalizer(self) -> str:
        """Normalizer that the original prints."""
        if self.dimensions == 2:
            return "eye_corner_center"
        return "box_size" if self.variant == "dfa" else "box_diagonal"

    def crop(self, record: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crops a record to the network's input.

        Args:
            record: uint8 (384, 384, 3) RGB, the face in about the middle 256 pixels.
            landmarks: (68, 2) pixels of the record.

        Returns:
            uint8 (128, 128, 3), and the matrix (2, 3) from record to crop.

        Raises:
            FaceAlignError: If the landmarks coincide, or (`"insightface"`) do not fit a crop.
        """
        if self.variant == "insightface":
            matrix = self._middle(landmarks)
            return crops.warp(record, matrix, crops.CROP_SIZE), matrix
        first = crops.align_matrix(landmarks)
        aligned = crops.warp(record, first, crops.RECORD_SIZE)
        second = crops.landmarks_matrix(crops.move(first, landmarks), self.image_set)
        return crops.warp(aligned, second, crops.CROP_SIZE), compose(second, first)

    def quantize(self, landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Rounds the ground truth (68, 2) to whole crop pixels; returns it in record pixels."""
        points = crops.move(matrix, landmarks)
        nearest = self.variant == "dfa" and self.dimensions == 3
        return crops.move(invert(matrix), np.round(points) if nearest else np.floor(points))

    def predictions(
        self,
        model: Any | Callable[[np.ndarray], Any],
        examples: Iterable[Any],
        batch_size: int = 16,
        on_skip: Callable[[FaceAlignError], None] | None = None,
    ) -> Predictions:
        """Runs a network over labeled faces.

        Args:
            model: A Keras model or a callable from uint8 RGB crops (B, 128, 128, 3) to raw maps
                (B, 64, 64, 68), or to a list of them, one a stack, of which the last is used.
            examples: Labeled faces (`image`, `landmarks`, `visibility`, `file_name`, `subset`).
                Images that are not 384 x 384 are first cropped to a record.
            batch_size: Crops in a batch.
            on_skip: Called with the error of each face that cannot be cropped; without it they
                only count as missed.

        Returns:
            Decoded landmarks, the rounded ground truth and confidence, all in record pixels. Faces
            that cannot be cropped are among its `missed`.

        Raises:
            FaceAlignError: If labels are not 68 points with a position, the model's output has
                another shape, or batch_size is less than 1.
        """
        check_batch_size(batch_size)
        kept = Predictions()
        stream = (as_example(example, index) for index, example in enumerate(examples))
        while batch := list(islice(stream, batch_size)):
            ready = []
            for example in batch:
                try:
                    ready.append((example, *self._prepare(example)))
                except _DoesNotFit as error:
                    kept.add(example, None)
                    if on_skip is not None:
                        on_skip(error)
            if not ready:
                continue
            maps = _run(model, np.stack([crop for _, crop, _, _ in ready]))
            for (example, _, matrix, landmarks), each in zip(ready, maps, strict=True):
                truth = self.quantize(landmarks, matrix)
                self._keep(kept, example, matrix, truth, each)
        return kept

    def evaluate(
        self, model: Any | Callable[[np.ndarray], Any], examples: Iterable[Any], **options: Any
    ) -> EvaluationReport:
        """Runs a network and measures it; arguments as of `predictions`.

        Returns:
            The report. Its main normalizer is the original's.
        """
        info = {
            "protocol": "legacy_mxnet",
            "variant": self.variant,
            "dimensions": self.dimensions,
            "image_set": self.image_set,
        }
        kept = self.predictions(model, examples, **options)
        return kept.report(normalizer=self.normalizer, info=info)

    def _prepare(self, example: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        name, landmarks = example.file_name, np.asarray(example.landmarks, np.float64)
        labeled = np.asarray(example.visibility) > 0
        if landmarks.shape != (_NUM_LANDMARKS, 2):
            raise FaceAlignError(
                f"{name}: has landmarks of shape {landmarks.shape}; legacy_mxnet needs (68, 2)."
            )
        if not (labeled.all() and np.isfinite(landmarks).all()):
            raise FaceAlignError(
                f"{name}: has landmarks without a position; legacy_mxnet needs all 68; leave the "
                "face out."
            )
        try:
            record, points, _ = crops.to_record(np.asarray(example.image), landmarks)
            return (*self.crop(record, points), points)
        except FaceAlignError as error:
            raise type(error)(f"{name}: {error}") from error

    def _middle(self, landmarks: np.ndarray) -> np.ndarray:
        for attempt in range(_TRIES):
            matrix = crops.rotation_matrix(0, _FIRST_SCALE + _SCALE_STEP * attempt)
            points = crops.move(matrix, landmarks)
            if ((points >= 0) & (points < crops.CROP_SIZE)).all():
                return matrix
        widest = _FIRST_SCALE + _SCALE_STEP * (_TRIES - 1)
        raise _DoesNotFit(f"The landmarks do not fit the middle {widest} pixels of the record.")

    def _keep(
        self,
        kept: Predictions,
        example: Any,
        matrix: np.ndarray,
        truth: np.ndarray,
        maps: np.ndarray,
    ) -> None:
        landmarks = crops.move(invert(matrix), crops.decode_maps(maps))
        peaks = maps.reshape(-1, maps.shape[-1]).max(axis=0).astype(np.float64)
        box = np.concatenate([truth.min(axis=0), truth.max(axis=0)])
        rounded = SimpleNamespace(
            landmarks=truth,
            visibility=np.asarray(example.visibility),
            box=box,
            file_name=example.file_name,
            subset=example.subset,
        )
        confidence = 1 / (1 + np.exp(-np.clip(peaks, -60, 60)))
        kept.add(rounded, SimpleNamespace(landmarks=landmarks, confidence=confidence, box=box))


class _DoesNotFit(FaceAlignError):
    """A face that the original skips."""


def _run(model: Any, batch: np.ndarray) -> np.ndarray:
    """Raw maps (B, 64, 64, 68) of the last stack."""
    predict_on_batch = getattr(model, "predict_on_batch", None)
    output = predict_on_batch(batch) if predict_on_batch is not None else model(batch)
    maps = np.asarray(output[-1] if isinstance(output, (list, tuple)) else output)
    expected = (len(batch), crops.MAP_SIZE, crops.MAP_SIZE, _NUM_LANDMARKS)
    if maps.shape != expected:
        raise FaceAlignError(
            f"The model gave maps of shape {maps.shape} for {len(batch)} crops; legacy_mxnet needs "
            f"{expected}."
        )
    return maps
