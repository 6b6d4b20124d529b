"""Predictions from files: every format, names, and files that are broken or hostile."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_facealign.data.npz import read_arrays
from keras_facealign.data.pts import write_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import Predictions, read_landmarks
from keras_facealign.evaluation.prediction_files import match_names

NAMES = ["helen/testset/1.jpg", "ibug/image_008_1.jpg", "lfpw/testset/image_0001.png"]


@pytest.fixture
def points():
    return np.random.default_rng(4).uniform(0, 300, (3, 68, 2)).round(3)


def write(path, kind, points, names=NAMES, confidence=None):
    if kind == "npz":
        extra = {} if confidence is None else {"confidence": confidence}
        np.savez_compressed(path, prediction=points, file_names=np.array(names), **extra)
    elif kind == "npy":
        np.save(path, points)
    elif kind == "json":
        faces = {}
        for i, (name, face) in enumerate(zip(names, points.tolist(), strict=True)):
            record = {"landmarks": face}
            if confidence is not None:
                record["confidence"] = confidence[i].tolist()
            faces[name] = face if confidence is None else record
        path.write_text(json.dumps(faces))
    elif kind == "csv":
        header = ["file_name", *(f"{axis}{k}" for k in range(68) for axis in "xy")]
        rows = [points.reshape(3, -1)]
        if confidence is not None:
            header += [f"confidence{k}" for k in range(68)]
            rows.append(confidence)
        lines = [",".join(header)]
        for name, row in zip(names, np.hstack(rows), strict=True):
            lines.append(",".join([name, *("" if np.isnan(v) else repr(float(v)) for v in row)]))
        path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("kind", ["npz", "json", "csv", "npy"])
@pytest.mark.parametrize("with_confidence", [False, True])
def test_formats(kind, with_confidence, points, tmp_path):
    confidence = np.random.default_rng(0).uniform(0, 1, (3, 68)) if with_confidence else None
    file = read_landmarks(write(tmp_path / f"p.{kind}", kind, points, confidence=confidence))
    np.testing.assert_allclose(file.landmarks, points)
    assert file.names == (None if kind == "npy" else NAMES)
    if confidence is not None and kind != "npy":
        np.testing.assert_allclose(file.confidence, confidence)
    else:
        assert file.confidence is None


def test_folder_of_pts_counts_from_one(points, tmp_path):
    for name, face in zip(NAMES, points, strict=True):
        path = (tmp_path / "out" / name).with_suffix(".pts")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pts(path, face)
    file = read_landmarks(tmp_path / "out")
    assert file.names == [name.rpartition(".")[0] + ".pts" for name in NAMES]
    np.testing.assert_allclose(file.landmarks, points, atol=1e-4)


def test_list_of_records_as_spiga_writes_them(points, tmp_path):
    records = [
        {"imgpath": name, "landmarks": face.tolist(), "headpose": [0, 0, 0]}
        for name, face in zip(NAMES, points, strict=True)
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    file = read_landmarks(tmp_path / "a.json")
    assert file.names == NAMES
    (tmp_path / "b.json").write_text(json.dumps([r["landmarks"] for r in records]))
    assert read_landmarks(tmp_path / "b.json").names is None


def test_names_match_by_the_first_way_that_fits():
    expected = ["a/x.jpg", "a/y.jpg", "b/z.png"]
    assert match_names(expected, ["b/z.png", "a/x.jpg"]) == ([1, None, 0], [])
    assert match_names(expected, ["a\\y", "b\\z", "c\\q"]) == ([None, 0, 1], ["c\\q"])
    assert match_names(expected, ["/data/z.png", "y.jpg"]) == ([None, 1, 0], [])
    assert match_names(expected, ["z.pts", "x.pts"]) == ([1, None, 0], [])
    # Several faces of one picture come in order.
    assert match_names(["a.jpg", "a.jpg", "b.jpg"], ["b.jpg", "a.jpg", "a.jpg"])[0] == [1, 2, 0]
    with pytest.raises(FaceAlignError, match="Several images are called 'x'"):
        match_names(["a/x.jpg", "b/x.jpg"], ["x.pts"])
    with pytest.raises(FaceAlignError, match=r"None of the 1 predictions.*'q\.jpg'"):
        match_names(expected, ["q.jpg"])


# ---- broken and hostile files -------------------------------------------------------------------


def npz_member(header, payload=b"", declared=None):
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + payload
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prediction.npy", content)
    return buffer.getvalue()


BROKEN = "cannot be read|claims|holds object|not a whole"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npz", b"not a zip", BROKEN),
        (
            "a.npz",
            npz_member(b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999, 68, 2)}\n"),
            BROKEN,
        ),
        (
            "a.npz",
            npz_member(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"cos"),
            BROKEN,
        ),
        (
            "a.npz",
            npz_member(b"__import__('os').system('x')\n"),
            BROKEN,
        ),
        ("a.npy", b"\x93NUMPY\x09\x00", BROKEN),
        ("a.json", b'{"a.jpg": [[1, 2], [3]]}', "pairs of numbers"),
        ("a.json", b'{"a.jpg": [[1, 2]], "b.jpg": [[1, 2], [3, 4]]}', "not of one"),
        ("a.json", b"[" * 100_000, "cannot be read"),
        ("a.json", b"3", "holds int"),
        ("a.json", b'[{"file_name": "a"}]', "'a' has no landmarks"),
        ("a.csv", b"file_name,x0,y0,x2,y2\na,1,2,3,4\n", "without a gap"),
        ("a.csv", b"file_name,x0,y0\na,1\n", "face 1 has 2 cells"),
        ("a.csv", b"file_name,x0,y0\na,1,two\n", "as y0; give a number"),
        ("a.csv", b"\xff\xfe\x00", "give a CSV file"),
        ("a.txt", b"", "are read from"),
    ],
)
def test_broken_files_are_named(name, content, words, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FaceAlignError, match=words) as caught:
        read_landmarks(path)
    assert name in str(caught.value)


def test_missing_files_and_other_arrays(tmp_path):
    with pytest.raises(FaceAlignError, match="cannot be opened"):
        read_landmarks(tmp_path / "none.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FaceAlignError, match="no .pts files"):
        read_landmarks(tmp_path / "empty")
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(FaceAlignError, match="no array 'prediction', but other"):
        read_landmarks(tmp_path / "a.npz")
    with pytest.raises(FaceAlignError, match="no array 'file_names'"):
        Predictions.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", prediction=np.zeros((2, 68, 2)), file_names=np.array(["a"]))
    with pytest.raises(FaceAlignError, match="1 names for 2 faces"):
        read_landmarks(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", prediction=np.zeros((2, 68)))
    with pytest.raises(FaceAlignError, match=r"\(2, 68\); give numbers"):
        read_landmarks(tmp_path / "c.npz")


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("prediction.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 3_000_000
    with pytest.raises(FaceAlignError, match="cannot be read"):
        read_arrays(path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 400))
def test_mutated_files_raise_only_our_error(tmp_path, place, value, cut):
    path = tmp_path / "p.npz"
    points = np.arange(3 * 5 * 2, dtype=float).reshape(3, 5, 2)
    np.savez(path, prediction=points, file_names=np.array(NAMES))
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content[: len(content) - cut])
    try:
        file = read_landmarks(path)
    except FaceAlignError:
        return
    assert file.landmarks.ndim == 3
