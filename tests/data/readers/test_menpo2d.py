"""The reader of Menpo2D. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import menpo2d
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train", "frontal"), "Menpo2D has no 'train' of 'frontal'"),
        (("test", "profile"), "holds no test faces with 39 landmarks"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(menpo2d.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
