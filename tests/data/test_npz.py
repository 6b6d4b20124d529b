"""Arrays of `.npz` files: what is read, and hostile files that are refused."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from keras_facealign.data.npz import read_arrays, read_npz
from keras_facealign.errors import FaceAlignError

SPECS = {"points": ("f", (None, 2)), "names": ("U", (None,))}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "face.npz"
    np.savez_compressed(path, points=np.ones((3, 2)), names=np.array(["a"]), other=np.ones(9))
    return path


def test_only_the_arrays_asked_for_are_read(path):
    arrays = read_npz(path, SPECS, 1000)
    assert list(arrays) == ["points", "names"]
    np.testing.assert_array_equal(arrays["points"], np.ones((3, 2)))


@pytest.mark.parametrize(
    ("specs", "max_bytes", "message"),
    [
        ({"gone": ("f", ())}, 1000, "face.npz: holds no array 'gone'"),
        ({"points": ("f", (4, 2))}, 1000, "points is float64 3x2, where 4x2 of kind 'f'"),
        ({"points": ("iu", (3, 2))}, 1000, "points is float64 3x2, where 3x2 of kind 'iu'"),
        ({"points": ("f", (3, 2))}, 40, "points claims 48 bytes"),
    ],
)
def test_other_arrays_are_refused(path, specs, max_bytes, message):
    with pytest.raises(FaceAlignError) as caught:
        read_npz(path, specs, max_bytes)
    assert message in str(caught.value)


def test_a_false_header_and_pickled_objects_are_refused(path):
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 2)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("points.npy", header.getvalue())
    with pytest.raises(FaceAlignError, match="points claims 16000000000000 bytes"):
        read_npz(path, {"points": SPECS["points"]}, 10**15)
    np.savez(path, points=np.array([{"a": 1}], object))
    with pytest.raises(FaceAlignError, match="points is object"):
        read_npz(path, {"points": SPECS["points"]}, 1000)


def test_damage_anywhere_is_an_error_or_harmless(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(200):
        data = bytearray(whole)
        if trial % 4 == 0:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            assert read_npz(path, SPECS, 1000)["points"].shape[1] == 2
        except FaceAlignError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("descr", "shape", "message"),
    [
        ("<f8", "(" + "9" * 4300 + ", 2)", "larger than any memory"),
        ("<f8", f"(-{10**2200}, {10**2200})", "claims an impossible number of bytes"),
        ("|V0", "(1000000000,)", "not plain numbers"),
        ("|O", "(1,)", "not plain numbers"),
        ("<U0", "(1000000000,)", "claims 1000000000 bytes"),
        ("|i1", "(3, 2", "cannot be read"),
    ],
)
def test_arrays_that_cannot_be_are_refused(tmp_path, descr, shape, message):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FaceAlignError, match=rf"a\.npy.*{message}"):
        read_arrays(tmp_path / "a.npy")


def test_text_of_no_characters_is_refused(tmp_path):
    codes = np.array([0x110000], np.uint32)
    np.save(tmp_path / "a.npy", codes.view("<U1"))
    with pytest.raises(FaceAlignError, match="holds text that is none"):
        read_arrays(tmp_path / "a.npy")
