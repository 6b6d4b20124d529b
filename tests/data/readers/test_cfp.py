"""The reader of CFP. Its builder's test reads it through TFDS."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.readers import cfp
from keras_facealign.errors import FaceAlignError
from tests.recognition.drawn import draw_cfp


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


def test_pictures_without_fiducials_stay_in_their_pairs(tmp_path):
    root = draw_cfp(tmp_path)
    path = root / "Data/Fiducials/001/frontal/01.txt"
    path.parent.mkdir(parents=True)
    path.write_text("1,2\n3.5,4\n")
    pairs = list(cfp.load_samples(root, "fp", strict=True))
    assert len(pairs) == 40 and sorted({pair.fold for pair in pairs}) == list(range(10))
    np.testing.assert_array_equal(pairs[0].landmarks[0], [[1, 2], [3.5, 4]])
    assert pairs[0].file_names[0] == "Data/Images/001/frontal/01.png"
    assert pairs[0].landmarks[1].shape == pairs[-1].landmarks[0].shape == (0, 2)


def test_damaged_fiducials_are_named(tmp_path):
    root = draw_cfp(tmp_path)
    path = root / "Data/Fiducials/001/frontal/01.txt"
    path.parent.mkdir(parents=True)
    path.write_text("1,2\nx,4\n")
    errors: list[FaceAlignError] = []
    assert len(list(cfp.load_samples(root, "fp", on_skip=errors.append))) == 38
    assert all("001/frontal/01.txt" in str(error) for error in errors)
