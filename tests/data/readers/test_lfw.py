"""The reader of LFW. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import lfw
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train",), "LFW has no split 'train'"),
        (("dev_test",), "the split 'dev_test' needs the folder lfw and pairsDevTest.txt"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(lfw.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
