"""`.pts` files in every form that copies of the data sets have, and in broken ones."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.pts import read_pts, write_pts
from keras_facealign.errors import FaceAlignError

ROWS = "1 1\n10.5 20.25\n-3.5 7e1"
EXPECTED = np.array([[0, 0], [9.5, 19.25], [-4.5, 69]], np.float32)


@pytest.mark.parametrize(
    "text",
    [
        f"version: 1\nn_points:  3\n{{\n{ROWS}\n}}\n",
        f"version: 1.0\nn_points: 3\n{{\n{ROWS}\n}}",
        f"version:1\nn_points:3\n{{\n{ROWS}\n}}\n\n",
        f"  version: 1 \n\nn_points: 3 \n {{ \n\t{ROWS} \n }} ",
        f"n_points: 3\n{{\n{ROWS}\n}}\n",
        f"{{\n{ROWS}\n}}\n",
        f"n_points: 3\n{ROWS}\n",
        f"{ROWS}\n",
        f"\n{ROWS}",
        f"\ufeffversion: 1\nn_points: 3\n{{\n{ROWS}\n}}\n",
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_form_reads_alike(tmp_path, text, line_end):
    content = text.replace("\n", line_end).encode()
    path = tmp_path / "face.pts"
    path.write_bytes(content)
    for source in (path, str(path), content):
        landmarks, visibility = read_pts(source, num_landmarks=3)
        assert landmarks.dtype == np.float32
        assert visibility.dtype == np.int32
        np.testing.assert_array_equal(landmarks, EXPECTED)
        np.testing.assert_array_equal(visibility, [2, 2, 2])


def test_signs_tell_visibility():
    content = b"11 21\n-11 -21\n-1 -1\n-1.000000 -1.000000\n-1 -2\n1 1"
    landmarks, visibility = read_pts(content, signed_visibility=True)
    np.testing.assert_array_equal(visibility, [2, 1, 0, 0, 1, 2])
    np.testing.assert_array_equal(landmarks, [[10, 20], [10, 20], [0, 0], [0, 0], [0, 1], [0, 0]])
    unsigned, all_visible = read_pts(content)
    np.testing.assert_array_equal(unsigned[1], [-12, -22])
    np.testing.assert_array_equal(all_visible, np.full(6, 2))


@pytest.mark.parametrize("occluded", [False, True])
@pytest.mark.parametrize("position", [(-9.5, 94.0), (40.0, -3.25), (80.0, 60.0), (5.0, 5.0)])
def test_signs_of_landmarks_outside_a_crop(position, occluded):
    written = -np.array(position) if occluded else np.array(position)
    landmarks, visibility = read_pts(f"{written[0]} {written[1]}".encode(), signed_visibility=True)
    np.testing.assert_allclose(landmarks[0], np.array(position) - 1)
    assert visibility[0] == (1 if occluded else 2)


def test_zero_beside_a_negative_sign():
    landmarks, visibility = read_pts(b"0 -5\n-5 0\n0 5\n5 0", signed_visibility=True)
    np.testing.assert_array_equal(landmarks, [[-1, 4], [4, -1], [-1, 4], [4, -1]])
    np.testing.assert_array_equal(visibility, [1, 1, 2, 2])


def test_round_trip(tmp_path):
    rng = np.random.default_rng(3)
    landmarks = rng.uniform(-50, 3000, (68, 2)).astype(np.float32)
    path = tmp_path / "face.pts"
    write_pts(path, landmarks)
    again, visibility = read_pts(path, num_landmarks=68)
    np.testing.assert_allclose(again, landmarks, rtol=1e-7, atol=1e-6)
    assert (visibility == 2).all()
    lines = path.read_text().splitlines()
    assert lines[:3] == ["version: 1", "n_points: 68", "{"]
    assert lines[-1] == "}"
    assert float(lines[3].split()[0]) == pytest.approx(float(landmarks[0, 0]) + 1, abs=1e-5)
    write_pts(path, again)
    np.testing.assert_array_equal(read_pts(path)[0], again)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "holds no landmarks"),
        (b"version: 1\nn_points: 0\n{\n}\n", "holds no landmarks"),
        (b"n_points: 2\n{\n1 2\n3 4\n", "is truncated after 2 landmarks"),
        (b"n_points: 3\n1 2\n3 4\n", "holds 2 landmarks where the header says 3"),
        (b"n_points: 2\n{\n1 2\n3\n}", "line 4 has '3', which is not two coordinates"),
        (b"1 2 3\n", "line 1 has '1 2 3', which is not two coordinates"),
        (b"1 nan\n", "line 1 has nan; give finite"),
        (b"1 -inf\n", "line 1 has -inf; give finite"),
        (b"1 two\n", "line 1 has 'two', which is not a number"),
        (b"1 1_0\n", "line 1 has '1_0', which is not a number"),
        (b"1 __import__('os')\n", "is not a number"),
        (b"1,5 2,5\n", "line 1 has '1,5', which is not a number"),
        (b"1 1e30\n", "line 1 has 1e30, not a position"),
        (b"1 1e999\n", "line 1 has 1e999, not a position"),
        (b"n_points: many\n1 2\n", "line 1 has 'many' as n_points"),
        (b"n_points: -1\n1 2\n", "line 1 has '-1' as n_points"),
        (b"{\n1 2\n}\n3 4\n", "line 4 has '3 4' after the closing brace"),
        (b"{\n{\n1 2\n}\n", "line 2 has '{'"),
        (b"1 2\n}\n", "line 2 has '}'"),
        (b"\xff\xfe\x00\x01", "is not a text file"),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_broken_files_are_named(tmp_path, content, message, signed):
    path = tmp_path / "face.pts"
    path.write_bytes(content)
    with pytest.raises(FaceAlignError) as caught:
        read_pts(path, signed_visibility=signed)
    text = str(caught.value)
    assert text.startswith(str(path)) and message in text and "\n" not in text


@pytest.mark.parametrize(
    "line", [b"version" + b" " * 900_000 + b"x y", b"1" * 900_000 + b"x 1", b"1" * 900_000 + b" 1"]
)
def test_a_long_line_takes_no_longer_than_many_lines(line):
    """Patterns that go back over a line for each of its characters would take hours."""
    with pytest.raises(FaceAlignError, match="line 1 has"):
        read_pts(line)


def test_wrong_count_missing_and_large_files(tmp_path):
    with pytest.raises(FaceAlignError, match="holds 1 landmarks where there must be 68"):
        read_pts(b"1 2", num_landmarks=68)
    with pytest.raises(FaceAlignError, match=r"gone\.pts: cannot be opened \(No such file"):
        read_pts(tmp_path / "gone.pts")
    path = tmp_path / "large.pts"
    path.write_bytes(b"1 2\n" * 100)
    assert len(read_pts(path, max_bytes=400)[0]) == 100
    with pytest.raises(FaceAlignError, match=r"large\.pts: is larger than 399 bytes"):
        read_pts(path, max_bytes=399)


def test_write_refuses_what_it_could_not_read(tmp_path):
    with pytest.raises(FaceAlignError, match=r"face\.pts: landmark 1 is \[nan, 1\.0\]"):
        write_pts(tmp_path / "face.pts", np.array([[1, 1], [np.nan, 1]]))
    for shape in ((68,), (68, 3), (0, 2)):
        with pytest.raises(FaceAlignError, match="landmarks have shape"):
            write_pts(tmp_path / "face.pts", np.zeros(shape))
    with pytest.raises(FaceAlignError, match="cannot be written"):
        write_pts(tmp_path / "no" / "face.pts", np.zeros((3, 2)))
    assert not (tmp_path / "face.pts").exists()
