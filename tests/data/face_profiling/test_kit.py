"""ICT-FaceKit's folder packed into one file: a small head in its format, and what is amiss."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.cli import main
from keras_facealign.data.face_profiling import load_head_model, pack_kit
from keras_facealign.errors import FaceAlignError
from tests.data.face_profiling.head import arrays, write_model

EXPRESSIONS = ("jawOpen", "mouthSmile_L")


def write_mesh(path, vertices, faces, comment="# A license\n\nmtllib kit.mtl\n"):
    """An .obj file as the kit has them: numbers with six digits, corners as vertex/texture."""
    lines = [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in vertices]
    lines += ["vt 0.25 0.75"]
    for face in faces:
        corners = face[:3] if face[2] == face[3] else face
        lines.append("f " + " ".join(f"{corner + 1}/1" for corner in corners))
    path.write_text(comment + "\n".join(lines) + "\n", encoding="utf-8")


def write_kit(folder, source, expression_names, listed=None):
    """The arrays of a packed head as the kit's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    neutral, faces = source["neutral"].astype(np.float64), source["faces_v"]
    write_mesh(folder / "generic_neutral_mesh.obj", neutral, faces)
    for index, offset in enumerate(source["identity"]):
        write_mesh(folder / f"identity{index:03d}.obj", neutral + offset, faces[:5])
    for name, offset in zip(expression_names, source["expression"], strict=True):
        write_mesh(folder / f"{name}.obj", neutral + offset, faces[:5])
    indices = {
        "expressions": list(expression_names if listed is None else listed),
        "idx_to_landmark_verts": source["idx_to_landmark_verts"].tolist(),
        "idx_to_rigid_verts": [1, 2],
    }
    (folder / "vertex_indices.json").write_text(json.dumps(indices))


@pytest.fixture(scope="module")
def source():
    """The drawn head, with a few of its quadrilaterals cut to triangles."""
    found = arrays()
    found["faces_v"] = np.concatenate([found["faces_v"], found["faces_v"][:3, [0, 1, 2, 2]]])
    return found


@pytest.fixture
def kit(tmp_path, source):
    folder = tmp_path / "kit" / "FaceXModel"
    write_kit(folder, source, EXPRESSIONS)
    return folder


def slow_read(path):
    """Vertices and faces of an .obj file, token by token."""
    vertices, faces = [], []
    for line in path.read_text().split("\n"):
        word, *rest = line.split(" ")
        if word == "v":
            vertices.append([float(number) for number in rest])
        if word == "f":
            face = [int(corner.split("/")[0]) - 1 for corner in rest]
            faces.append(face + face[-1:] * (4 - len(face)))
    return np.array(vertices), faces


def test_the_file_holds_what_the_meshes_say(kit, source, tmp_path):
    read = []
    model = pack_kit(kit.parent, tmp_path / "head.npz", on_file=read.append)
    with np.load(tmp_path / "head.npz", allow_pickle=False) as packed:
        neutral, faces = slow_read(kit / "generic_neutral_mesh.obj")
        np.testing.assert_array_equal(packed["neutral"], neutral.astype(np.float32))
        np.testing.assert_array_equal(packed["faces_v"], faces)
        np.testing.assert_array_equal(packed["faces_v"], source["faces_v"])
        assert packed["identity"].dtype == packed["expression"].dtype == np.float16
        identities = [f"identity{i:03d}" for i in range(4)]
        for key, names in (("identity", identities), ("expression", EXPRESSIONS)):
            assert list(packed[f"{key}_names"]) == list(names)
            for name, offset in zip(names, packed[key], strict=True):
                moved = slow_read(kit / f"{name}.obj")[0] - neutral
                np.testing.assert_array_equal(offset, moved.astype(np.float16))
                np.testing.assert_allclose(offset, moved, atol=2e-3)
        np.testing.assert_array_equal(
            packed["idx_to_landmark_verts"], source["idx_to_landmark_verts"]
        )
    assert read == [
        "generic_neutral_mesh.obj",
        *(f"identity00{i}.obj" for i in range(4)),
        *(f"{name}.obj" for name in EXPRESSIONS),
    ]
    # The same head, packed by hand.
    by_hand = load_head_model(write_model(tmp_path / "by_hand.npz", faces_v=source["faces_v"]))
    coefficients = np.array([0.5, -1.0, 2.0, 0.3, 0.7, 0.2])
    np.testing.assert_allclose(
        model.vertices(coefficients), by_hand.vertices(coefficients), atol=5e-3
    )
    np.testing.assert_array_equal(model.triangles, by_hand.triangles)
    np.testing.assert_array_equal(model.landmarks, by_hand.landmarks)


def test_expressions_that_are_not_listed_come_along(tmp_path, source):
    write_kit(tmp_path / "kit", source, ("browDown_L", "PupilDilate_L"), listed=["browDown_L"])
    pack_kit(tmp_path / "kit", tmp_path / "head.npz")
    with np.load(tmp_path / "head.npz") as packed:
        assert list(packed["expression_names"]) == ["PupilDilate_L", "browDown_L"]
        # In the order of their names, not of the head's arrays.
        np.testing.assert_allclose(packed["expression"], source["expression"][::-1], atol=2e-3)


def _change(name, pattern, replacement):
    def change(kit):
        text = (kit / name).read_text()
        (kit / name).write_text(re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE))

    return change


def _unlink(name):
    return lambda kit: (kit / name).unlink()


def _shuffled(kit):
    vertices, _ = slow_read(kit / "identity001.obj")
    order = np.random.default_rng(0).permutation(len(vertices))
    write_mesh(kit / "identity001.obj", vertices[order], [])


NEUTRAL = "generic_neutral_mesh.obj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_unlink(NEUTRAL), "kit: holds no generic_neutral_mesh.obj; give a copy"),
        (_unlink("vertex_indices.json"), "vertex_indices.json: cannot be opened"),
        (_unlink("identity001.obj"), "lacks identity001.obj"),
        (_unlink("jawOpen.obj"), "lacks jawOpen.obj"),
        (_change("vertex_indices.json", "expressions", "words"), "it has no 'expressions'"),
        (_change("vertex_indices.json", r"\[1, 2\]", "["), "vertex_indices.json: is damaged"),
        (_change("vertex_indices.json", r'verts": \[\d+', 'verts": [1.5'), "68 whole numbers"),
        (
            _change("vertex_indices.json", r'verts": \[\d+', 'verts": [99999'),
            "landmark 0 is at vertex 99999, but ",
        ),
        (_change("jawOpen.obj", r"^v .*$", "v 1 2"), "jawOpen.obj: line 4 has 'v 1 2', but three"),
        (_change("jawOpen.obj", r"^v .*$", "v 1 2 x"), "jawOpen.obj: a vertex is not a number"),
        (_change("jawOpen.obj", r"^v .*$", "v 1 2 nan"), "jawOpen.obj: a vertex is not finite"),
        (_change("jawOpen.obj", r"^v .*\n", ""), "has 10799 vertices, but generic_neutral_mesh"),
        (_change(NEUTRAL, r"^f .*$", "f 1 2"), "but three or four vertices"),
        (_change(NEUTRAL, r"^f .*$", "f 1 2 -3"), "numbered from 1"),
        (_change(NEUTRAL, r"^f .*$", "f 1 2 99999"), "its faces do not fit its vertices"),
        (_shuffled, "identity001.obj: moves a vertex by .* get all files from one release"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(kit, tmp_path, change, message):
    change(kit)
    with pytest.raises(FaceAlignError, match=message) as error:
        pack_kit(kit.parent, tmp_path / "head.npz")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]


def test_huge_files_are_not_read(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_facealign.data.face_profiling.kit._MAX_MESH_BYTES", 1000)
    with pytest.raises(FaceAlignError, match="obj: is larger than 1000 bytes"):
        pack_kit(kit, tmp_path / "head.npz")


def test_the_command(kit, tmp_path, capsys):
    assert main(["pack-head", str(kit), "-o", str(tmp_path / "head.npz")]) == 0
    printed = capsys.readouterr().out
    assert "4 identities and 2 expressions of 10802 vertices" in printed
    assert load_head_model(tmp_path / "head.npz").num_coefficients == 6
    for words, message in (
        ([str(tmp_path), "-o", str(tmp_path / "x.npz")], "holds no generic_neutral_mesh.obj"),
        ([str(kit), "-o", str(tmp_path / "x.zip")], "x.zip: give a name that ends in .npz"),
        ([str(kit), "-o", str(tmp_path / "a" / "x.npz")], "there is no such folder"),
    ):
        assert main(["pack-head", *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_the_real_kit(tmp_path):
    """Meshes written of the packed kit give that file's arrays again."""
    path = Path(os.environ.get("KERAS_FACEALIGN_DATA", ""), "ict_facekit", "ict_facekit_f16.npz")
    if not path.is_file():
        pytest.skip("KERAS_FACEALIGN_DATA has no folder ict_facekit")
    with np.load(path, allow_pickle=False) as packed:
        real = {name: packed[name] for name in ("neutral", "faces_v", "idx_to_landmark_verts")}
        names = list(packed["expression_names"])
        real["identity"], real["expression"] = packed["identity"][:3], packed["expression"]
    write_kit(tmp_path / "kit", real, names, listed=names[2:10])
    pack_kit(tmp_path / "kit", tmp_path / "head.npz")
    with np.load(tmp_path / "head.npz") as packed:
        assert list(packed["expression_names"]) == names
        np.testing.assert_allclose(packed["neutral"], real["neutral"], rtol=1e-5, atol=1e-5)
        for name in ("faces_v", "idx_to_landmark_verts"):
            np.testing.assert_array_equal(packed[name], real[name])
        for name in ("identity", "expression"):
            np.testing.assert_allclose(packed[name], real[name], atol=3e-3)
