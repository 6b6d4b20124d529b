"""MATLAB files: what SciPy and h5py write is read, and damaged or hostile files are refused."""

from __future__ import annotations

import io
import struct
import zlib

import h5py
import numpy as np
import pytest

from keras_facealign.data.mat import open_mat73, read_mat
from keras_facealign.errors import FaceAlignError

scipy_io = pytest.importorskip("scipy.io")

POINTS = np.random.default_rng(5).normal(100, 40, (68, 2))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8"])
def test_arrays_come_back(tmp_path, dtype, compressed):
    path = tmp_path / "face.mat"
    values = np.clip(POINTS, 0, 250).astype(dtype)
    other = {"name": "text", "list": np.array([1, "a"], object), "s": {"x": 1}}
    scipy_io.savemat(
        path, {**other, "Points": values, "Occ": np.ones((1, 3))}, do_compression=compressed
    )
    read = read_mat(path, {"Points": (68, 2), "Occ": (1, None)})
    assert list(read) == ["Points", "Occ"]
    assert read["Points"].dtype == dtype
    np.testing.assert_array_equal(read["Points"], values)


def test_big_endian_file(tmp_path):
    """Written by hand after MATLAB's description of the format."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    flags = element(6, struct.pack(">II", 6, 0))
    body = flags + element(5, struct.pack(">ii", 1, 2)) + element(1, b"ab")
    body += element(9, struct.pack(">dd", 1.5, -2))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    (tmp_path / "big.mat").write_bytes(header + element(14, body))
    np.testing.assert_array_equal(read_mat(tmp_path / "big.mat", {"ab": (1, 2)})["ab"], [[1.5, -2]])


OTHER_KINDS = {
    "cell": np.array([1, "a"], object),
    "struct": {"x": 1},
    "char": "text",
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_only_numbers_are_read(tmp_path, kind):
    path = tmp_path / "face.mat"
    scipy_io.savemat(path, {"Points": OTHER_KINDS[kind]})
    with pytest.raises(FaceAlignError, match=rf"face\.mat: Points is a {kind}, not numbers"):
        read_mat(path, {"Points": (68, 2)})


def test_complex_numbers_are_refused(tmp_path):
    path = tmp_path / "face.mat"
    scipy_io.savemat(path, {"Points": np.ones((68, 2)) * 1j})
    with pytest.raises(FaceAlignError, match="Points is complex, not real numbers"):
        read_mat(path, {"Points": (68, 2)})


def test_sparse_matrix_is_refused(tmp_path):
    from scipy.sparse import csc_matrix

    path = tmp_path / "face.mat"
    scipy_io.savemat(path, {"Points": csc_matrix(np.eye(4))})
    with pytest.raises(FaceAlignError, match="Points is a sparse, not numbers"):
        read_mat(path, {"Points": (4, 4)})


def test_wrong_shape_and_missing_array(tmp_path):
    path = tmp_path / "face.mat"
    scipy_io.savemat(path, {"Points": np.ones((21, 2))})
    with pytest.raises(FaceAlignError, match=r"face\.mat: Points is 21x2, but 68x2 is needed"):
        read_mat(path, {"Points": (68, 2)})
    with pytest.raises(FaceAlignError, match=r"Points is 21x2, but 1xN is needed"):
        read_mat(path, {"Points": (1, None)})
    with pytest.raises(FaceAlignError, match=r"face\.mat: holds no array 'Occ'"):
        read_mat(path, {"Occ": (1, 68)})


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "face.mat"
    with pytest.raises(FaceAlignError, match=r"face\.mat: cannot be opened \(No such file"):
        read_mat(path, {})
    for content, message in (
        (b"", "the file is empty"),
        (b"version: 1\n" * 20, "is not a MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file".ljust(600), "is a MATLAB 7.3 file, but version 5 is needed"),
        (b"x" * 2000, "is larger than 1000 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(FaceAlignError, match=message):
            read_mat(path, {}, max_bytes=1000)


def test_an_array_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.mat"
    packed = zlib.compress(bytes(60_000_000), 9)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    assert path.stat().st_size < 100_000
    with pytest.raises(FaceAlignError, match="unpacks to more than 1000000 bytes"):
        read_mat(path, {"Points": (68, 2)}, max_bytes=1_000_000)


def test_false_sizes_are_refused(tmp_path):
    """The size in an array's tag is not believed beyond what the array holds."""
    content = io.BytesIO()
    scipy_io.savemat(content, {"Points": POINTS})
    data = bytearray(content.getvalue())
    tag = data.index(struct.pack("<II", 9, 68 * 2 * 8))
    for size in (68 * 2 * 8 - 8, 2**31 - 8, 2**32 - 8):
        data[tag + 4 : tag + 8] = struct.pack("<I", size)
        (tmp_path / "face.mat").write_bytes(data)
        with pytest.raises(FaceAlignError, match=r"face\.mat: is damaged"):
            read_mat(tmp_path / "face.mat", {"Points": (68, 2)})
    data = bytearray(content.getvalue())
    dimensions = data.index(struct.pack("<ii", 68, 2))
    data[dimensions : dimensions + 8] = struct.pack("<ii", 2**30, 2)
    (tmp_path / "face.mat").write_bytes(data)
    with pytest.raises(FaceAlignError, match="Points is 1073741824x2 float64 in 1088 bytes"):
        read_mat(tmp_path / "face.mat", {"Points": (None, 2)})


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_anywhere_is_an_error_or_harmless(tmp_path, compressed):
    content = io.BytesIO()
    arrays = {"Points": POINTS, "Occ": np.ones((1, 68), np.uint8)}
    scipy_io.savemat(content, arrays, do_compression=compressed)
    whole = content.getvalue()
    rng = np.random.default_rng(0)
    path = tmp_path / "face.mat"
    refused = 0
    for trial in range(300):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: int(rng.integers(1, len(data)))]
        else:
            for place in rng.integers(0, min(len(data), 400), 3):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            read = read_mat(path, {"Points": (68, 2), "Occ": (1, 68)})
        except FaceAlignError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            refused += 1
        else:
            assert read["Points"].shape == (68, 2) and read["Occ"].shape == (1, 68)
    assert refused > 100


@pytest.fixture
def hdf5(tmp_path):
    """A MATLAB 7.3 file with three pictures behind references, and things that are none."""
    path = tmp_path / "faces.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("#refs#")
        targets = [
            group.create_dataset("a", data=np.arange(24, dtype=np.uint8).reshape(3, 4, 2)),
            group.create_dataset("b", data=np.ones((4, 2))),
            group,
        ]
        references = np.empty((1, 4), h5py.ref_dtype)
        for index, target in enumerate(targets):
            references[0, index] = target.ref
        references[0, 3] = h5py.Reference()
        file.create_dataset("IsT", data=references)
        file.create_dataset("phisT", data=np.arange(6.0).reshape(2, 3))
        file.create_dataset("text", data="MATLAB")
        file.create_dataset("huge", shape=(10**6, 10**6), dtype="f8", chunks=(100, 100))
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file["soft"] = h5py.SoftLink("/phisT")
        file.create_dataset("external", (4,), "f8", external=[("/etc/hostname", 0, 32)])
        layout = h5py.VirtualLayout((2, 3), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (2, 3))
        file.create_virtual_dataset("virtual", layout)
    return path


def test_hdf5_arrays_and_references(hdf5):
    with open_mat73(hdf5) as file:
        np.testing.assert_array_equal(file.array("phisT", (2, None)), [[0, 1, 2], [3, 4, 5]])
        references = file.references("IsT")
        assert len(references) == 4
        picture = file.follow(references[0], "IsT 1")
        np.testing.assert_array_equal(picture, np.arange(24).reshape(3, 4, 2))
        assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    "name, message",
    [
        ("gone", "holds no array 'gone'"),
        ("#refs#", "holds no array '#refs#'"),
        ("elsewhere", "holds no array 'elsewhere'"),
        ("soft", "holds no array 'soft'"),
        ("text", "text holds object, not numbers"),
        ("IsT", "IsT holds object, not numbers"),
        ("external", "external points to other files"),
        ("virtual", "virtual points to other files"),
        ("huge", "huge: the array would take 8000000000000 bytes of memory"),
    ],
)
def test_hdf5_arrays_that_are_refused(hdf5, name, message):
    shape = {"huge": (None, None), "virtual": (None, None), "IsT": (None, None)}.get(name, (4,))
    with open_mat73(hdf5) as file, pytest.raises(FaceAlignError) as caught:
        file.array(name, shape)
    assert str(caught.value).startswith(f"{hdf5}: {message}")


def test_hdf5_references_that_lead_nowhere(hdf5):
    with open_mat73(hdf5) as file:
        references = file.references("IsT")
        for index in (2, 3):
            with pytest.raises(
                FaceAlignError, match=rf"IsT {index + 1} does not point to an array"
            ):
                file.follow(references[index], f"IsT {index + 1}")
        with pytest.raises(FaceAlignError, match="phisT is not a cell array"):
            file.references("phisT")
        with pytest.raises(FaceAlignError, match="phisT is 2x3, but 87x3 is needed"):
            file.array("phisT", (87, 3))
    with h5py.File(hdf5, "r") as file:
        place = file["IsT"].id.get_offset()
    with hdf5.open("r+b") as stream:
        stream.seek(place)
        stream.write(struct.pack("<Q", 10**9))
    with open_mat73(hdf5) as file, pytest.raises(FaceAlignError, match="IsT 1 points nowhere"):
        file.follow(file.references("IsT")[0], "IsT 1")


def test_files_that_are_not_hdf5(tmp_path, hdf5):
    path = tmp_path / "face.mat"
    for content, message in (
        (b"MATLAB 5.0 MAT-file".ljust(600), "is a MATLAB 5 file, but version 7.3 is needed"),
        (b"no HDF5 at all" * 100, "cannot be opened as a MATLAB 7.3 file"),
        (hdf5.read_bytes()[:1500], "cannot be opened as a MATLAB 7.3 file"),
    ):
        path.write_bytes(content)
        with pytest.raises(FaceAlignError, match=message), open_mat73(path):
            pass
    with pytest.raises(FaceAlignError, match="cannot be opened"), open_mat73(tmp_path / "gone.mat"):
        pass
