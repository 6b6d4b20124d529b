"""Which files are photos: those that Pillow reads here, and those to be converted first."""

from __future__ import annotations

from functools import cache
from pathlib import PurePath

from PIL import Image

# What Pillow identifies without decoding it, executes, or reads as measurements.
_NO_PHOTOS = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}

_RAW = """
    .3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef
    .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f
"""
_HEIF = (".heic", ".heics", ".heif", ".heifs", ".hif")
# Brands in the first box of the file; HEIC and AVIF share others.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "heif"),
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    b"crx ": "raw",
}
_ADVICE = {
    "heif": 'is HEIC; run pip install "keras_facealign[heif]", or convert it to JPEG',
    "raw": "is a camera's raw file; convert it to JPEG or PNG, for example with darktable",
    "avif": "is AVIF, which Pillow reads from version 11.3 on; update it, or convert it to JPEG",
    "jxl": "is JPEG XL; convert it to JPEG or PNG, for example with djxl",
    "jxr": "is JPEG XR; convert it to JPEG or PNG",
    "svg": "is a drawing and no raster image; convert it to PNG",
    "pdf": "is a document and no raster image; convert its pages to PNG",
}
_SUFFIXES = {
    **dict.fromkeys(_RAW.split(), "raw"),
    **dict.fromkeys(_HEIF, "heif"),
    **dict.fromkeys((".avif", ".avifs"), "avif"),
    **dict.fromkeys((".jxr", ".wdp", ".hdp"), "jxr"),
    ".jxl": "jxl",
}


@cache
def enable_heif() -> bool:
    """Makes Pillow read HEIC files, if pillow-heif is installed (extra `heif`); tells whether."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@cache
def photo_suffixes() -> frozenset[str]:
    """Returns the lower-case suffixes of the photos that can be read here.

    Example:
        >>> {".jpg", ".jfif", ".png", ".tga"} <= photo_suffixes()
        True
    """
    enable_heif()
    Image.init()
    # MPO, which some cameras write, is opened as JPEG.
    formats = (set(Image.OPEN) | {"MPO"}) - _NO_PHOTOS
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in formats) - {*_RAW.split()}


def foreign_format(name: str, head: bytes = b"") -> str | None:
    """Recognizes a photo that cannot be read here, by its name or its first bytes.

    Args:
        name: Name of the file.
        head: The first bytes of the file, 64 for example, if they are known.

    Returns:
        What it is and how to convert it, to be put after the name; None for any other file.

    Example:
        >>> foreign_format("IMG_1.CR2")
        "is a camera's raw file; convert it to JPEG or PNG, for example with darktable"
        >>> foreign_format("IMG_1.jpg") is None
        True
    """
    kind = _kind(head) or _SUFFIXES.get(PurePath(name).suffix.lower())
    if kind is None or (kind == "heif" and enable_heif()):
        return None
    if kind == "avif" and ".avif" in photo_suffixes():
        return None
    return _ADVICE[kind]


def undecodable_format(head: bytes) -> str | None:
    """What to say of a photo of a known kind that could not be decoded, to be put after its name.

    Example:
        >>> undecodable_format(bytes.fromhex("00000018") + b"ftypheic")
        'is HEIC, but cannot be decoded; if it is not damaged, convert it to JPEG'
    """
    name = {"heif": "HEIC", "avif": "AVIF"}.get(_kind(head) or "")
    return name and f"is {name}, but cannot be decoded; if it is not damaged, convert it to JPEG"


def _kind(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        end = min(len(head), int.from_bytes(head[:4], "big"))
        brands = (head[place : place + 4] for place in (8, *range(16, end, 4)))
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    if head.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")):
        return "jxl"
    if head.startswith(b"%PDF"):
        return "pdf"
    if head.startswith(b"<svg"):
        return "svg"
    return None
