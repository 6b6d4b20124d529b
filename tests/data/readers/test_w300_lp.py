"""The reader of 300W-LP. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import w300_lp
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("test",), "300W-LP has no split 'test'"),
        (("train", "3d"), "300W-LP has no labels '3d'; choose one of projected_3d"),
        (("train",), "holds none of the folders of 300W-LP"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(w300_lp.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
