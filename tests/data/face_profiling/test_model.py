"""The head model's file: what is read of it, and what is refused."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.data.face_profiling import HeadFitter, load_head_model
from keras_facealign.data.face_profiling.annotated import kit_annotation_bias, kit_jaw_shift
from keras_facealign.data.face_profiling.model import triangulate
from keras_facealign.data.readers.aflw2000_3d import load_samples as load_aflw2000
from keras_facealign.errors import FaceAlignError
from tests.data.face_profiling.head import arrays, write_model


def test_vertices_are_the_sum_of_mean_and_offsets(model):
    source = arrays()
    coefficients = np.array([0.5, -1.0, 2.0, 0.3, 0.7, 0.2])
    offsets = np.concatenate([source["identity"], source["expression"]]).astype(np.float64)
    expected = source["neutral"] + sum(c * o for c, o in zip(coefficients, offsets, strict=True))
    found = model.vertices(coefficients)
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-4)
    np.testing.assert_array_equal(model.landmarks, source["idx_to_landmark_verts"])


def test_the_mouth_is_closed_and_the_neck_stays_open(model):
    def lonely_edges(triangles):
        edges = [(a, b) for t in triangles.tolist() for a, b in zip(t, t[1:] + t[:1], strict=True)]
        return set(edges) - {(b, a) for a, b in edges}

    raw = triangulate(arrays()["faces_v"])
    neutral = model.neutral
    # Two holes, the mouth and the pinhole at the crown, have a vertex more each in their middle.
    assert len(neutral) == len(arrays()["neutral"]) + 2
    for middle in (len(neutral) - 1, len(neutral) - 2):
        fan = model.triangles[len(raw) :]
        fan = fan[(fan == middle).any(axis=1)]
        rim = np.unique(fan[fan != middle])
        assert len(rim) == len(fan)
        np.testing.assert_allclose(neutral[middle], neutral[rim].mean(axis=0), atol=1e-4)
    heights = {round(float(neutral[a, 1]), 3) for a, _ in lonely_edges(model.triangles)}
    assert heights == {round(float(neutral[:, 1].min()), 3)}


def test_every_triangle_of_a_fan_faces_outwards(model):
    a, b, c = model.neutral[model.triangles].transpose(1, 0, 2)
    outwards = (np.cross(b - a, c - a) * (a + b + c)).sum(axis=1)
    size = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    assert (outwards[size > 1e-3] > 0).mean() > 0.99
    count = len(triangulate(arrays()["faces_v"]))
    mouth = model.triangles[count:]
    assert (outwards[count:] > 0).all() and len(mouth) > 5


def test_quadrilaterals_with_a_repeated_vertex_are_one_triangle():
    found = triangulate(np.array([[0, 1, 2, 3], [4, 5, 6, 6], [7, 7, 8, 9]]))
    assert sorted(map(tuple, found.tolist())) == [(0, 1, 2), (0, 2, 3), (4, 5, 6), (7, 8, 9)]


def test_the_kits_own_landmarks_are_told_by_their_vertices(tmp_path, model):
    """The jaw is exchanged and annotation_bias are known for the kit, and for no other head."""
    assert not model.annotation_bias.any()
    marks = arrays()["idx_to_landmark_verts"].copy()
    marks[:9] = (1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966)
    kit = load_head_model(write_model(tmp_path / "kit.npz", idx_to_landmark_verts=marks))
    np.testing.assert_array_equal(kit.landmarks[17:], marks[17:])
    assert not set(kit.landmarks[:17].tolist()) & set(marks[:8].tolist())
    np.testing.assert_array_equal(kit.annotation_bias, kit_annotation_bias())
    assert not model.jaw_shift.any()
    np.testing.assert_array_equal(kit.jaw_shift, kit_jaw_shift())
    np.testing.assert_array_equal(kit.neutral, model.neutral)


def test_the_kits_annotation_bias_mirror_each_other():
    annotation_bias = kit_annotation_bias()
    assert (
        annotation_bias.shape == (68, 3)
        and not annotation_bias[:17].any()
        and annotation_bias[17:].any(axis=1).all()
    )
    pairs = [(17, 26), (21, 22), (31, 35), (36, 45), (41, 46), (48, 54), (55, 59), (60, 64)]
    for right, left in pairs:
        np.testing.assert_array_equal(annotation_bias[right], annotation_bias[left] * [-1, 1, 1])
    assert not annotation_bias[[27, 28, 29, 30, 33, 51, 57, 62, 66], 0].any()
    # Centimeters: no annotator is off by more than a finger's breadth.
    assert np.abs(annotation_bias).max() < 1.0


def test_the_kits_jaw_shift_is_that_of_a_mirror_image():
    shift = kit_jaw_shift()
    assert shift.shape == (17, 3) and shift.dtype == np.float32
    np.testing.assert_array_equal(shift, shift[::-1] * [-1, 1, 1])
    assert shift[8, 0] == 0 and (shift[:, 1:] <= 0).all() and np.abs(shift).max() < 1.0


def test_jaws_that_fits_do_not_see_on_real_faces():
    root = Path(os.environ.get("KERAS_FACEALIGN_DATA", ""))
    path = root / "ict_facekit" / "ict_facekit_f16.npz"
    if not path.is_file() or not (root / "aflw2000").is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folders ict_facekit and aflw2000")
    kit = load_head_model(path)
    right, left = kit.landmarks[:8], kit.landmarks[16:8:-1]
    np.testing.assert_allclose(
        kit.neutral[right] * [-1, 1, 1], kit.neutral[left], atol=1e-3, err_msg="no mirror images"
    )
    fitter, hidden = HeadFitter(kit), np.full(68, 2)
    hidden[:17] = 0
    errors = []
    for face in load_aflw2000(root / "aflw2000"):
        fit = fitter.fit(face.landmarks, hidden)
        jaw = fit.camera.project(kit.vertices(fit.coefficients)[kit.landmarks[:17]])[:, :2]
        size = np.sqrt(np.prod(np.ptp(face.landmarks, axis=0)))
        errors.append(np.linalg.norm(jaw - face.landmarks[:17], axis=1).mean() / size)
    assert np.mean(errors) < 0.034


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": np.zeros((2, 5, 3), np.float16)}, "identity is float16 2x5x3, where Nx"),
        ({"neutral": np.zeros((10800, 3), int)}, "neutral is int64 10800x3, where Nx3"),
        ({"faces_v": np.full((4, 4), 10800)}, "faces_v refers to vertices that do not exist"),
        ({"idx_to_landmark_verts": np.full(68, 99999)}, "a landmark is at vertex 99999"),
        ({"idx_to_landmark_verts": np.arange(67)}, "idx_to_landmark_verts is int64 67"),
        ({"neutral": np.full((10800, 3), np.nan)}, "neutral has numbers that are not finite"),
        ({"neutral": np.array([[object()] * 3])}, "neutral is object 1x3"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, message):
    path = write_model(tmp_path / "bad.npz", **changes)
    with pytest.raises(FaceAlignError, match=re.escape(message)):
        load_head_model(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    path = tmp_path / "trap.npz"
    np.savez(path, **{**arrays(), "neutral": np.array([Trap()], object)})
    with pytest.raises(FaceAlignError, match="neutral is object"):
        load_head_model(path)
    assert not (tmp_path / "sprung").exists()


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path):
    path = write_model(tmp_path / "head.npz")
    huge = tmp_path / "huge.npz"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(huge, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "neutral.npy":
                content = content.replace(b"(10800, 3)", b"(10**9, 3)").replace(
                    b"(10**9, 3)", b"(9999999999, 3)"
                )
            target.writestr(name, content)
    with pytest.raises(FaceAlignError, match=r"huge\.npz: "):
        load_head_model(huge)


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_npz_file_is_refused(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(FaceAlignError, match=r"x\.npz: is not a whole \.npz file"):
        load_head_model(path)


def test_a_cut_or_changed_file_is_refused(tmp_path, model_path):
    content = Path(model_path).read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FaceAlignError, match="cut.npz"):
        load_head_model(path)
    rng = np.random.default_rng(0)
    for _ in range(30):
        damaged = bytearray(content)
        for place in rng.integers(0, 4000, 5):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load_head_model(path)
        except FaceAlignError as error:
            assert "cut.npz" in str(error)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(FaceAlignError, match="gone.npz: cannot be opened"):
        load_head_model(tmp_path / "gone.npz")
