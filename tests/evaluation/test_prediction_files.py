"""Predictions from files: every format, names, and files that are broken or hostile."""

import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_facealign.data.pts import write_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import Predictions, nme, predictions_from_file, read_landmarks
from keras_facealign.evaluation.prediction_files import match_names, read_arrays
from keras_facealign.landmarks import COFW29, IBUG68, WFLW98, convert_landmarks

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
    with pytest.raises(FaceAlignError, match="Several pictures are called 'x'"):
        match_names(["a/x.jpg", "b/x.jpg"], ["x.pts"])
    with pytest.raises(FaceAlignError, match=r"None of the 1 predictions.*'q\.jpg'"):
        match_names(expected, ["q.jpg"])


# ---- beside ground truth ------------------------------------------------------------------------


def examples(points, names=NAMES):
    return [
        SimpleNamespace(
            image=None,
            landmarks=face,
            visibility=np.full(len(face), 2),
            box=None,
            file_name=name,
            subset=name.rpartition("/")[0],
        )
        for name, face in zip(names, points, strict=True)
    ]


def test_predictions_of_another_library(points, tmp_path, caplog):
    truth = points
    found = points[[2, 0]] + [3.0, 4.0]
    stranger = np.concatenate([found, found[:1]])
    names = ["x/image_0001.png", "x/1.jpg", "x/other.jpg"]
    path = write(tmp_path / "p.json", "json", stranger, names)
    kept = predictions_from_file(path, iter(examples(truth)), IBUG68)
    assert kept.file_names == [NAMES[0], NAMES[2]]
    assert kept.missed == [NAMES[1]]
    assert "1 predictions belong to no face" in caplog.text
    errors = kept.report().nmes["inter_ocular"]
    expected = 500 / np.linalg.norm(truth[[0, 2], 36] - truth[[0, 2], 45], axis=1)
    np.testing.assert_allclose(errors, expected)


def test_faces_that_were_not_found_are_nan(points, tmp_path):
    found = points.copy()
    found[1] = np.nan
    path = write(tmp_path / "p.csv", "csv", found)
    assert predictions_from_file(path, examples(points), IBUG68).missed == [NAMES[1]]
    found[0, 5] = np.nan
    path = write(tmp_path / "p.npz", "npz", found)
    with pytest.raises(FaceAlignError, match=r"1\.jpg: landmark 5 of the prediction"):
        predictions_from_file(path, examples(points), IBUG68)


def test_without_names_the_order_tells(points, tmp_path):
    path = write(tmp_path / "p.npy", "npy", points + 1)
    kept = predictions_from_file(path, examples(points), IBUG68)
    np.testing.assert_allclose(kept.arrays()["prediction"], points + 1)
    with pytest.raises(FaceAlignError, match="3 faces without names for the data's 2"):
        predictions_from_file(path, examples(points[:2], NAMES[:2]), IBUG68)


def test_landmarks_of_another_scheme_are_converted(tmp_path):
    points = np.random.default_rng(1).uniform(0, 300, (3, 98, 2))
    confidence = np.random.default_rng(2).uniform(0, 1, (3, 98))
    path = write(tmp_path / "p.npz", "npz", points, confidence=confidence)
    truth = convert_landmarks(points, "wflw98", "ibug68")
    arrays = predictions_from_file(path, examples(truth), IBUG68).arrays()
    np.testing.assert_allclose(arrays["prediction"], truth)
    np.testing.assert_allclose(arrays["confidence"][:, 36], confidence[:, 60])
    np.testing.assert_allclose(arrays["confidence"][:, 18], confidence[:, [34, 41]].mean(axis=1))
    with pytest.raises(FaceAlignError, match="68 landmarks a face where|no conversion"):
        other = write(tmp_path / "q.npz", "npz", truth)
        predictions_from_file(other, examples(points), WFLW98)
    with pytest.raises(FaceAlignError, match="do not determine all of cofw29"):
        predictions_from_file(other, examples(points[:, :29]), COFW29)


def test_own_predictions_come_back(points, tmp_path):
    kept = Predictions()
    face = SimpleNamespace(landmarks=points[1], confidence=np.ones(68), box=np.arange(4))
    first, second, third = examples(points)
    first.extras = {"pose": np.array([1.0, 2.0, 3.0])}
    kept.add(first, face)
    kept.add(second, None)
    again = Predictions.load(kept.save(tmp_path / "p.npz"))
    assert (again.file_names, again.missed) == ([NAMES[0]], [NAMES[1]])
    for key, value in kept.arrays().items():
        np.testing.assert_array_equal(again.arrays()[key], value)
    assert again.arrays()["pose"].tolist() == [[1, 2, 3]]
    # They can go on, also without a pose, which then counts for no face.
    again.add(third, face)
    assert len(again) == 3
    assert "pose" not in again.arrays()
    expected = nme(points[[1, 1]], points[[0, 2]])
    np.testing.assert_allclose(again.report().nmes["inter_ocular"], expected)


# ---- broken and hostile files -------------------------------------------------------------------


def npz_member(header, payload=b"", declared=None):
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + payload
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prediction.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npz", b"not a zip", "not a whole .npz"),
        (
            "a.npz",
            npz_member(b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999, 68, 2)}\n"),
            "do not hold",
        ),
        (
            "a.npz",
            npz_member(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"cos"),
            "Python objects",
        ),
        ("a.npz", npz_member(b"__import__('os').system('x')\n"), "not a NumPy array"),
        ("a.npy", b"\x93NUMPY\x09\x00", "not a NumPy array"),
        ("a.json", b'{"a.jpg": [[1, 2], [3]]}', "pairs of numbers"),
        ("a.json", b'{"a.jpg": [[1, 2]], "b.jpg": [[1, 2], [3, 4]]}', "all must agree"),
        ("a.json", b"[" * 100_000, "not JSON"),
        ("a.json", b"3", "holds int"),
        ("a.json", b'[{"file_name": "a"}]', "'a' has no landmarks"),
        ("a.csv", b"file_name,x0,y0,x2,y2\na,1,2,3,4\n", "without a gap"),
        ("a.csv", b"file_name,x0,y0\na,1\n", "no number for each of y0"),
        ("a.csv", b"file_name,x0,y0\na,1,two\n", "no number for each"),
        ("a.csv", b"\xff\xfe\x00", "not a CSV"),
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
    with pytest.raises(FaceAlignError, match="no such file"):
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
    with pytest.raises(FaceAlignError, match="more than"):
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
