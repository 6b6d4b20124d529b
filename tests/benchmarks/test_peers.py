"""The comparison with other libraries, on plain pictures with libraries that are made up."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.geometry import landmarks_box
from tests.paths import ROOT, load_script

SCRIPT = ROOT / "benchmarks" / "peers.py"


@pytest.fixture(scope="module")
def peers():
    return load_script(SCRIPT)


@pytest.fixture
def examples():
    """Four faces; the far side of the last has no labels."""
    rng = np.random.default_rng(3)
    made = []
    for index in range(4):
        points = rng.uniform(30, 90, (68, 2)).astype(np.float32)
        visibility = np.full(68, 2)
        if index == 3:
            visibility[:9] = 0
        made.append(
            SimpleNamespace(
                image=np.full((120, 110, 3), index, np.uint8),
                landmarks=points,
                visibility=visibility,
                box=landmarks_box(points, visibility),
                file_name=f"{index}.png",
                subset="",
                extras={},
            )
        )
    return made


def test_square_of_dlib(peers):
    assert peers.dlib_square(np.array([10.0, 20.0, 50.0, 120.0])) == [-20, 9, 80, 109]


@pytest.mark.parametrize("box", [(40, 30, 70, 80), (-30, -5, 20, 10), (80, 90, 140, 118)])
def test_square_crop_is_black_beyond_the_picture(peers, box):
    image = np.random.default_rng(0).integers(1, 256, (120, 110, 3), dtype=np.uint8)
    crop, (left, top) = peers.square_crop(image, np.array(box, float), 2.0)
    side = 2 * max(box[2] - box[0], box[3] - box[1])
    assert crop.shape == (side, side, 3)
    for row in range(side):
        for column in range(side):
            y, x = int(top) + row, int(left) + column
            inside = 0 <= y < 120 and 0 <= x < 110
            expected = image[y, x] if inside else 0
            assert (crop[row, column] == expected).all()
    assert abs(left + side / 2 - (box[0] + box[2]) / 2) <= 0.5
    assert abs(top + side / 2 - (box[1] + box[3]) / 2) <= 0.5


def test_nearest_face_is_taken_and_others_are_missed(peers, examples):
    shift = np.array([0.6, 0.8])

    def finder(image, box):
        index = int(image[0, 0, 0])
        truth = examples[index].landmarks.astype(float)
        # Picture 1: none; picture 2: another face; else another and the right one.
        return {1: [], 2: [truth + 300]}.get(index, [truth + 300, truth + shift])

    result = peers.run(finder, [example.image for example in examples], None)
    assert result["owners"].tolist() == [0, 0, 2, 3, 3]
    assert result["ms"].shape == (4,)
    faces = peers.matched(result, examples, given=False)
    assert [face is None for face in faces] == [False, True, True, False]
    measured = peers.measures(examples, faces)
    sizes = []
    for index in (0, 3):
        x0, y0, x1, y1 = (float(v) for v in examples[index].box)
        sizes.append(((x1 - x0) * (y1 - y0)) ** 0.5)
    # All landmarks are off by one pixel.
    expected = np.mean([100 / size for size in sizes])
    assert measured["box_size"] == pytest.approx(expected, rel=1e-4)
    assert measured["inner"] == pytest.approx(expected, rel=1e-4)
    # A given box says which face is meant.
    faces = peers.matched(result, examples, given=True)
    assert [face is None for face in faces] == [False, True, False, False]
    assert peers.measures(examples, [None] * 4)["box_size"] is None


def test_mesh_is_mapped_to_the_68_points(peers, examples):
    from keras_facealign.landmarks import convert_landmarks

    mesh = np.random.default_rng(1).uniform(30, 90, (478, 2))
    result = {"landmarks": mesh[None], "owners": np.array([0])}
    (face,) = peers.matched(result, examples[:1], given=True)
    expected = convert_landmarks(mesh, "mediapipe478", "ibug68")
    np.testing.assert_allclose(face.landmarks, expected)
    assert face.landmarks.shape == (68, 2)


def test_a_peer_that_is_not_there_is_skipped_with_a_reason(peers, examples, monkeypatch):
    """Modules of that name that cannot be imported, in the peer's own process."""
    monkeypatch.setattr(
        peers,
        "preset_finder",
        lambda preset: lambda image, box: [examples[int(image[0, 0, 0])].landmarks + 1.0],
    )
    monkeypatch.setattr(peers.subprocess, "run", without_peers(peers.subprocess.run))
    rows, skipped = peers.compare(examples, ["ours"], sys.executable, True)
    assert skipped == {name: f"there is no {name} here" for name in peers.PEERS}
    (row,) = rows
    assert (row["library"], row["boxes"], row["missed"]) == ("ours", "given", 0)
    assert row["common"] == row["nme"]["box_size"] > 0
    assert row["common_faces"] == 4


def without_peers(run):
    """Python started so that importing a peer fails."""
    code = (
        "import runpy, sys, importlib.abc\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in ('dlib', 'mediapipe'):\n"
        "            raise ImportError(f'there is no {name} here')\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )

    def started(command, **options):
        return run([command[0], "-c", code, *command[1:]], **options)

    return started
