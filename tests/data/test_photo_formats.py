"""Which files are photos, and what is said about those that have to be converted."""

from __future__ import annotations

import importlib.util
import io
import re

import numpy as np
import pytest
from PIL import Image, features

from keras_facealign.data import photo_formats
from keras_facealign.data.images import read_image
from keras_facealign.data.photo_formats import foreign_format, photo_suffixes
from keras_facealign.errors import FaceAlignError

HEIF = importlib.util.find_spec("pillow_heif") is not None


def test_photos_are_what_pillow_reads():
    usual = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    assert usual | {".mpo", ".jp2", ".tga", ".ppm", ".pgm"} <= photo_suffixes()
    assert not photo_suffixes() & {".eps", ".ps", ".h5", ".mpg", ".fits", ".cr2", ".txt", ""}
    assert (".avif" in photo_suffixes()) == (".avif" in Image.registered_extensions())


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".mpo", ".tga"])
def test_such_files_are_read(suffix, tmp_path):
    pixels = np.full((16, 24, 3), 128, np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)
    np.testing.assert_allclose(read_image(path), pixels, atol=2)
    assert foreign_format(path.name) is None


@pytest.fixture
def without_heif(monkeypatch):
    monkeypatch.setattr(photo_formats, "enable_heif", lambda: False)


@pytest.mark.usefixtures("without_heif")
@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("IMG_1.HEIC", b"", ["is HEIC", "heif"]),
        ("renamed.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ["is HEIC", "convert"]),
        ("renamed.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ["is HEIC", "convert"]),
        ("a.NEF", b"II*\0", ["raw", "convert"]),
        ("a.dng", b"", ["raw", "convert"]),
        ("a.bin", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", ["raw", "convert"]),
        ("a.jxl", b"", ["JPEG XL", "convert"]),
        ("a.jpg", b"\xff\x0a\0", ["JPEG XL", "convert"]),
        ("a.jpg", b"%PDF-1.7", ["document"]),
        ("a.png", b"<svg xmlns", ["drawing"]),
    ],
)
def test_photos_to_be_converted_are_named(name, head, words, tmp_path):
    advice = foreign_format(name, head)
    assert advice is not None and all(word in advice for word in words)
    path = tmp_path / name
    path.write_bytes(head or b"II*\0 whatever it contains")
    with pytest.raises(FaceAlignError, match=re.escape(f"{name}: {advice}")):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "head"),
    [("a.jpg", b""), ("a.txt", b""), ("a", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"), ("b", b"ab")],
)
def test_other_files_are_not_recognized(name, head):
    assert foreign_format(name, head) is None


@pytest.mark.skipif(not HEIF, reason="pillow-heif is not installed")
@pytest.mark.parametrize("name", ["a.heic", "renamed.jpg"])
def test_heic_is_read_upright(name, tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :, 0] = 255
    assert photo_formats.enable_heif() and ".heic" in photo_suffixes()
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn clockwise, which the container gets, too
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "HEIF", quality=95, exif=turned.tobytes())
    (tmp_path / name).write_bytes(content.getvalue())
    expected = np.rot90(pixels, -1)
    np.testing.assert_allclose(read_image(tmp_path / name).astype(int), expected, atol=60)
    np.testing.assert_allclose(read_image(content.getvalue()).astype(int), expected, atol=60)


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        pytest.param(b"heic", "HEIC", marks=pytest.mark.skipif(not HEIF, reason="no pillow-heif")),
        pytest.param(
            b"avif",
            "AVIF",
            marks=pytest.mark.skipif(not features.check("avif"), reason="no AVIF in Pillow"),
        ),
    ],
)
def test_what_cannot_be_decoded_is_still_named(brand, name):
    damaged = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + bytes(300)
    with pytest.raises(FaceAlignError, match=f"is {name}, but cannot be decoded; .* JPEG"):
        read_image(damaged)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow is built without AVIF")
def test_avif_is_read(tmp_path):
    pixels = np.full((16, 24, 3), 128, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.avif")
    np.testing.assert_allclose(read_image(tmp_path / "a.avif"), pixels, atol=2)
