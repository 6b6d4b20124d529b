"""Writing images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.formats import write_image


def test_images_are_read_back(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    exact = write_image(tmp_path / "p.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(exact)), image)
    smooth = np.full((20, 30, 3), (200, 30, 90), np.uint8)
    close = np.asarray(Image.open(write_image(tmp_path / "p.jpg", smooth)))
    assert np.abs(close.astype(int) - smooth).max() <= 4
    long = write_image(tmp_path / "long.jpg", np.zeros((2, 66_000, 3), np.uint8))
    assert long.name == "long.png"
    assert Image.open(long).size == (66_000, 2)


def test_an_unknown_format_is_an_error(tmp_path):
    with pytest.raises(FaceAlignError, match="unknown image format ''"):
        write_image(tmp_path / "picture", np.zeros((2, 2, 3), np.uint8))
