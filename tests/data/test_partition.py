"""Parts of a data set: decided by names alone, disjoint, complete, of the promised sizes."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.partition import PARTS, part_of, split_groups, take_part
from keras_facealign.errors import FaceAlignError


def crc32(data):
    """CRC-32 bit by bit, as ITU-T V.42 has it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def example(name):
    box = np.array([0, 0, 1, 1], np.float32)
    return FaceExample(np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2)), np.ones(1), box, name, "")


def test_the_name_decides_by_a_checksum_that_never_changes():
    for i in range(200):
        name = f"image{i:05}"
        eighth = crc32(name.encode()) % 8
        expected = {0: "validation", 1: "calibration"}.get(eighth, "train")
        assert part_of(f"frontal/trainset/images/{name}.jpg") == expected


def test_folder_and_suffix_do_not_matter():
    names = ("image00041.png", "left/image00041.jpg", "a/b/image00041.jpeg", "image00041")
    assert len({part_of(name) for name in names}) == 1


def test_parts_are_disjoint_whole_and_of_their_sizes():
    faces = [example(f"f/{i}.jpg") for i in range(4000)]
    parts = {part: [e.file_name for e in take_part(faces, part)] for part in PARTS}
    together = [name for names in parts.values() for name in names]
    assert sorted(together) == sorted(e.file_name for e in faces)
    sizes = [len(parts[part]) / len(faces) for part in PARTS]
    np.testing.assert_allclose(sizes, [0.75, 0.125, 0.125], atol=0.02)


def test_the_order_stays_and_an_iterator_is_read_once():
    faces = (example(f"{i}.jpg") for i in range(100))
    numbers = [int(e.file_name[:-4]) for e in take_part(faces, "train")]
    assert numbers == sorted(numbers)
    assert next(faces, None) is None


def test_unknown_part():
    with pytest.raises(FaceAlignError, match="no part 'test'; choose one of train, calibration"):
        take_part([], "test")


def test_groups_are_held_out_whole_and_by_name():
    groups = [f"person {i // 3}" for i in range(60)]
    train, held = split_groups(groups, 0.2)
    assert sorted(train + held) == list(range(60))
    assert not {groups[i] for i in train} & {groups[i] for i in held}
    assert 10 <= len(held) <= 15
    # The order of the faces changes nothing.
    shuffled = groups[::-1]
    again = {shuffled[i] for i in split_groups(shuffled, 0.2)[1]}
    assert again == {groups[i] for i in held}


def test_large_groups_stay_and_one_group_cannot_be_divided():
    train, held = split_groups(["big"] * 50 + ["a", "b", "c"], 0.2)
    assert set(held) == {50, 51, 52} and len(train) == 50
    assert split_groups(["one"] * 5, 0.2) == ([0, 1, 2, 3, 4], [])
    train, held = split_groups(["x"] * 5 + ["y"] * 6, 0.1)
    assert held == [0, 1, 2, 3, 4]
    assert all(len(part) for part in split_groups(["a", "b"], 0.2))
