"""`read_image` on every kind of picture it takes, and on those it must refuse."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_facealign.data import images
from keras_facealign.data.images import image_size, is_plain_jpeg, is_turned, read_image
from keras_facealign.errors import FaceAlignError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


def encode(picture: Image.Image, fmt: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=fmt, **options)
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header states a size that its (empty) body does not have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_from_path_bytes_and_pil(pixels, tmp_path, fmt):
    content = encode(Image.fromarray(pixels), fmt)
    path = tmp_path / f"face.{fmt.lower()}"
    path.write_bytes(content)
    for source in (path, str(path), content, bytearray(content), Image.open(path)):
        image = read_image(source)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous and image.flags.writeable
        np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(pixels), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read_image(content), np.asarray(upright))
    np.testing.assert_array_equal(read_image(Image.open(io.BytesIO(content))), np.asarray(upright))


@pytest.mark.parametrize("orientation", [0, 9, 4000])
def test_unknown_exif_rotation_is_passed_over(pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(pixels), exif=exif)), pixels)


def test_broken_exif_does_not_cost_the_picture(pixels):
    content = encode(Image.fromarray(pixels), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_image(content), pixels)


def test_grayscale_is_repeated(pixels):
    gray = pixels[:, :, 0]
    expected = np.stack([gray] * 3, axis=-1)
    for source in (encode(Image.fromarray(gray)), gray, gray[:, :, None]):
        np.testing.assert_array_equal(read_image(source), expected)
    bits = Image.fromarray(gray > 127)
    assert bits.mode == "1"
    np.testing.assert_array_equal(read_image(encode(bits)), np.where(expected > 127, 255, 0))


def test_transparency_is_laid_over_white(pixels):
    alpha = np.random.default_rng(1).integers(0, 256, (7, 5), dtype=np.uint8)
    alpha[0, 0], alpha[0, 1] = 0, 255
    rgba = np.dstack([pixels, alpha])
    share = alpha[:, :, None] / 255.0
    expected = np.floor(pixels * share + 255 * (1 - share) + 0.5)
    for source in (encode(Image.fromarray(rgba)), rgba):
        image = read_image(source)
        np.testing.assert_allclose(image, expected, atol=0.5001)
        assert image[0, 0].tolist() == [255, 255, 255]
        np.testing.assert_array_equal(image[0, 1], pixels[0, 1])


def test_transparent_palette_color_becomes_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    content = encode(picture, "GIF", transparency=0)
    assert read_image(content).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_sixteen_bits_are_scaled():
    values = np.array([[0, 65535, 257 * 100], [128, 129, 32768]], np.uint16)
    expected = np.array([[0, 255, 100], [0, 1, 128]], np.uint8)
    for source in (encode(Image.fromarray(values)), values):
        image = read_image(source)
        for channel in range(3):
            np.testing.assert_array_equal(image[:, :, channel], expected)


def test_cmyk_jpeg_becomes_rgb():
    content = encode(Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), "JPEG")
    image = read_image(content)
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - [200, 30, 30]).max() < 12


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
def test_wider_number_types_with_values_to_255(pixels, dtype):
    np.testing.assert_array_equal(read_image(pixels.astype(dtype)), pixels)


def test_floats_are_rounded_and_black_is_accepted():
    assert read_image(np.array([[2.4, 2.6]]))[0, :, 0].tolist() == [2, 3]
    assert read_image(np.zeros((2, 2, 3), "float32")).max() == 0
    assert read_image(Image.fromarray(np.array([[7.0]], "float32"))).tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 2, 3), 0.5), "looks like a 0 to 1 image; multiply it by 255"),
        (np.full((2, 2, 3), np.nan), "has the value nan"),
        (np.full((2, 2, 3), np.inf), "has the value inf"),
        (np.full((2, 2, 3), -3.0), "has the value -3"),
        (np.full((2, 2, 3), 255.5), "has the value 255.5"),
        (np.full((2, 2, 3), 300), "has the value 300"),
        (np.full((2, 2), 255, np.uint16), "convert it to 8 bits"),
        (np.zeros((2, 2), bool), "has dtype bool"),
        (np.array([["a"]]), "has dtype <U1"),
        (np.zeros((3, 8, 8), np.uint8), r"has shape \(3, 8, 8\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), "has shape"),
        (np.zeros((0, 5, 3), np.uint8), "is 5x0 pixels"),
    ],
)
def test_unclear_arrays_are_refused(array, message):
    with pytest.raises(FaceAlignError, match=f"^photo: .*{message}"):
        read_image(array, name="photo")


def test_other_types_are_refused():
    with pytest.raises(FaceAlignError, match="list is not an image"):
        read_image([[1, 2]])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"not a picture", "not an image of a known format"),
        (b"\x89PNG\r\n\x1a\n", "not an image of a known format|not a readable image|damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "EPS|readable"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(FaceAlignError, match=rf"face\.png: .*({message})") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "BMP", "TIFF", "GIF"])
def test_every_truncation_gives_a_picture_or_a_clear_error(fmt):
    noise = np.random.default_rng(2).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), fmt)
    refused = 0
    for stop in range(1, len(content), max(1, len(content) // 60)):
        try:
            assert read_image(content[:stop]).shape == (24, 24, 3)
        except FaceAlignError:
            refused += 1
    assert refused > 30


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FaceAlignError, match=r"gone\.jpg: cannot be opened \(No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(FaceAlignError, match="is not a regular file"):
        read_image(tmp_path)
    with pytest.raises(FaceAlignError, match="holds 0 bytes"):
        read_image(b"")


@pytest.mark.parametrize(("width", "height"), [(20_000, 6_000), (60_000, 60_000)])
def test_huge_pictures_are_refused_from_their_header(width, height):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FaceAlignError, match=r"120000000 pixels, over|too many pixels"):
            read_image(png_of_size(width, height))


def test_pixel_limit_counts_the_last_allowed_pixel(pixels):
    content = encode(Image.fromarray(pixels))
    assert read_image(content, max_pixels=35).shape == (7, 5, 3)
    for source in (content, pixels):
        with pytest.raises(FaceAlignError, match="5x7 = 35 pixels, over the limit of 34"):
            read_image(source, max_pixels=34)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_turn_without_decoding(tmp_path, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels[:, :3].copy()).save(path, exif=exif)
    height, width = read_image(path).shape[:2]
    assert height != width and image_size(path) == (width, height)
    assert is_turned(path) == (orientation > 1)


def test_the_size_of_what_is_no_image(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"text")
    with pytest.raises(FaceAlignError, match="not a readable image"):
        image_size(path)
    assert not is_turned(path)


def test_is_plain_jpeg(tmp_path, pixels):
    picture = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 8
    cases = {
        "plain.jpg": (encode(picture, "JPEG"), True),
        "gray.jpg": (encode(picture.convert("L"), "JPEG"), False),
        "cmyk.jpg": (encode(picture.convert("CMYK"), "JPEG"), False),
        "turned.jpg": (encode(picture, "JPEG", exif=turned), False),
        "picture.png": (encode(picture), False),
        "text.jpg": (b"text", False),
    }
    for name, (content, expected) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert is_plain_jpeg(tmp_path / name) is expected, name
    assert is_plain_jpeg(tmp_path / "gone.jpg") is False


def test_pictures_far_larger_than_their_files_are_refused(monkeypatch):
    """Sixteen megapixels are free, more have to be in proportion to the file."""
    monkeypatch.setattr(images, "_FREE_PIXELS", 90 * 100)
    noise = np.random.default_rng(3).integers(0, 256, (91, 100), dtype=np.uint8)
    flat = encode(Image.fromarray(noise * 0))
    assert len(flat) * 50 < 9100 < len(encode(Image.fromarray(noise))) * 50
    assert read_image(encode(Image.fromarray(noise))).shape == (91, 100, 3)
    with pytest.raises(FaceAlignError, match=rf"100x91 pixels in {len(flat)} bytes of PNG.*9000"):
        read_image(flat)
    assert read_image(encode(Image.fromarray(noise[:90] * 0))).shape == (90, 100, 3)


def test_formats_that_decode_slowly_have_a_limit_of_their_own(monkeypatch):
    """A file of such a format may have a megapixel, whatever its size."""
    monkeypatch.setattr(images, "_SLOW_PIXELS", 90 * 100)
    picture = Image.new("1", (96, 96))
    assert read_image(encode(picture.crop((0, 0, 96, 90)), "MSP")).shape == (90, 96, 3)
    with pytest.raises(FaceAlignError, match=r"96x96 pixels in \d+ bytes of MSP.*9000.*JPEG"):
        read_image(encode(picture, "MSP"))


def test_pictures_of_a_thousand_scans_are_refused(monkeypatch):
    """Each scan of a progressive JPEG passes over all pixels, however few bytes it has."""
    content = encode(Image.new("L", (300, 200), 90), "JPEG", progressive=True)
    scan, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    slow = content[:scan] + content[scan:end] * 1000 + content[end:]
    assert read_image(slow).shape == (200, 300, 3)
    monkeypatch.setattr(images, "_SCANNED_PIXELS", 50_000_000)
    assert read_image(content).shape == (200, 300, 3)
    with pytest.raises(FaceAlignError, match=r"300x200 pixels in 10\d\d scans"):
        read_image(slow)
