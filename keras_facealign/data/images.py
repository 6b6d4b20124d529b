"""Reading images of any format and type as `(H, W, 3)` uint8 RGB, upright."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from keras_facealign.data.photo_formats import foreign_format, undecodable_format
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line, open_regular

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif")
"""Lower-case suffixes of image files, the lossless formats first."""

MAX_PIXELS = 110_000_000
"""Default limit of an image's size in pixels (width times height)."""

_EXIF_ORIENTATION = 0x0112
# Larger images have to have a byte for every so many pixels, as all photos do.
_FREE_PIXELS, _PIXELS_PER_BYTE = 16_000_000, 50
# Formats that Pillow decodes in Python, a megapixel in seconds.
_SLOW_FORMATS, _SLOW_PIXELS = ("QOI", "BLP", "DDS", "FTEX", "MSP", "FITS"), 1_000_000
# Scans of a JPEG that each pixel may have, and their pixels in all: a scan may be a few bytes.
_SCANS, _SCANNED_PIXELS = 20, 2_000_000_000
# Pixels that are converted at a time.
_STRIP_PIXELS = 1_000_000


def read_image(
    source: str | os.PathLike[str] | bytes | Image.Image | np.ndarray,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> np.ndarray:
    """Reads an image as RGB with values 0 to 255.

    Files and PIL images: every raster format Pillow reads, and HEIC if pillow-heif is installed
    (extra `heif`). The rotation in the EXIF data is
    applied, so a portrait photo from a phone comes out upright. Grayscale is repeated over the
    three channels, transparency is blended with white, 16-bit values are scaled to 8 bits (65535
    becomes 255), and the first frame of an animation is read. The size is checked in the header,
    before any pixel is decoded.

    Arrays: `(H, W)` or `(H, W, 1)` gray, `(H, W, 3)` RGB or `(H, W, 4)` RGBA.

    - uint8 is used unchanged; other integers must be 0 to 255.
    - uint16 must use the full 16-bit range, and is scaled as a 16-bit file is.
    - floats must be 0 to 255 and are rounded. An image whose values all lie within 0 to 1 is
      refused, since it is either scaled to 0-1 or almost black. An image of zeros is accepted.

    Args:
        source: Path, encoded bytes, PIL image or NumPy array.
        max_pixels: Images with more pixels than this are refused.
        name: What error messages call the image. Default: its path, or its kind.

    Returns:
        A `(H, W, 3)` uint8 array, RGB, contiguous. It may share memory with `source`.

    Raises:
        FaceAlignError: The image is missing, empty, broken or too large, or has values, a shape or
            a type without a clear meaning.

    Example:
        >>> read_image(np.full((2, 2), 7, "uint8"), name="gray").shape
        (2, 2, 3)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels, name or "the image array")
    if isinstance(source, Image.Image):
        return _from_pil(source, max_pixels, name or "the PIL image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        name = name or "the image bytes"
        if len(source) == 0:
            raise FaceAlignError(f"{name}: holds 0 bytes; give the content of an image file")
        return _from_stream(io.BytesIO(source), max_pixels, name)
    if isinstance(source, (str, os.PathLike)):
        name = name or str(source)
        with open_regular(source, name) as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise FaceAlignError(f"{name}: the file is empty; replace or remove it")
            return _from_stream(stream, max_pixels, name)
    raise FaceAlignError(
        f"{name or 'the image'}: {type(source).__name__} is not an image; give a path, bytes, "
        "a PIL image or a NumPy array"
    )


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Reads the size of an upright image from its header, without decoding it.

    Args:
        path: An image file.

    Returns:
        Width and height in pixels, those of what `read_image` returns.

    Raises:
        FaceAlignError: The file is missing or no image.
    """
    with open_regular(path) as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        try:
            with Image.open(stream) as picture:
                width, height = picture.size
                turned = _exif_orientation(picture) in (5, 6, 7, 8)
        except Exception as error:  # Pillow's plugins raise many kinds of error.
            raise FaceAlignError(
                f"{path}: not a readable image ({one_line(error)}); replace or remove it"
            ) from error
    return (height, width) if turned else (width, height)


def is_turned(path: str | os.PathLike[str]) -> bool:
    """Whether `read_image` turns or mirrors an image as its EXIF data say.

    Labels that were made without doing so do not fit it.

    Args:
        path: An image file that `read_image` reads.
    """
    try:
        with open_regular(path) as stream, Image.open(stream) as picture:
            return _exif_orientation(picture) in range(2, 9)
    except Exception:  # Pillow's plugins raise many kinds of error.
        return False


def is_plain_jpeg(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a three-channel JPEG without rotation.

    Every decoder gives what `read_image` gives for it, so its bytes can be stored unchanged.

    Args:
        path: An image file that `read_image` reads.

    Returns:
        False for any other file, readable or not.
    """
    try:
        with open_regular(path) as stream, Image.open(stream) as picture:
            return (
                picture.format == "JPEG"
                and picture.mode == "RGB"
                and _exif_orientation(picture) not in range(2, 9)
            )
    except Exception:  # Pillow's plugins raise many kinds of error.
        return False


def _from_stream(stream: Any, max_pixels: int, name: str) -> np.ndarray:
    with warnings.catch_warnings():
        # Pillow warns above 89 megapixels, and of damage that it then raises or repairs.
        warnings.filterwarnings("ignore", module="PIL")
        return _decode(stream, max_pixels, name)


def _decode(stream: Any, max_pixels: int, name: str) -> np.ndarray:
    head = stream.read(64)
    if advice := foreign_format(name, head):
        raise FaceAlignError(f"{name}: {advice}")
    stream.seek(0)
    try:
        picture = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise FaceAlignError(
            f"{name}: has too many pixels ({one_line(error)}); make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        advice = undecodable_format(head) or "not an image of a known format; replace or remove it"
        raise FaceAlignError(f"{name}: {advice}") from error
    except Exception as error:  # Pillow's plugins raise many kinds of error on a broken header.
        raise FaceAlignError(
            f"{name}: not a readable image ({one_line(error)}); replace or remove it"
        ) from error
    with picture:
        if picture.format == "EPS":
            # Pillow decodes EPS with Ghostscript, which executes the file.
            raise FaceAlignError(f"{name}: EPS is not a raster image; save it as PNG or JPEG")
        _check_size(picture.width, picture.height, max_pixels, name)
        _check_claim(picture, stream, name)
        return _from_pil(picture, max_pixels, name)


def _check_claim(picture: Image.Image, stream: Any, name: str) -> None:
    """Checks that an image is not much larger than its file, as a crafted one may be."""
    pixels, size = picture.width * picture.height, stream.seek(0, os.SEEK_END)
    slow = picture.format in _SLOW_FORMATS
    limit = max(_SLOW_PIXELS if slow else _FREE_PIXELS, 0 if slow else _PIXELS_PER_BYTE * size)
    if pixels > limit:
        raise FaceAlignError(
            f"{name}: is {picture.width}x{picture.height} pixels in {size} bytes of "
            f"{picture.format}, and the limit is {limit}; save it as JPEG, or make it smaller"
        )
    if picture.format in ("JPEG", "MPO"):
        stream.seek(0)
        scans = stream.read().count(b"\xff\xda")
        if scans > _SCANS and scans * pixels > _SCANNED_PIXELS:
            raise FaceAlignError(
                f"{name}: is {picture.width}x{picture.height} pixels in {scans} scans, which take "
                "too long; save it again"
            )


def _from_pil(picture: Image.Image, max_pixels: int, name: str) -> np.ndarray:
    _check_size(picture.width, picture.height, max_pixels, name)
    try:
        picture.load()
        orientation = _exif_orientation(picture)
        rgb = _pil_to_rgb(picture, name)
    except (FaceAlignError, MemoryError):
        raise
    except Exception as error:  # As above, for a truncated or damaged body.
        raise FaceAlignError(
            f"{name}: the image data is damaged ({one_line(error)}); replace or remove it"
        ) from error
    return np.ascontiguousarray(_turn_upright(rgb, orientation))


def _pil_to_rgb(picture: Image.Image, name: str) -> np.ndarray:
    if picture.mode == "F":
        return _from_array(np.asarray(picture), picture.width * picture.height, name)
    if picture.mode.startswith("I"):  # "I;16", "I;16B" and so on; some 16-bit files are "I"
        low, high = 0, 65535
        values = np.empty((picture.height, picture.width), np.uint16)
        for rows, strip in _strips(picture):
            part = np.asarray(strip)
            low, high = min(low, part.min()), max(high, part.max())
            values[rows] = part
        if low < 0 or high > 65535:
            raise FaceAlignError(
                f"{name}: has the value {low if low < 0 else high}, outside 16 bits; save it with "
                "8 bits a channel"
            )
        return _gray_to_rgb(_to_uint8(values, name))
    transparent = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    transparent |= "transparency" in picture.info
    rgb = np.empty((picture.height, picture.width, 3), np.uint8)
    for rows, strip in _strips(picture):
        if transparent:
            rgb[rows] = _over_white(np.asarray(strip.convert("RGBA")))
        else:
            rgb[rows] = np.asarray(strip.convert("RGB"))
    return rgb


def _strips(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yields an image piece by piece, each with its rows: conversions copy it several times."""
    step = max(1, _STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, step):
        bottom = min(top + step, picture.height)
        yield slice(top, bottom), picture.crop((0, top, picture.width, bottom))


def _from_array(array: np.ndarray, max_pixels: int, name: str) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise FaceAlignError(
            f"{name}: has shape {array.shape}; give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        )
    _check_size(array.shape[1], array.shape[0], max_pixels, name)
    values = _to_uint8(array, name)
    if values.ndim == 2 or values.shape[2] == 1:
        return _gray_to_rgb(values.reshape(values.shape[:2]))
    if values.shape[2] == 4:
        return _over_white(values)
    return np.ascontiguousarray(values)


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        if 0 < array.max() <= 255:
            raise FaceAlignError(
                f"{name}: has 16 bits but no value above {array.max()}; convert it to 8 bits if "
                "its range is 0 to 255"
            )
        return _sixteen_to_eight(array)
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise FaceAlignError(
            f"{name}: has dtype {array.dtype}; give uint8, or numbers from 0 to 255"
        )
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise FaceAlignError(f"{name}: has the value {bad}; give finite numbers from 0 to 255")
    if array.min() < 0 or array.max() > 255:
        raise FaceAlignError(
            f"{name}: has the value {_first_outside(array, 0, 255)}; give numbers from 0 to 255"
        )
    if np.issubdtype(array.dtype, np.floating) and 0 < array.max() <= 1:
        raise FaceAlignError(
            f"{name}: has float values from {array.min():g} to {array.max():g}, which looks like "
            "a 0 to 1 image; multiply it by 255"
        )
    return np.rint(array).astype(np.uint8)


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width < 1 or height < 1:
        raise FaceAlignError(f"{name}: is {width}x{height} pixels; give at least one pixel")
    if width * height > max_pixels:
        raise FaceAlignError(
            f"{name}: is {width}x{height} = {width * height} pixels, over the limit of "
            f"{max_pixels}; make it smaller"
        )


def _gray_to_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


def _sixteen_to_eight(values: np.ndarray) -> np.ndarray:
    # 65535 = 255 * 257: both ends of the range are mapped exactly.
    scaled = np.empty(values.shape, np.uint8)
    for target, rows in zip(scaled, values, strict=True):
        target[...] = (rows.astype(np.uint32) + 128) // 257
    return scaled


def _over_white(rgba: np.ndarray) -> np.ndarray:
    color = rgba[:, :, :3].astype(np.uint32)
    alpha = rgba[:, :, 3:].astype(np.uint32)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _exif_orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # The pixels may be intact where the metadata are not.
        return 1


def _turn_upright(rgb: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return rgb


def _first_outside(values: np.ndarray, low: int, high: int) -> str:
    return f"{values[(values < low) | (values > high)][0]:g}"
