"""The reader of AFLW2000-3D. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import aflw2000_3d
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train",), "AFLW2000-3D has no split 'train'"),
        (("test", "3d"), "AFLW2000-3D has no labels '3d'"),
        (("test",), "holds no AFLW2000/imageNNNNN.jpg"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(aflw2000_3d.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
