"""The pictures of a result: read back and looked at."""

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import WorstFaces, ced, plot_ced
from keras_facealign.evaluation.faces import ShownFace
from keras_facealign.evaluation.plots import ced_figure, error_figure, faces_figure, to_svg
from keras_facealign.landmarks import IBUG68
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
    blue = np.abs(pixels.astype(int) - (0, 114, 178)).max(axis=-1) < 30
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


def test_curve_goes_through_its_shares():
    nmes = np.random.default_rng(0).uniform(0, 12, 300)
    figure = ced_figure(
        {"a": nmes}, 10, "x", lines=[("A", 4.0), ("B", 11.0)], points=[("C", 10, 80)]
    )
    (axes,) = figure.axes
    curve, published, point = axes.lines
    x, y = curve.get_data()
    np.testing.assert_allclose(y[1:-1], ced(nmes, x[1:-1])[1])
    assert (x[0], y[0], x[-1]) == (0, 0, 10)
    # The published mean at 4 is a dashed line there; the one beyond the axis is left out.
    assert list(published.get_xdata()) == [4, 4]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (10, 80)
    assert {text.get_text() for text in axes.texts} == {"A", "C"}


def test_face_of_errors_draws_what_is_known():
    shape = np.random.default_rng(0).uniform(0, 1, (68, 2))
    errors = np.linspace(1, 5, 68)
    shape[3] = errors[40] = np.nan
    figure = error_figure(IBUG68, shape, errors)
    assert figure is not None
    axes, _ = figure.axes
    dots = axes.collections[1]
    assert len(dots.get_offsets()) == 66
    np.testing.assert_allclose(dots.get_array(), errors[~np.isnan(errors + shape[:, 0])])
    assert axes.texts[0].get_text() == "67: 5.00" and len(axes.texts) == 5
    assert error_figure(IBUG68, shape * np.nan, errors) is None


def test_svg_holds_text_and_unchanged_crops_and_is_reproducible():
    crop = np.random.default_rng(0).integers(0, 255, (40, 40, 3), "uint8")
    points = np.random.default_rng(1).uniform(0, 40, (68, 2))
    shown = ShownFace("<a $x$ b>.png", crop, points, points, np.ones(68, bool))

    def text():
        return to_svg(faces_figure([(1.0, shown)], IBUG68, interpolation="none"))

    assert text().startswith("<svg") and "&lt;a $x$ b&gt;.png" in text() and text() == text()
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", text())
    pixels = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(pixels), crop)


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
