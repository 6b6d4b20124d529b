"""Predicting a labelled set face by face, and keeping what an evaluation needs of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_facealign.evaluation.report import EvaluationReport, write_whole
from keras_facealign.geometry import box_overlap

__all__ = ["MIN_OVERLAP", "Predictions", "predict"]

MIN_OVERLAP = 0.3
"""Least intersection over union by which a detected box is taken for the labelled face.

The same face boxed by a detector and by its landmarks overlaps far more than this even when the
detector draws its boxes wide; below it lies another face, or none.
"""


class Aligner(Protocol):
    """What `keras_facealign.inference.FaceAligner` offers to an evaluation."""

    def align_batch(self, images: Any, boxes: Any = None, names: Any = None) -> list[Any]:
        """Returns a list of faces (`landmarks`, `confidence`, `box`) for each image."""
        ...


def predict(
    aligner: Aligner,
    examples: Iterable[Any],
    detect: bool = False,
    batch_size: int = 16,
    min_overlap: float = MIN_OVERLAP,
) -> Iterator[tuple[Any, Any | None]]:
    """Aligns the labelled face of each example, a batch of images at a time.

    Args:
        aligner: Aligns batches, usually a `FaceAligner`.
        examples: Labelled faces (`image`, `box`, ...) as `keras_facealign.data` reads them.
        detect: Let the aligner's detector find the face instead of giving it the example's box. Of
            the faces found, the one whose box overlaps the example's best is taken.
        batch_size: Images in a batch; as many are held in memory.
        min_overlap: Least intersection over union of a detected box with the example's.

    Yields:
        Each example with its face, or with None where the detector missed it.

    Example:
        >>> for example, face in predict(aligner, load_samples("300w", "lfpw_test")):
        ...     print(example.file_name, face.landmarks.shape)
    """
    stream = iter(examples)
    while batch := list(islice(stream, batch_size)):
        images = [example.image for example in batch]
        boxes = None if detect else [np.asarray(example.box)[None] for example in batch]
        names = [example.file_name for example in batch]
        found = aligner.align_batch(images, boxes, names)
        for example, faces in zip(batch, found, strict=True):
            if not detect:
                yield example, faces[0]
                continue
            overlaps = [box_overlap(face.box, example.box) for face in faces]
            missed = max(overlaps, default=0.0) < min_overlap
            yield example, None if missed else faces[overlaps.index(max(overlaps))]


@dataclass
class Predictions:
    """Faces predicted so far, beside their ground truth.

    Example:
        >>> predictions = Predictions()
        >>> for example, face in predict(aligner, load_samples("300w", "lfpw_test")):
        ...     predictions.add(example, face)
        >>> predictions.report().summary()["nme"]["inter_ocular"]["mean"]
    """

    file_names: list[str] = field(default_factory=list)
    subsets: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    _rows: dict[str, list[np.ndarray]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of faces seen, missed ones included."""
        return len(self.file_names) + len(self.missed)

    def add(self, example: Any, face: Any | None) -> None:
        """Keeps one face.

        Args:
            example: The labelled face (`landmarks`, `visibility`, `box`, `file_name`, `subset`).
            face: Its prediction (`landmarks`, `confidence`, `box`), None if it was missed.
        """
        if face is None:
            self.missed.append(example.file_name)
            return
        self.file_names.append(example.file_name)
        self.subsets.append(example.subset)
        row = {
            "prediction": face.landmarks,
            "confidence": face.confidence,
            "box": face.box,
            "ground_truth": example.landmarks,
            "visibility": example.visibility,
            "ground_truth_box": example.box,
        }
        for key, value in row.items():
            self._rows.setdefault(key, []).append(np.asarray(value))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns everything as arrays.

        `prediction` and `ground_truth` (N, K, 2) and `box` and `ground_truth_box` (N, 4) in pixels
        of the images, `confidence` and `visibility` (N, K), `file_names` and `subsets` (N,), and
        the names of `missed` faces (M,). The former are absent while no face was predicted.
        """
        return {
            **{key: np.stack(rows) for key, rows in self._rows.items()},
            "file_names": np.array(self.file_names, np.str_),
            "subsets": np.array(self.subsets, np.str_),
            "missed": np.array(self.missed, np.str_),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes `arrays()` to an `.npz` file that loads without pickle, and returns its path."""
        arrays: dict[str, Any] = self.arrays()
        return write_whole(path, lambda file: np.savez_compressed(file, **arrays))

    def report(self, **options: Any) -> EvaluationReport:
        """Measures the faces so far.

        Args:
            **options: Further arguments of `EvaluationReport` (`scheme`, `normalizer`, `info`).

        Returns:
            The report.

        Raises:
            FaceAlignError: If no face was predicted, or a prediction is not finite.
        """
        arrays = self.arrays()
        none = np.zeros((0, 68, 2))
        return EvaluationReport(
            prediction=arrays.get("prediction", none),
            ground_truth=arrays.get("ground_truth", none),
            visibility=arrays.get("visibility"),
            file_names=self.file_names,
            subsets=self.subsets,
            missed=self.missed,
            **options,
        )
