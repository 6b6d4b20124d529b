"""MERL-RAV on a small folder, and on the real copy where there is one."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from keras_facealign.data.readers import merl_rav
from keras_facealign.errors import FaceAlignError
from tests.data.readers.drawn_faces import make_face, real_copy


def test_merl_rav_visibility(tmp_path, caplog):
    images, labels = tmp_path / "left/trainset/images", tmp_path / "left/trainset/labels"
    make_face(images, "image1", suffix=".jpg")
    labels.mkdir()
    points = np.random.default_rng(1).uniform(2, 28, (68, 2))
    signed = points.copy()
    signed[::3] *= -1
    signed[1::3] = -1
    (labels / "image1.pts").write_text("\n".join(f"{x:.6f} {y:.6f}" for x, y in signed))
    (images / "image1.pts").unlink()
    with caplog.at_level(logging.WARNING):
        (example,) = merl_rav.load_samples(tmp_path, "train", strict=True)
    assert "without frontal/trainset, lefthalf/trainset" in caplog.text
    np.testing.assert_array_equal(example.visibility, [(1, 0, 2)[i % 3] for i in range(68)])
    known = example.visibility > 0
    np.testing.assert_allclose(example.landmarks[known], points[known] - 1, atol=2e-6)
    np.testing.assert_array_equal(example.landmarks[~known], 0)
    corners = np.concatenate([points[known].min(0), points[known].max(0)]) - 1
    np.testing.assert_allclose(example.box, corners, atol=2e-6)
    assert example.file_name == "left/trainset/images/image1.jpg"
    assert example.subset == "left/trainset"

    (labels / "image1.pts").write_text("-1 -1\n" * 68)
    with pytest.raises(FaceAlignError, match="no landmark has a position"):
        list(merl_rav.load_samples(tmp_path, "train", strict=True))
    with pytest.raises(FaceAlignError, match="holds no frontal/testset/images"):
        merl_rav.find_samples(tmp_path, "test")
    with pytest.raises(FaceAlignError, match="no split 'val'"):
        merl_rav.find_samples(tmp_path, "val")


def test_real_merl_rav_jaw_is_smooth_where_it_leaves_the_crop():
    """A wrong sign puts a landmark at its mirror image in the crop, or a picture's width away."""
    root = real_copy("merl_rav")
    bends, bends_of_mirror_image = [], []
    for example in merl_rav.load_samples(root, "train", strict=True):
        jaw, known = example.landmarks[:17], example.visibility[:17] > 0
        side = float(np.max(example.box[2:] - example.box[:2]))
        steps = np.linalg.norm(np.diff(jaw, axis=0), axis=1)[known[1:] & known[:-1]]
        assert (steps < 0.5 * side).all(), example.file_name
        for i in range(15):
            if known[i : i + 3].all() and (jaw[i] < -1).any() and (jaw[i + 1 : i + 3] > 0).all():
                bends.append(np.linalg.norm(jaw[i] - 2 * jaw[i + 1] + jaw[i + 2]) / side)
                mirrored = np.abs(jaw[i])
                bends_of_mirror_image.append(
                    np.linalg.norm(mirrored - 2 * jaw[i + 1] + jaw[i + 2]) / side
                )
    assert len(bends) > 0
    assert np.mean(bends) < 0.7 * np.mean(bends_of_mirror_image)
