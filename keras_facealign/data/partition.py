"""Divides a data set into parts that depend only on its files' names."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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


def split_groups(groups: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Holds a share of faces out, whole groups at a time, by nothing but the groups' names.

    Args:
        groups: The group of each face: its person, or its picture.
        share: Part of the faces to hold out, more than 0 and less than 1.

    Returns:
        Indices of the other faces, and of those held out; none of these if all are of one group.

    Example:
        >>> split_groups(["a", "a", "b", "c", "d"], 0.2)
        ([0, 1, 2, 4], [3])
    """
    sizes = Counter(groups)
    wanted = max(share * len(groups), 1)
    by_name = sorted(sizes, key=lambda name: (zlib.crc32(name.encode()), name))
    # A group that is much larger than the share stays; if all are, the smallest goes.
    small = [name for name in by_name if sizes[name] <= 1.5 * wanted]
    chosen, count = set(), 0
    for name in small or sorted(by_name, key=lambda name: sizes[name])[:1]:
        if count >= wanted or len(chosen) == len(sizes) - 1:
            break
        chosen.add(name)
        count += sizes[name]
    held = [index for index, name in enumerate(groups) if name in chosen]
    return [index for index, name in enumerate(groups) if name not in chosen], held
