"""Cuts faces out of large photos, so that many fit in memory."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.examples import FaceExample

# Side of the cut in units of the box's longer side: training crops with their border take 1.95, and
# boxes are moved and scaled at random.
_REACH = 2.6
# Pixels of the cut for a pixel of the network's input.
_FINENESS = 2.0


def compact(example: FaceExample, input_size: int = 128) -> FaceExample:
    """Cuts the surroundings of a face out of its picture, no finer than training needs.

    Args:
        example: A labeled face; its box is the one that it will be cropped by.
        input_size: Side of the network's input in pixels.

    Returns:
        The face in its part of the picture; the example itself if the picture is not larger.

    Example:
        >>> from keras_facealign.data.examples import make_example
        >>> face = make_example(np.zeros((2000, 3000, 3), np.uint8), [[900, 900], [1300, 1500]],
        ...                     file_name="a.png", subset="", label_name="a")
        >>> compact(face).image.shape
        (512, 512, 3)
    """
    longer = float((example.box[2:] - example.box[:2]).max())
    scale = min(1.0, _FINENESS * input_size / (geometry.CROP_SCALE * longer))
    size = math.ceil(_REACH * longer * scale)
    height, width = example.image.shape[:2]
    if height * width <= size * size:
        return example
    matrix = geometry.crop_matrix(example.box, size, _REACH)
    corners = geometry.transform_points(matrix, example.box.reshape(2, 2))
    labeled = example.visibility[:, None] > 0
    landmarks = geometry.transform_points(matrix, example.landmarks)
    return replace(
        example,
        image=geometry.crop_face(example.image, matrix, size),
        landmarks=np.where(labeled, landmarks, 0).astype(np.float32),
        box=corners.reshape(4).astype(np.float32),
    )
