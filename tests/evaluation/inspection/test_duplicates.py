"""Pictures that are there twice."""

from __future__ import annotations

import numpy as np
from PIL import Image

from keras_facealign.data.images import read_image
from keras_facealign.evaluation.inspection.duplicates import PictureHashes
from tests.evaluation.inspection.labeled import picture


def hashed(folder):
    hashes = PictureHashes()
    for path in sorted(folder.iterdir()):
        hashes.add(path.name, path, read_image(path))
    return hashes


def test_same_file_and_same_picture(tmp_path):
    for seed in range(12):
        Image.fromarray(picture(seed)).save(tmp_path / f"{seed:02d}.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "03.png").read_bytes())
    (tmp_path / "b.png").write_bytes((tmp_path / "03.png").read_bytes())
    brighter = np.clip(picture(5).astype(int) + 12, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).resize((150, 150)).save(tmp_path / "c.jpg", quality=60)
    hashes = hashed(tmp_path)
    assert hashes.exact() == [["03.png", "a.png", "b.png"]]
    assert hashes.near() == [("05.png", "c.jpg")]


def test_blank_pictures_and_mirror_images_are_no_duplicates(tmp_path):
    for level in (0, 10, 200):
        Image.new("RGB", (64, 64), (level,) * 3).save(tmp_path / f"{level}.png")
    Image.fromarray(picture(1)).save(tmp_path / "x.png")
    Image.fromarray(picture(1)[:, ::-1]).save(tmp_path / "y.png")
    hashes = hashed(tmp_path)
    assert hashes.exact() == [] and hashes.near() == []
