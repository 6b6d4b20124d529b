"""Labeled faces are cropped by their boxes and predicted in batches."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.examples import make_example
from keras_facealign.data.labeled_crops import predict_faces
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import transform_points


def test_faces_come_in_order_with_the_matrix_of_their_crop():
    rng = np.random.default_rng(0)
    faces = [
        make_example(
            np.full((60, 80, 3), 10 * i, np.uint8),
            rng.uniform(20, 50, (5, 2)),
            file_name=f"{i}.png",
            subset="",
            label_name=f"{i}.pts",
        )
        for i in range(5)
    ]
    sizes = []

    def predict(crops):
        sizes.append(len(crops))
        middles = crops[:, 16, 16, 0].astype(float)
        return np.repeat(middles[:, None, None], 2, axis=2), np.ones((len(crops), 1))

    found = list(predict_faces(iter(faces), predict, 32, batch_size=2))
    assert sizes == [2, 2, 1]
    assert [face.file_name for face, _, _ in found] == [f"{i}.png" for i in range(5)]
    for i, (face, matrix, points) in enumerate(found):
        assert points.tolist() == [[10.0 * i, 10.0 * i]]
        center = transform_points(matrix, (face.box[:2] + face.box[2:])[None] / 2)
        np.testing.assert_allclose(center, [[15.5, 15.5]], atol=1e-4)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_nothing_are_refused(batch_size):
    with pytest.raises(FaceAlignError, match=f"batch_size is {batch_size}"):
        next(predict_faces([], None, 32, batch_size))
