"""The head model's file: what is read of it, and what is refused."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.data.face_profiling import load_head_model
from keras_facealign.data.face_profiling.model import triangulate
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
