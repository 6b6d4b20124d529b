"""Writes images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path

WRITTEN_BY = "keras_facealign"
"""Value of the EXIF tag "Software" of images that `write_image` writes."""

# The longest side that a JPEG can have.
_JPEG_SIDE = 65_500
_EXIF_SOFTWARE = 0x0131


def write_image(path: str | os.PathLike[str], image: np.ndarray, quality: int = 92) -> Path:
    """Writes an image; the extension of the file decides the format.

    Args:
        path: The file to write, for example `.jpg` or `.png`; an existing file is replaced. An
            image too long for JPEG is written as `.png`.
        image: uint8 (H, W, 3), RGB.
        quality: Quality of a JPEG, 1 to 95.

    Returns:
        The path written.

    Raises:
        FaceAlignError: If the extension is unknown or the file cannot be written.

    Example:
        >>> write_image("black.png", np.zeros((32, 32, 3), np.uint8))  # doctest: +SKIP
        PosixPath('black.png')
    """
    path = Path(path)
    if path.suffix.lower() in (".jpg", ".jpeg") and max(image.shape[:2]) > _JPEG_SIDE:
        path = path.with_suffix(".png")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise FaceAlignError(f"{path}: unknown image format {path.suffix!r}; use .jpg or .png")
    about = Image.Exif()
    about[_EXIF_SOFTWARE] = WRITTEN_BY
    # One of many files, which take little time to make again.
    with atomic_path(path, sync=False) as temporary:
        Image.fromarray(image).save(temporary, format=kind, quality=quality, exif=about)
    return path


def is_own_image(path: str | os.PathLike[str]) -> bool:
    """Returns whether an image was written by `write_image`, without decoding its pixels.

    Args:
        path: Any file; False if it is no image, or cannot be read.
    """
    if not os.path.isfile(path):
        return False
    try:
        with Image.open(path) as image:
            return image.getexif().get(_EXIF_SOFTWARE) == WRITTEN_BY
    except Exception:  # Pillow's plugins raise many kinds of error.
        return False
