"""Reads TFRecord files of `tf.train.Example` without TensorFlow.

https://www.tensorflow.org/tutorials/load_data/tfrecord describes both formats. A record is its
length (8 bytes, little-endian), a checksum of that, its content, and a checksum of that.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cache
from typing import IO

import numpy as np

from keras_facealign.errors import FaceAlignError

# Castagnoli's polynomial, lowest bit first.
_POLYNOMIAL = np.uint32(0x82F63B78)


@cache
def _advance(level: int) -> np.ndarray:
    """Tables (4, 256) of what 2**level zero bytes make of each byte of a checksum's register."""
    if level:
        half = _advance(level - 1)
        return _apply(half, half)
    register = np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    for _ in range(8):
        register = (register >> 1) ^ np.where(register & 1, _POLYNOMIAL, np.uint32(0))
    return register


def _apply(tables: np.ndarray, register: np.ndarray) -> np.ndarray:
    parts = (tables[i][(register >> np.uint32(8 * i)) & np.uint32(255)] for i in range(4))
    return np.bitwise_xor.reduce(list(parts))


def crc32c(content: bytes | memoryview) -> int:
    """Computes the CRC-32C (Castagnoli) of bytes.

    The checksums of halves are combined, all pairs of a level at once.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    size = len(content)
    parts = _advance(0)[0][np.frombuffer(content, np.uint8)]
    level = 0
    while len(parts) > 1:
        if len(parts) % 2:
            parts = np.concatenate([np.zeros(1, np.uint32), parts])
        parts = _apply(_advance(level), parts[::2]) ^ parts[1::2]
        level += 1
    start = np.full(1, 0xFFFFFFFF, np.uint32)
    for bit in range(size.bit_length()):
        if size >> bit & 1:
            start = _apply(_advance(bit), start)
    return int(parts.sum(dtype=np.uint32) ^ start[0]) ^ 0xFFFFFFFF


def masked_crc32c(content: bytes | memoryview) -> int:
    """Computes the checksum as TFRecord files store it.

    Example:
        >>> masked_crc32c(b"")
        2726488792
    """
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(stream: IO[bytes], name: str, max_bytes: int) -> Iterator[bytes | FaceAlignError]:
    """Yields the records of a TFRecord file.

    Args:
        stream: The open file.
        name: What error messages call it.
        max_bytes: Largest record.

    Yields:
        The content of a record, or an error in place of one whose checksum is wrong.

    Raises:
        FaceAlignError: If the rest of the file cannot be read.
    """
    left = os.fstat(stream.fileno()).st_size
    number = 0
    while left:
        head = stream.read(12)
        if len(head) < 12:
            raise FaceAlignError(f"{name}: is cut off at record {number}; copy it again")
        if masked_crc32c(head[:8]) != int.from_bytes(head[8:], "little"):
            raise FaceAlignError(
                f"{name}: record {number} has no valid length; copy the file again, and if it is "
                "compressed, uncompress it"
            )
        (size,) = struct.unpack("<Q", head[:8])
        if size > max_bytes or size + 16 > left:
            reason = "is cut off" if size + 16 > left else f"has more than {max_bytes} bytes"
            raise FaceAlignError(f"{name}: record {number} {reason} ({size} bytes); copy it again")
        content, end = stream.read(size), stream.read(4)
        if masked_crc32c(content) == int.from_bytes(end, "little"):
            yield content
        else:
            yield FaceAlignError(
                f"{name}: record {number} has another checksum than its content; copy it again"
            )
        left -= size + 16
        number += 1


def bytes_features(example: bytes) -> dict[str, list[bytes]]:
    """Reads the features of a `tf.train.Example` that are lists of bytes.

    Raises:
        ValueError: If it is none.
    """
    features: dict[str, list[bytes]] = {}
    for _, group in _fields(memoryview(example), 1):
        for _, entry in _fields(group, 1):
            parts = dict(_fields(entry))
            lists = _fields(parts.get(2, memoryview(b"")), 1)
            values = [bytes(value) for _, values in lists for _, value in _fields(values, 1)]
            features[str(parts.get(1, b""), "utf-8")] = values
    return features


def _fields(content: memoryview, wanted: int | None = None) -> Iterator[tuple[int, memoryview]]:
    """Yields the fields of a protocol buffer that have a length: their numbers and contents."""
    place = 0
    while place < len(content):
        tag, place = _integer(content, place)
        kind, start = tag & 7, place
        if kind == 0:
            _, place = _integer(content, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            size, start = _integer(content, place)
            place = start + size
        else:
            raise ValueError(f"a field of kind {kind}")
        if place > len(content):
            raise ValueError("a field that is cut off")
        if kind == 2 and wanted in (None, tag >> 3):
            yield tag >> 3, content[start:place]


def _integer(content: memoryview, place: int) -> tuple[int, int]:
    """Reads an integer of 7 bits a byte; returns it and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            break
        value |= (content[place] & 127) << shift
        place += 1
        if content[place - 1] < 128:
            return value, place
    raise ValueError("an integer that does not end")
