"""Divides a data set into parts that depend only on its files' names."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.files import check_choice

PARTS = ("train", "calibration", "validation")
"""The parts: three quarters, an eighth and an eighth."""

_EIGHTHS = {0: "validation", 1: "calibration"}


def part_of(file_name: str) -> str:
    """Returns the part that a file belongs to, by its name without folder and suffix.

    Args:
        file_name: Any path; folders and suffix are ignored.

    Returns:
        One of `PARTS`.

    Example:
        >>> part_of("frontal/image00013.jpg") == part_of("image00013.png")
        True
    """
    return _EIGHTHS.get(zlib.crc32(PurePath(file_name).stem.encode()) % 8, "train")


def take_part(examples: Iterable[FaceExample], part: str) -> Iterator[FaceExample]:
    """Selects the examples of one part.

    Args:
        examples: Labeled faces.
        part: One of `PARTS`.

    Returns:
        An iterator of those whose `file_name` belongs to the part.

    Raises:
        FaceAlignError: If there is no such part.

    Example:
        >>> faces = take_part(merl_rav.load_samples(root, "train"), "calibration")  # doctest: +SKIP
    """
    check_choice(part, PARTS, "There is no part")
    return (example for example in examples if part_of(example.file_name) == part)
