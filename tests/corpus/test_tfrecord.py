"""TFRecord files: what TensorFlow writes is read, and damage is named."""

from __future__ import annotations

import base64
import io
import random

import pytest

from keras_facealign.corpus.tfrecord import bytes_features, crc32c, read_records
from keras_facealign.errors import FaceAlignError
from tests.corpus.samples import example, record

# Written by tf.io.TFRecordWriter: the features image=b"\xff\xd8 photo", id=b"a", label=7 (integer),
# score=0.5 (float) and names=[b"x", b"y"].
WRITTEN = base64.b64decode(
    "XAAAAAAAAADJzfmPCloKCwoCaWQSBQoDCgFhChUKBWltYWdlEgwKCgoI/9ggcGhvdG8KDgoFbGFiZWwSBRoDCgEHCh"
    "EKBW5hbWVzEggKBgoBeAoBeQoRCgVzY29yZRIIEgYKBAAAAD/Gt0hg"
)


@pytest.mark.parametrize(
    ("content", "expected"),  # of RFC 3720, section B.4
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_published_checksums(content, expected):
    assert crc32c(content) == expected


def test_checksums_of_any_length_are_those_of_the_definition():
    generator = random.Random(1)
    for size in [*range(1, 20), 127, 128, 129, 1001]:
        content = generator.randbytes(size)
        register = 0xFFFFFFFF
        for byte in content:
            register ^= byte
            for _ in range(8):
                register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
        assert crc32c(content) == register ^ 0xFFFFFFFF


def open_records(path, content, max_bytes=1000):
    path.write_bytes(content)
    with path.open("rb") as stream:
        return list(read_records(stream, "a.tfrecord", max_bytes))


def test_a_file_that_tensorflow_wrote(tmp_path):
    (content,) = open_records(tmp_path / "a", WRITTEN)
    features = bytes_features(content)
    assert features["image"] == [b"\xff\xd8 photo"]
    assert features["id"] == [b"a"]
    assert features["names"] == [b"x", b"y"]
    assert features["label"] == features["score"] == []


def test_one_record_with_another_checksum_leaves_the_others(tmp_path):
    damaged = bytearray(record(b"second"))
    damaged[14] ^= 1
    content = record(b"first") + bytes(damaged) + record(b"third")
    first, error, third = open_records(tmp_path / "a", content)
    assert (first, third) == (b"first", b"third")
    assert "record 1 has another checksum" in str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (record(b"first")[:-1], "record 0 is cut off"),
        (record(b"first") + b"\0" * 5, "cut off at record 1"),
        (b"\x1f\x8b" + bytes(100), "record 0 has no valid length"),
        (record(bytes(2000)), "record 0 has more than 1000 bytes"),
    ],
)
def test_files_whose_rest_cannot_be_read(content, reason, tmp_path):
    with pytest.raises(FaceAlignError, match=reason):
        open_records(tmp_path / "a", content)


def test_damaged_examples_raise_nothing_else_than_value_errors():
    generator = random.Random(2)
    whole = example(image=bytes(200), id=b"key", other=b"x" * 300)
    for _ in range(500):
        content = bytearray(whole[: generator.choice([len(whole), generator.randrange(1, 500)])])
        content[generator.randrange(len(content))] = generator.randrange(256)
        try:
            found = bytes_features(bytes(content))
        except ValueError:
            continue
        assert all(isinstance(v, bytes) for values in found.values() for v in values)


def test_an_empty_file_has_no_records(tmp_path):
    assert open_records(tmp_path / "a", b"") == []
    assert bytes_features(io.BytesIO().getvalue()) == {}
