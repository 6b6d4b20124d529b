"""The reader of CFP. Its builder's test reads it through TFDS."""

from __future__ import annotations

import pytest

from keras_facealign.data.readers import cfp
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("pp",), "CFP has no split 'pp'; choose one of ff, fp"),
        (("ff",), "Pair_list_F.txt: cannot be opened"),
    ],
)
def test_unknown_splits_and_empty_folders(tmp_path, arguments, message):
    with pytest.raises(FaceAlignError) as caught:
        list(cfp.load_samples(tmp_path, *arguments))
    assert message in str(caught.value)
