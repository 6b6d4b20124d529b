"""Predictions from a file, of any library, beside the ground truth of a data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.examples import as_example
from keras_facealign.evaluation.prediction_files import LandmarkFile, match_names, read_landmarks
from keras_facealign.evaluation.predictions import Predictions
from keras_facealign.landmarks import (
    LandmarkScheme,
    conversion_matrix,
    convert_landmarks,
    scheme_of_size,
)

__all__ = ["predictions_from_file"]

_logger = logging.getLogger(__name__)


def predictions_from_file(
    path: str | os.PathLike[str],
    examples: Iterable[Any],
    scheme: LandmarkScheme,
    source_scheme: LandmarkScheme | None = None,
) -> Predictions:
    """Puts predictions of any library beside the ground truth that they are for.

    Args:
        path: A file or folder that `keras_facealign.evaluation.prediction_files` reads.
        examples: The labeled faces, as of `predict`.
        scheme: The scheme of the labels.
        source_scheme: The scheme of the predictions. Default: the labels', or the one with the
            file's number of points; landmarks of another scheme are converted.

    Returns:
        The faces. Those without a prediction are among the missed.

    Raises:
        FaceAlignError: If the file cannot be read, no name in it is a picture's, or its landmarks
            cannot become the scheme's.

    Example:
        >>> examples = load_samples("300w", "full")  # doctest: +SKIP
        >>> predictions_from_file("theirs.json", examples, IBUG68).report()  # doctest: +SKIP
    """
    file = read_landmarks(path)
    landmarks, confidence = _in_scheme(file, scheme, source_scheme, str(path))
    # Pictures are not needed, and a set of them does not fit into memory.
    faces = [
        SimpleNamespace(
            landmarks=example.landmarks,
            visibility=example.visibility,
            box=example.box,
            file_name=example.file_name,
            subset=example.subset,
            extras=getattr(example, "extras", {}),
        )
        for example in (as_example(each, index) for index, each in enumerate(examples))
    ]
    if file.names is None:
        if len(landmarks) != len(faces):
            raise FaceAlignError(
                f"{path}: has {len(landmarks)} faces without names for the data's {len(faces)}; "
                "give file names, or a prediction for every face in the data's order"
            )
        places: list[int | None] = list(range(len(faces)))
    else:
        places, strangers = match_names([face.file_name for face in faces], file.names)
        if strangers:
            _logger.warning(
                "%s: %d predictions belong to no face of the data, such as %s.",
                path,
                len(strangers),
                strangers[0],
            )
    predictions = Predictions()
    for face, place in zip(faces, places, strict=True):
        if place is None or np.isnan(landmarks[place]).all():
            predictions.add(face, None)
            continue
        found = SimpleNamespace(
            landmarks=landmarks[place],
            confidence=None if confidence is None else confidence[place],
            box=None,
        )
        predictions.add(face, found)
    return predictions


def _in_scheme(
    file: LandmarkFile, scheme: LandmarkScheme, source: LandmarkScheme | None, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The file's landmarks and confidences as points of the labels' scheme."""
    count = file.landmarks.shape[1]
    if source is None and count != scheme.num_landmarks:
        source = scheme_of_size(count)
    if source is None or source.name == scheme.name:
        if count != scheme.num_landmarks:
            raise FaceAlignError(
                f"{name}: has {count} landmarks a face where the labels have "
                f"{scheme.num_landmarks}; convert them, or choose another protocol"
            )
        return file.landmarks, file.confidence
    matrix = conversion_matrix(source.name, scheme.name)
    if not matrix.any(axis=1).all():
        raise FaceAlignError(
            f"{name}: landmarks of {source.name} do not determine all of {scheme.name}"
        )
    landmarks = convert_landmarks(file.landmarks, source.name, scheme.name)
    return landmarks, None if file.confidence is None else file.confidence @ matrix.T
