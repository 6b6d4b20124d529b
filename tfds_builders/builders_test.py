"""What all builders have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

import tfds_builders  # noqa: E402
from keras_facealign.data import read_image  # noqa: E402
from tfds_builders._common import EXTRA_FEATURES, stored_image  # noqa: E402

TURNED = Image.Exif()
TURNED[0x0112] = 6  # turn by 90 degrees clockwise to see it upright

HERE = Path(__file__).parent
NAMES = sorted(path.parent.name for path in HERE.glob("*/*_dataset_builder.py"))
FACES = [name for name in NAMES if name not in ("lfw_pairs", "cfp")]


def test_all_are_registered():
    assert len(NAMES) == 11
    assert set(NAMES) <= set(tfds.list_builders(with_community_datasets=False))
    assert sorted(tfds_builders.__all__) == sorted(f"{name}_dataset_builder" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_card_is_complete(name, tmp_path):
    info = tfds.builder(name, data_dir=tmp_path).info
    readme = (HERE / name / "README.md").read_text()
    assert "manual_dir" in readme and "```" in readme
    assert "research" in readme.lower()
    assert info.citation.count("@") >= 1 and "title = {" in info.citation
    assert info.homepage.startswith("http")
    assert (HERE / name / "TAGS.txt").read_text().startswith("content.data-type.image")


@pytest.mark.parametrize("name", FACES)
def test_features_are_called_and_shaped_alike(name, tmp_path):
    features = tfds.builder(name, data_dir=tmp_path).info.features
    count = features["landmarks"].shape[0]
    expected = {
        "image": ((None, None, 3), np.uint8),
        "landmarks": ((count, 2), np.float32),
        "visibility": ((count,), np.int32),
        "box": ((4,), np.float32),
        "file_name": ((), np.object_),
        "subset": ((), np.object_),
    }
    extras = {key: EXTRA_FEATURES[key][:2] for key in features if key not in expected}
    for key, (shape, dtype) in {**expected, **extras}.items():
        assert features[key].shape == shape, key
        assert features[key].np_dtype == dtype, key


def test_drawn_data_are_small():
    sizes = [path.stat().st_size for path in HERE.glob("*/dummy_data/**/*") if path.is_file()]
    assert sum(sizes) < 1_000_000


PICTURES = {
    "plain.png": ("RGB", {}, True),
    "plain.jpg": ("RGB", {"quality": 90}, True),
    "gray.png": ("L", {}, False),
    "gray.jpg": ("L", {}, False),
    "palette.png": ("P", {}, False),
    "alpha.png": ("RGBA", {}, False),
    "transparent.png": ("RGB", {"transparency": (1, 2, 3)}, False),
    "deep.png": ("I;16", {}, False),
    "cmyk.jpg": ("CMYK", {}, False),
    "turned.jpg": ("RGB", {"exif": TURNED}, False),
    "turned.png": ("RGB", {"exif": TURNED}, False),
}


@pytest.mark.parametrize("name", PICTURES)
def test_files_are_stored_only_where_all_decoders_agree(name, tmp_path):
    mode, options, plain = PICTURES[name]
    values = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(values[:, :, 0].astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(values).convert(mode)
    picture.save(tmp_path / name, **options)
    stored = stored_image(tmp_path / name, read_image(tmp_path / name))
    assert isinstance(stored, str) == plain
    feature = tfds.features.Image(shape=(None, None, 3))
    decoded = feature.decode_example_np(feature.encode_example(stored))
    expected = read_image(tmp_path / name)
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected.astype(int)).mean() <= (2 if plain else 0)


def test_neither_import_nor_build_uses_the_network(tmp_path):
    code = f"""
import socket
def refuse(*arguments, **options):
    raise AssertionError(f"network: {{arguments}}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import tensorflow_datasets as tfds
import tfds_builders
builder = tfds.builder("cofw68", data_dir={str(tmp_path)!r})
config = tfds.download.DownloadConfig(manual_dir={str(HERE / "cofw68" / "dummy_data")!r})
builder.download_and_prepare(download_config=config)
print("built", builder.info.splits["test"].num_examples)
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "built 3" in run.stdout
