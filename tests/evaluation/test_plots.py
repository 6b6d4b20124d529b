"""The pictures of a result: read back and looked at."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import WorstFaces, plot_ced
from keras_facealign.evaluation.faces import crop_shown_face
from tests.paths import ROOT

GREEN, RED = (57, 231, 95), (255, 59, 107)


def near(pixels, color, tolerance=40):
    return (np.abs(pixels[..., :3].astype(int) - color).max(axis=-1) < tolerance).sum()


def face(seed=0, center=(100, 100), size=40):
    points = np.random.default_rng(seed).uniform(-1, 1, (68, 2)) * size / 2 + center
    points[0], points[1] = np.array(center) - size / 2, np.array(center) + size / 2
    return points.astype("float32")


def test_ced_curve_is_where_it_should_be(tmp_path):
    # Half of the faces at 2 %, half at 6 %: the curve is level at 0, 50 and 100 %.
    path = plot_ced(tmp_path / "ced.png", {"model": np.array([2.0] * 5 + [6.0] * 5)}, limit=10)
    pixels = np.asarray(Image.open(path).convert("RGB"))
    blue = np.abs(pixels.astype(int) - (31, 119, 180)).max(axis=-1) < 30
    columns = np.flatnonzero(blue.any(axis=0))
    left, right = columns.min(), columns.max()

    def height_at(percent):
        column = blue[:, round(left + (right - left) * percent / 10)]
        # The topmost one: the legend, at the bottom, has the curve's color too.
        return np.flatnonzero(column).min()

    bottom, middle, top = height_at(1), height_at(4), height_at(7)
    assert bottom > middle > top
    assert middle == pytest.approx((bottom + top) / 2, abs=3)


def test_ced_with_missed_and_several_curves(tmp_path):
    curves = {"a": np.array([1.0, np.inf]), "b": np.array([30.0]), "c": np.array([0.0])}
    path = plot_ced(tmp_path / "ced.png", curves)
    assert Image.open(path).format == "PNG"


def test_ced_refuses_bad_input(tmp_path):
    with pytest.raises(FaceAlignError, match="no curve"):
        plot_ced(tmp_path / "ced.png", {})
    with pytest.raises(FaceAlignError, match="image 0 is nan"):
        plot_ced(tmp_path / "ced.png", {"a": np.array([np.nan])})
    with pytest.raises(FaceAlignError, match="threshold"):
        plot_ced(tmp_path / "ced.png", {"a": np.array([1.0])}, limit=0)
    assert not list(tmp_path.iterdir())


def test_worst_are_kept_in_order_with_ties_by_arrival():
    worst = WorstFaces(limit=4, size=32)
    image = np.zeros((200, 200, 3), "uint8")
    errors = [3.0, 9.0, np.nan, 1.0, 9.0, 5.0, 5.0, 0.5]
    for i, error in enumerate(errors):
        worst.add(error, f"{i}.png", image, face(i), face(i))
    assert worst.ranking == [("1.png", 9.0), ("4.png", 9.0), ("5.png", 5.0), ("6.png", 5.0)]


def test_worst_agrees_with_sorting():
    errors = np.random.default_rng(2).permutation(200) / 10
    worst = WorstFaces(size=16)
    image = np.zeros((8, 8, 3), "uint8")
    for i, error in enumerate(errors):
        worst.add(error, str(i), image, face(), face())
    order = np.argsort(-errors)[:10]
    assert worst.ranking == [(str(i), errors[i]) for i in order]


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


def test_worst_picture_shows_both_sets_of_landmarks(tmp_path):
    worst = WorstFaces(limit=10, size=128)
    image = np.zeros((200, 200, 3), "uint8")
    for i in range(7):
        worst.add(5.0 + i, f"a/very/long/folder/name/that/goes/on/{i}.png", image, face(1), face(2))
    pixels = np.asarray(Image.open(worst.save(tmp_path / "worst.png")).convert("RGB"))
    assert near(pixels, GREEN) > 1000
    assert near(pixels, RED) > 1000


def test_unlabeled_landmarks_are_not_drawn(tmp_path):
    visibility = np.zeros(68)
    visibility[0] = 2
    counts = []
    for marks in (None, visibility):
        worst = WorstFaces(limit=1, size=128)
        truth = face(2)
        worst.add(5.0, "a", np.zeros((200, 200, 3), "uint8"), face(1), truth, marks)
        path = worst.save(tmp_path / "worst.png")
        counts.append(near(np.asarray(Image.open(path).convert("RGB")), GREEN))
    # What remains green is one point and the legend.
    assert counts[1] < counts[0] / 10


def test_nothing_to_draw(tmp_path):
    with pytest.raises(FaceAlignError, match="no face"):
        WorstFaces().save(tmp_path / "worst.png")


def test_matplotlib_and_backends_load_only_when_drawing():
    code = (
        "import sys, keras_facealign.evaluation as e; "
        "print([m for m in ('matplotlib', 'tensorflow', 'keras') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
