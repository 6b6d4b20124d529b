"""The reader of COFW. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import cofw
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("val",), "COFW has no split 'val'; choose one of train, test"),
        (("train",), "there is no COFW_train_color.mat, which holds the 1345 train"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(cofw.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
