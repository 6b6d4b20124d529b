"""The reader of WFLW. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import wflw
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("val",), "WFLW has no split 'val'; choose one of train, test"),
        (("test_blur",), "the split 'test_blur' needs WFLW_images and"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(wflw.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
