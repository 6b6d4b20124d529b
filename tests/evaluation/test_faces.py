"""Which faces are shown, how they are found again and cropped, and the mean shape."""

import numpy as np
import pytest

from keras_facealign.evaluation import EvaluationReport
from keras_facealign.evaluation.faces import (
    collect_faces,
    crop_shown_face,
    extreme_faces,
    mean_shape,
)
from keras_facealign.landmarks import IBUG68
from tests.evaluation.test_page import faces
from tests.evaluation.test_plots import face


def test_extreme_faces():
    nmes = np.array([5.0, np.nan, 1.0, 9.0, 3.0, 7.0])
    assert extreme_faces(nmes, 2) == {"best": [2, 4], "median": [4, 0], "worst": [3, 5]}
    assert extreme_faces(nmes, 50)["worst"] == [3, 5, 0, 4, 2]
    assert extreme_faces(np.full(3, np.nan), 2) == {"best": [], "median": [], "worst": []}


def test_faces_are_found_again_among_missed_ones():
    prediction, truth = faces(5)
    # One picture with several faces, of which the first was missed.
    names = ["a.png", "group.png", "group.png", "b.png", "c.png"]
    kept = [0, 2, 3, 4]
    report = EvaluationReport(
        prediction[kept], truth[kept], file_names=[names[i] for i in kept], missed=["group.png"]
    )
    read = []

    def examples():
        for i, name in enumerate(names):
            read.append(i)
            image = np.full((200, 200, 3), 40 * i, "uint8")
            yield {"image": image, "landmarks": truth[i], "file_name": name.encode()}

    crops = collect_faces(report, [1, 2], examples(), size=64)
    assert {i: int(face.crop[32, 32, 0]) for i, face in crops.items()} == {1: 80, 2: 120}
    assert [face.file_name for face in crops.values()] == ["group.png", "b.png"]
    assert read == [0, 1, 2, 3, 4] or read == [0, 1, 2, 3]


def test_mean_shape_is_upright_and_symmetric():
    rng = np.random.default_rng(7)
    shape = rng.normal(size=(68, 2))
    shape = (shape + shape[IBUG68.flip_permutation] * [-1, 1]) / 2
    shape[36], shape[45] = (-0.5, 0.0), (0.5, 0.0)
    turns = rng.uniform(-1, 1, 9)
    sets = []
    for angle in turns:
        cos, sin = np.cos(angle), np.sin(angle)
        sets.append(shape @ np.array([[cos, sin], [-sin, cos]]) * rng.uniform(5, 90) + 40)
    visibility = np.full((9, 68), 2)
    visibility[2, 36] = 0  # a face without an eye corner does not count
    visibility[:, 7] = 0  # never labeled: its mirror image tells
    found = mean_shape(np.array(sets), visibility, IBUG68)
    np.testing.assert_allclose(found, shape, atol=1e-9)
    visibility[:, 9] = 0
    found = mean_shape(np.array(sets), visibility, IBUG68)
    assert np.isnan(found[[7, 9]]).all() and np.isfinite(np.delete(found, [7, 9], axis=0)).all()
    assert mean_shape(np.array(sets), np.zeros((9, 68)), IBUG68) is None


@pytest.mark.parametrize("side", [200, 3000])
def test_crop_moves_picture_and_points_together(side):
    # One bright spot marks a landmark: after cropping it must still lie under that landmark.
    image = np.zeros((side, side + 60, 3), "uint8")
    points = face(4, center=(side * 0.4, side * 0.5), size=side * 0.6)
    x, y = points[20].round().astype(int)
    points[20] = x, y
    radius = max(side // 100, 1)
    image[y - radius : y + radius + 1, x - radius : x + radius + 1] = 255
    shown = crop_shown_face("a", image, points, points, np.ones(68, bool), 256)
    weights = shown.crop[..., 0].astype(float)
    rows, columns = np.indices(weights.shape)
    spot = np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()
    np.testing.assert_allclose(spot, shown.ground_truth[20], atol=0.3)
    assert (shown.ground_truth >= 0).all()
    assert (shown.ground_truth <= 255).all()


def test_crop_of_odd_faces():
    image = np.full((20, 30, 3), 200, "uint8")
    truth = face(center=(10, 10), size=10)
    # A prediction far off does not shrink the face to a dot.
    shown = crop_shown_face("a", image, truth + 5000, truth, np.ones(68, bool), 64)
    spread = np.ptp(shown.ground_truth, axis=0).max()
    assert spread > 64 / 3
    # A single labeled landmark, and a face much larger than its picture.
    only = np.arange(68) == 3
    assert crop_shown_face("a", image, truth, truth, only, 64).crop.shape == (64, 64, 3)
    assert crop_shown_face("a", image, truth * 900, truth * 900, only, 64).crop.shape == (64, 64, 3)
