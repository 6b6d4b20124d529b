"""The example that labels pictures by a trained network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_facealign.data import PackedFaces
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import convert_landmarks
from tests.paths import ROOT, load_script

PATH = ROOT / "examples" / "self_training.py"
PHOTO = cv2.imread(str(PATH.parent / "astronaut.jpg"))
MARGIN = 30  # pixels in front of the face in one of the pictures

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def script():
    return load_script(PATH)


def line(name, points):
    """A line of MTFL's list: backward slashes, x before y, counted from 1."""
    numbers = " ".join(f"{value + 1:.2f}" for value in np.asarray(points).T.ravel())
    return f"{name} {numbers} 1 1 2 3\n"


def test_keeps_faces_on_which_predictions_and_five_points_agree(script, tmp_path, monkeypatch):
    pictures = tmp_path / "pictures"
    (pictures / "net").mkdir(parents=True)
    cv2.imwrite(str(pictures / "net" / "as_it_is.png"), PHOTO)
    cv2.imwrite(str(pictures / "net" / "contradicted.png"), PHOTO)
    cv2.imwrite(str(pictures / "net" / "nobody.png"), np.full((90, 90, 3), 127, np.uint8))
    moved = cv2.copyMakeBorder(PHOTO, 0, 0, MARGIN, 0, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(pictures / "net" / "moved.png"), moved)

    aligner = script.FaceAligner.from_preset("sat1_cab_mobile")
    expected = aligner.align(PHOTO[..., ::-1])[0].landmarks
    five = convert_landmarks(expected, "ibug68", "five")
    listed = tmp_path / "training.txt"
    texts = [
        line("net\\as_it_is.png", five),
        line("net\\contradicted.png", five + np.array([25, 0])),
    ]
    listed.write_text("".join(texts))
    output = tmp_path / "out.faces.npz"
    words = ["--pictures", str(pictures), "--five-points", str(listed), "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["x", *words, "--preset", "sat1_cab_mobile"])
    script.main()

    faces = PackedFaces(output, 4)
    assert sorted(faces.file_names) == ["net/as_it_is.png", "net/moved.png"]
    assert (faces.visibility == 2).mean() > 0.9
    # The same crop of the same pixels, wherever the face is, up to the jitter of the box.
    first, second = faces.landmarks
    side = np.ptp(expected, axis=0).max()
    scale = np.ptp(first, axis=0).max() / side
    shapes = [p - p.mean(axis=0) for p in (first, second)]
    assert np.abs(shapes[0] - shapes[1]).mean() < 0.02 * scale * side
    wanted = scale * (expected - expected.mean(axis=0))
    assert np.abs(shapes[0] - wanted).mean() < 0.02 * scale * side


def test_a_list_of_another_kind_is_named(script, tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg 1 2 3\n")
    with pytest.raises(FaceAlignError, match="list.txt.*a.jpg 1 2 3.*ten numbers"):
        script.read_five_points(tmp_path / "list.txt")
