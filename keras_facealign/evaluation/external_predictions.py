"""Combines predictions from a file, of any library, with the ground truth of a data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.examples import as_example
from keras_facealign.evaluation.prediction_files import match_names, read_landmarks
from keras_facealign.evaluation.predictions import Predictions, converter
from keras_facealign.landmarks import LandmarkScheme, scheme_of_size

_logger = logging.getLogger(__name__)

_KEPT = ("landmarks", "visibility", "box", "file_name", "subset", "extras")


def predictions_from_file(
    path: str | os.PathLike[str],
    examples: Iterable[Any],
    scheme: LandmarkScheme,
    source_scheme: LandmarkScheme | None = None,
) -> Predictions:
    """Reads predictions of any library and adds the ground truth that they are for.

    Args:
        path: A file or folder that `keras_facealign.evaluation.prediction_files` reads.
        examples: The labeled faces, as of `predict`.
        scheme: The scheme of the labels.
        source_scheme: The scheme of the predictions. Default: the labels', or the one with the
            file's number of points, which are converted.

    Returns:
        The faces. Those without a prediction are among the missed.

    Raises:
        FaceAlignError: If the file cannot be read, no name in it is an image's, or its landmarks
            cannot be converted to the scheme's.

    Example:
        >>> examples = load_samples("300w", "full")  # doctest: +SKIP
        >>> predictions_from_file("theirs.json", examples, IBUG68).report()  # doctest: +SKIP
    """
    file = read_landmarks(path)
    count = file.landmarks.shape[1]
    if source_scheme is None and count != scheme.num_landmarks:
        source_scheme = scheme_of_size(count)
    source_scheme = source_scheme or scheme
    if count != source_scheme.num_landmarks:
        raise FaceAlignError(
            f"{path}: has {count} landmarks a face where scheme {source_scheme.name!r} has "
            f"{source_scheme.num_landmarks}; convert them, or choose another protocol"
        )
    convert = converter(source_scheme, scheme, f"{path}:")
    # Without images: those of a whole set do not fit into memory.
    labels = (as_example(each, index) for index, each in enumerate(examples))
    faces = [SimpleNamespace(**{key: getattr(e, key, {}) for key in _KEPT}) for e in labels]
    if file.names is None:
        if len(file.landmarks) != len(faces):
            raise FaceAlignError(
                f"{path}: has {len(file.landmarks)} faces without names for the data's "
                f"{len(faces)}; give file names, or a prediction for every face in the data's order"
            )
        places: list[int | None] = list(range(len(faces)))
    else:
        places, unmatched = match_names([face.file_name for face in faces], file.names)
        if unmatched:
            message = "%s: %d predictions belong to no face of the data, such as %s."
            _logger.warning(message, path, len(unmatched), unmatched[0][:80])
    predictions = Predictions()
    for face, place in zip(faces, places, strict=True):
        found = None
        if place is not None and not np.isnan(file.landmarks[place]).all():
            confidence = None if file.confidence is None else file.confidence[place]
            found = SimpleNamespace(
                landmarks=file.landmarks[place], confidence=confidence, box=None
            )
        predictions.add(face, convert(found))
    return predictions
