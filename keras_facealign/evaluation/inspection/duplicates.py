"""Finds pictures that are there twice: the same file, or nearly the same pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from keras_facealign.storage.reading import open_regular

# Bits of 64 in which hashes of one picture, saved twice, may differ, and the mean difference of
# their thumbnails in gray levels.
_BITS, _GRAY = 6, 8.0
_SIDE = 16
# Pictures with less contrast look alike.
_LEAST_CONTRAST = 3.0
# Pictures that share a part of their hash; more of them are drawings, or black.
_LARGEST_BUCKET = 200
_CHUNK = 1 << 20


@dataclass
class PictureHashes:
    """Fingerprints of pictures, about 350 bytes each.

    Example:
        >>> hashes = PictureHashes()
        >>> for path in paths:  # doctest: +SKIP
        ...     hashes.add(path.name, path, read_image(path))
        >>> hashes.exact(), hashes.near()  # doctest: +SKIP
    """

    _names: list[str] = field(default_factory=list)
    _contents: dict[bytes, list[int]] = field(default_factory=dict)
    _hashes: list[int] = field(default_factory=list)
    _thumbnails: list[np.ndarray] = field(default_factory=list)

    def add(self, name: str, path: Path, image: np.ndarray) -> None:
        """Adds a picture.

        Args:
            name: Name to report.
            path: The file.
            image: Its pixels, uint8 (H, W, 3).
        """
        digest = hashlib.sha256()
        with open_regular(path) as stream:
            while content := stream.read(_CHUNK):
                digest.update(content)
        gray = Image.fromarray(image).convert("L")
        thumbnail = np.asarray(gray.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.uint8)
        steps = np.asarray(gray.resize((9, 8), Image.Resampling.BOX), np.int16)
        bits = np.packbits(steps[:, 1:] > steps[:, :-1])
        self._contents.setdefault(digest.digest(), []).append(len(self._names))
        self._names.append(name)
        self._hashes.append(int.from_bytes(bits.tobytes(), "big"))
        self._thumbnails.append(thumbnail)

    def exact(self) -> list[list[str]]:
        """Names of files with the same content."""
        return [[self._names[i] for i in same] for same in self._contents.values() if len(same) > 1]

    def near(self) -> list[tuple[str, str]]:
        """Pairs of pictures that look the same without being the same file."""
        # Of one more part than bits that differ, one part is the same.
        parts, width = _BITS + 1, -(-64 // (_BITS + 1))
        first = {same[0]: None for same in self._contents.values()}
        buckets: dict[tuple[int, int], list[int]] = {}
        for index in first:
            if float(self._thumbnails[index].std()) < _LEAST_CONTRAST:
                continue
            for part in range(parts):
                key = part, self._hashes[index] >> part * width & (1 << width) - 1
                buckets.setdefault(key, []).append(index)
        pairs = {
            pair
            for bucket in buckets.values()
            if len(bucket) <= _LARGEST_BUCKET
            for pair in combinations(bucket, 2)
        }
        return [(self._names[a], self._names[b]) for a, b in sorted(pairs) if self._alike(a, b)]

    def _alike(self, a: int, b: int) -> bool:
        if (self._hashes[a] ^ self._hashes[b]).bit_count() > _BITS:
            return False
        one, other = (self._thumbnails[i].astype(np.float64) for i in (a, b))
        # Apart from brightness.
        return float(np.abs((one - one.mean()) - (other - other.mean())).mean()) < _GRAY
