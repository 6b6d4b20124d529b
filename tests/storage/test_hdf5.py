"""HDF5 files: arrays are read only if they are what they claim, and no file ends the process."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import h5py
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage import hdf5
from keras_facealign.storage.hdf5 import check_arrays, check_dataset, check_hdf5, read_all
from tests.paths import TESTS

NUMBERS = np.arange(600, dtype="float32").reshape(20, 30)


@pytest.fixture(autouse=True)
def no_limits(monkeypatch):
    """`read_all` limits its process; here it is that of the tests."""
    monkeypatch.setattr(hdf5, "limit_process", lambda size: None)


def written(write: Callable[[h5py.File], object]) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def packed(file: h5py.File) -> h5py.Dataset:
    options = {"chunks": (10, 30), "compression": "gzip", "shuffle": True, "fletcher32": True}
    return file.create_dataset("a/packed", data=NUMBERS, **options)


def expanding(file: h5py.File) -> None:
    """A part of 1200 bytes that unpacks to 5 MB."""
    item = file.create_dataset("bomb", (20, 30), "f4", chunks=(10, 30), compression="gzip")
    item.id.write_direct_chunk((0, 0), zlib.compress(bytes(5_000_000)))


def unpacked_part(file: h5py.File) -> None:
    """A part that its mask says is not packed."""
    item = file.create_dataset("plain", (20, 30), "f4", chunks=(20, 30), compression="gzip")
    item.id.write_direct_chunk((0, 0), NUMBERS.tobytes(), filter_mask=1)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2, 3))
    file.create_virtual_dataset("virtual", layout)


def circle(file: h5py.File) -> None:
    group = file.create_group("a")
    group["self"] = group


def many(file: h5py.File) -> None:
    """Arrays that are small one by one."""
    for index in range(9):
        file.create_dataset(f"{index}", (3_000_000,), "f4", chunks=(1000,))


def test_good_files_are_read():
    content = written(lambda file: (packed(file), unpacked_part(file), file.create_group("b")))
    read_all(content, "f.h5")
    check_hdf5(content, "f.h5")
    with h5py.File(io.BytesIO(content), "r") as file:
        assert check_dataset(file["a/packed"], "f.h5: packed", len(content)) == NUMBERS.nbytes
        np.testing.assert_array_equal(file["plain"][()], NUMBERS)


@pytest.mark.parametrize(
    "write, message",
    [
        (expanding, "f.h5: /bomb unpacks to more than its size"),
        (virtual, "f.h5: /virtual points to other files"),
        (
            lambda file: file.create_dataset("out", (9,), "f8", external=[("/etc/passwd", 0, 72)]),
            "f.h5: /out points to other files",
        ),
        (
            lambda file: file.create_dataset("lzf", data=NUMBERS, compression="lzf"),
            "f.h5: /lzf is packed by the unknown filter 32000",
        ),
        (
            lambda file: file.create_dataset("huge", (10**9,), "f8", chunks=(100,)),
            "f.h5: /huge: the array would take 8000000000 bytes",
        ),
        (
            lambda file: file.create_dataset(
                "part", (10,), "f8", chunks=(10**7,), maxshape=(None,)
            ),
            "f.h5: /part: a part of the array would take 80000000 bytes",
        ),
        (many, "f.h5: its arrays would take 72000000 bytes"),
        (circle, "f.h5: has too many objects"),
        (lambda file: file.__setitem__("soft", h5py.SoftLink("/a")), "f.h5: /soft is a link"),
        (
            lambda file: file.__setitem__("out", h5py.ExternalLink("other.h5", "/a")),
            "f.h5: /out is a link",
        ),
    ],
)
def test_what_is_more_or_elsewhere_is_refused(write, message):
    content = written(write)
    with (
        h5py.File(io.BytesIO(content), "r") as file,
        pytest.raises(FaceAlignError) as caught,
    ):
        check_arrays(file, "f.h5", len(content))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_damage_in_the_data_is_an_error():
    content = bytearray(written(packed))
    place = content.index(zlib.compress(b"", 4)[:2])
    content[place + 40 : place + 60] = bytes(20)
    with pytest.raises(FaceAlignError, match=r"^f\.h5: .*cannot be read"):
        read_all(bytes(content), "f.h5")


def test_a_file_that_ends_the_process_that_reads_it_is_an_error():
    (path,) = (TESTS / "fuzz" / "corpus" / "weights").glob("SIGABRT.bin")
    with pytest.raises(FaceAlignError, match=r"^f\.h5: .*(SIGABRT|SIGSEGV|cannot be read)"):
        check_hdf5(path.read_bytes(), "f.h5")
