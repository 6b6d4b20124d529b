"""The reader of COFW68. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import cofw68
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train",), "COFW68 has no split 'train'; choose one of test"),
        (("test",), "holds no test_annotations; get COFW68_Data"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(cofw68.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
