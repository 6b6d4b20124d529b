"""Crops labeled faces and predicts their landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.examples import FaceExample
from keras_facealign.errors import check_batch_size
from keras_facealign.geometry.crops import crop_face


def predict_faces(
    faces: Iterable[FaceExample],
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    input_size: int,
    batch_size: int = 32,
) -> Iterator[tuple[FaceExample, np.ndarray, np.ndarray]]:
    """Crops labeled faces by their boxes and predicts their landmarks, batch by batch.

    Args:
        faces: Labeled faces.
        predict: From crops, uint8 (B, S, S, 3), to landmarks in crop pixels, (B, K, 2), and
            confidence; `FaceAlignModel.predict_landmarks` is one.
        input_size: Side S of the crops in pixels.
        batch_size: Faces per prediction.

    Yields:
        Each face, the matrix (2, 3) from its image's pixels to the crop's, and the predicted
        landmarks, (K, 2) in pixels of the crop.

    Raises:
        FaceAlignError: If batch_size is less than 1.
    """
    check_batch_size(batch_size)
    left = iter(faces)
    while batch := list(islice(left, batch_size)):
        matrices = [geometry.crop_matrix(face.box, input_size) for face in batch]
        pairs = zip(batch, matrices, strict=True)
        found, _ = predict(np.stack([crop_face(f.image, m, input_size) for f, m in pairs]))
        yield from zip(batch, matrices, found, strict=True)
