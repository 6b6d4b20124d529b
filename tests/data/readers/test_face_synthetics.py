"""The parts of FaceSynthetics, and its faces without pupils."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from keras_facealign.data.catalog import load
from keras_facealign.errors import FaceAlignError
from tests.data.readers.drawn_faces import real_copy


@pytest.fixture
def synthetics(tmp_path):
    """FaceSynthetics of twelve faces, numbered 3 to 14."""
    rng = np.random.default_rng(6)
    for number in range(3, 15):
        Image.new("RGB", (64, 64), (70, 80, 90)).save(tmp_path / f"{number:06}.png")
        np.savetxt(tmp_path / f"{number:06}_ldmks.txt", rng.uniform(5, 60, (70, 2)))
    return tmp_path


def test_parts_of_face_synthetics_by_the_last_digit(synthetics):
    def numbers(split):
        return [int(face.file_name[:6]) for face in load("face_synthetics", synthetics, split)]

    assert numbers("held_out") == [8, 9]
    assert numbers("train_part") == [3, 4, 5, 6, 7, 10, 11, 12, 13, 14]
    assert numbers("train") == list(range(3, 15))
    with pytest.raises(FaceAlignError, match="choose one of train, train_part, held_out"):
        load("face_synthetics", synthetics, "test")
    for number in (8, 9):
        for file in synthetics.glob(f"{number:06}*"):
            file.unlink()
    with pytest.raises(FaceAlignError, match="no face's number ends in 8 or 9"):
        load("face_synthetics", synthetics, "held_out")


def test_face_synthetics_without_pupils(synthetics):
    pairs = zip(
        load("face_synthetics", synthetics, "train"),
        load("face_synthetics/ibug68", synthetics, "train"),
        strict=True,
    )
    for whole, face in pairs:
        np.testing.assert_array_equal(face.landmarks, whole.landmarks[:68])
        np.testing.assert_array_equal(face.box[:2], whole.landmarks[:68].min(axis=0))
        assert face.visibility.shape == (68,)


def test_real_faces():
    root = real_copy("facesynthetics")
    counts = {
        split: len(list(load("face_synthetics/ibug68", root, split)))
        for split in ("train", "train_part", "held_out")
    }
    assert counts == {"train": 70, "train_part": 50, "held_out": 20}
