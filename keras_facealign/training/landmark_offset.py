"""What mirrored pictures hide from a network: that all labels lie a little to one side.

Labels may be off by a fraction of a pixel, because files count from 0, 1 or a pixel's edge, or
because annotators click so. A network learns such an offset like any other habit, but for its
horizontal part where training mirrors half of the pictures: there the mirrored labels are off to
the other side, and what is learned is the mean, no offset at all. Predictions then differ from all
labels of that data set by the same distance. Those of 300W lie 0.5 pixels (of a face of about 100)
to the right of where mirror images agree, on the training faces as on others.

`FaceAlignModel.landmark_offset` adds the distance back. Set it to (0, 0) for landmarks of which
those of a mirrored picture are the mirror image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.labeled_crops import predict_faces
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.data.examples import FaceExample
    from keras_facealign.models.face_align_model import FaceAlignModel

__all__ = ["measure_landmark_offset"]


def measure_landmark_offset(
    model: FaceAlignModel, faces: Iterable[FaceExample]
) -> tuple[tuple[float, float], int]:
    """How far labels lie beside what a network that was trained with mirrored pictures sees.

    Args:
        model: The network. An offset that it has is left out of account.
        faces: Labeled faces that it was trained on. Faces of other sets have other habits.

    Returns:
        (dx, 0.0) in pixels of the input, the mean over the faces' landmarks that have a position;
        and the number of faces. Only the horizontal part is hidden from training.

    Raises:
        FaceAlignError: If there is no face.

    Example:
        >>> model.landmark_offset, count = measure_landmark_offset(model, faces)  # doctest: +SKIP
    """
    labeled = (face for face in faces if (np.asarray(face.visibility) > 0).any())
    own, shifts = model.landmark_offset[0], []
    for face, matrix, found in predict_faces(labeled, model.predict_landmarks, model.input_size):
        labels = geometry.transform_points(matrix, face.landmarks)
        known = np.asarray(face.visibility) > 0
        shifts.append(float(np.mean((labels - found)[known, 0])) + own)
    if not shifts:
        raise FaceAlignError("There is no labeled face to measure landmark_offset on.")
    return (float(np.mean(shifts)), 0.0), len(shifts)
