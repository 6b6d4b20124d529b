"""Predicts a labeled set face by face, and keeps what an evaluation needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from keras_facealign.data.npz import read_arrays
from keras_facealign.errors import FaceAlignError, check_batch_size
from keras_facealign.evaluation.examples import PART_LABELS, as_example
from keras_facealign.evaluation.report import EvaluationReport
from keras_facealign.geometry import box_overlap
from keras_facealign.landmarks import (
    LandmarkScheme,
    as_scheme,
    conversion_matrix,
    convert_landmarks,
    is_scheme_name,
)
from keras_facealign.storage.atomic import atomic_write

MIN_OVERLAP = 0.3
"""Least intersection over union for which a detected box counts as the labeled face's.

The box of a detector and that of the landmarks of one face overlap far more than this, even where
the detector draws wide boxes.
"""


class Aligner(Protocol):
    """The part of `keras_facealign.inference.FaceAligner` that an evaluation uses."""

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
    """Aligns the labeled face of each example, a batch of images at a time.

    Args:
        aligner: Aligns batches, usually a `FaceAligner`.
        examples: Labeled faces (`image`, `box`, ...) as `keras_facealign.data` reads them, or as
            TensorFlow Datasets yields them.
        detect: Whether the aligner's detector finds the face, instead of using the example's box.
            The face is the one whose box overlaps the example's most.
        batch_size: Images in a batch; as many are held in memory.
        min_overlap: Least intersection over union of a detected box with the example's.

    Yields:
        Each example with its face, or with None where the detector missed it.

    Raises:
        FaceAlignError: If batch_size is less than 1.

    Example:
        >>> examples = load_samples("300w", "lfpw_test")  # doctest: +SKIP
        >>> for example, face in predict(aligner, examples):  # doctest: +SKIP
        ...     print(example.file_name, face.landmarks.shape)
    """
    check_batch_size(batch_size)
    stream = (as_example(example, index) for index, example in enumerate(examples))
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


def converter(
    source: str | LandmarkScheme, target: str | LandmarkScheme, name: str
) -> Callable[[Any], Any]:
    """Makes a function that converts predicted faces to the scheme of the labels.

    Args:
        source: The model's landmark scheme, or its name.
        target: The labels' scheme, or its name.
        name: Name of the model or file in error messages.

    Returns:
        A function from a face (or None, a missed one) to one whose landmarks and confidence are of
        the target.

    Raises:
        FaceAlignError: If the source's landmarks do not determine the target's.
    """
    known, wanted = as_scheme(source), as_scheme(target)
    if known == wanted:
        return lambda face: face
    if not (is_scheme_name(known.name) and is_scheme_name(wanted.name)):
        raise FaceAlignError(
            f"{name} has landmarks of {known.name!r}, and the labels are of {wanted.name!r}; give "
            "labels and predictions of the same scheme."
        )
    try:
        matrix = conversion_matrix(known.name, wanted.name)
    except FaceAlignError as error:
        raise FaceAlignError(f"{name} has landmarks of {known.name!r}: {error}") from error
    if not matrix.any(axis=1).all():
        raise FaceAlignError(
            f"{name} has landmarks of {known.name!r}, which do not determine all of "
            f"{wanted.name!r}; choose another protocol, preset or file."
        )

    def convert(face: Any) -> Any:
        if face is None:
            return None
        landmarks = convert_landmarks(face.landmarks, known.name, wanted.name)
        confidence = face.confidence
        if confidence is not None:
            confidence = matrix @ np.asarray(confidence, np.float64)
        return SimpleNamespace(landmarks=landmarks, confidence=confidence, box=face.box)

    return convert


@dataclass
class Predictions:
    """Faces predicted so far, with their ground truth.

    Example:
        >>> predictions = Predictions()
        >>> for example, face in predict(aligner, examples):  # doctest: +SKIP
        ...     predictions.add(example, face)
        >>> predictions.report().summary()["nme"]["inter_ocular"]["mean"]  # doctest: +SKIP
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
            example: The labeled face (`landmarks`, `visibility`, `box`, `file_name`, `subset`).
            face: Its prediction (`landmarks`, `confidence`, `box`), None if it was missed.

        Raises:
            FaceAlignError: If a landmark that counts is not finite, or the label is of another
                scheme.
        """
        if face is None:
            self.missed.append(example.file_name)
            return
        if np.shape(face.landmarks) != np.shape(example.landmarks):
            raise FaceAlignError(
                f"{example.file_name}: the prediction has {len(face.landmarks)} landmarks, the "
                f"label {len(example.landmarks)}; choose labels of the same scheme"
            )
        broken = (np.asarray(example.visibility) > 0) & ~np.isfinite(face.landmarks).all(axis=-1)
        if broken.any():
            point = int(np.flatnonzero(broken)[0])
            raise FaceAlignError(
                f"{example.file_name}: landmark {point} of the prediction is "
                f"{np.asarray(face.landmarks)[point].tolist()}; coordinates must be finite"
            )
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
        extras = getattr(example, "extras", {})
        row |= {key: extras[key] for key in PART_LABELS if key in extras}
        for key, value in row.items():
            if value is not None:
                self._rows.setdefault(key, []).append(np.asarray(value))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns everything as arrays.

        `prediction` and `ground_truth` (N, K, 2) and `box` and `ground_truth_box` (N, 4) in pixels
        of the images, `confidence` and `visibility` (N, K), `file_names` and `subsets` (N,), the
        names of `missed` faces (M,), and `pose` and `attributes` where all faces have them.
        Arrays with a row a face are absent while no face was predicted.
        """
        number = len(self.file_names)
        return {
            **{key: np.stack(rows) for key, rows in self._rows.items() if len(rows) == number},
            "file_names": np.array(self.file_names, np.str_),
            "subsets": np.array(self.subsets, np.str_),
            "missed": np.array(self.missed, np.str_),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes `arrays()` to an `.npz` file that loads without pickle, and returns its path."""
        arrays: dict[str, Any] = self.arrays()
        return atomic_write(path, lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Predictions:
        """Reads a file that `save` wrote; ground truth and names are in it.

        Args:
            path: The `.npz` file.

        Returns:
            The faces.

        Raises:
            FaceAlignError: If the file is broken, too large, or not of this kind.

        Example:
            >>> Predictions.load("report/predictions.npz").report()  # doctest: +SKIP
        """
        arrays = read_arrays(path)
        keys = ("file_names", "subsets", "missed")
        if missing := [key for key in keys if key not in arrays]:
            raise FaceAlignError(
                f"{path}: has no array {missing[0]!r}, so it is not a file of predictions with "
                "their ground truth; give the data as well"
            )
        if single := [key for key, value in arrays.items() if not value.ndim]:
            raise FaceAlignError(f"{path}: {single[0]} is one value, not a row a face; replace it")
        names, subsets, missed = ([str(name) for name in arrays.pop(key)] for key in keys)
        if names and not {"prediction", "ground_truth"} <= arrays.keys():
            raise FaceAlignError(f"{path}: lacks the arrays prediction and ground_truth")
        rows: dict[str, Any] = {key: list(value) for key, value in arrays.items()}
        for key, value in {**rows, "subsets": subsets}.items():
            if len(value) != len(names):
                raise FaceAlignError(
                    f"{path}: {key} is for {len(value)} faces, but there are {len(names)} names"
                )
        return cls(names, subsets, missed, rows)

    def report(self, **options: Any) -> EvaluationReport:
        """Measures the faces so far.

        Args:
            **options: Further arguments of `EvaluationReport` (`scheme`, `normalizer`, ...).

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
            confidence=arrays.get("confidence"),
            file_names=self.file_names,
            subsets=self.subsets,
            missed=self.missed,
            **options,
        )
