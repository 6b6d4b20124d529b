"""The HTML page: self-contained, escaped, with the numbers and drawings it promises."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import EvaluationReport, ced, published_for
from keras_facealign.evaluation.faces import ShownFace, collect_faces, extreme_faces, mean_face
from keras_facealign.evaluation.svg import CURVE_COLORS, ced_chart, error_color, error_face
from keras_facealign.landmarks import IBUG68

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps what the page would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "action", "data", "poster")]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def faces(count=12, seed=3):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(20, 180, (count, 68, 2))
    truth[:, 36], truth[:, 45] = (60, 80), (140, 80)
    return truth + rng.normal(0, 3, truth.shape), truth


def shown(name, seed=0):
    rng = np.random.default_rng(seed)
    return ShownFace(
        file_name=name,
        crop=rng.integers(0, 255, (64, 64, 3), "uint8"),
        prediction=rng.uniform(0, 64, (68, 2)),
        ground_truth=rng.uniform(0, 64, (68, 2)),
        labeled=np.arange(68) > 3,
    )


def test_page_loads_nothing_and_shows_everything():
    prediction, truth = faces()
    report = EvaluationReport(
        prediction,
        truth,
        normalizer="eye_center",
        thresholds=(10.0,),
        missed=["gone.png"],
        groups={"first": np.arange(12) < 5},
        info={"preset": "mine", "boxes": "ground-truth"},
    )
    crops = {i: shown(f"{i}.png", i) for i in range(12)}
    page = Page(report.to_html_text(title="A title", protocol="cofw68", faces=crops))
    # Pictures are in the page itself; nothing else is loaded, not even a font.
    assert page.loads and all(link.startswith("data:image/png;base64,") for link in page.loads)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    text = " ".join(page.words)
    for word in ("A title", "mine", "gone.png", "SPIGA 2022", "STAR", "first", "Best", "Worst"):
        assert (word in text) == (word != "STAR")
    for values in report.summary()["nme"].values():
        assert f"{values['mean']:.3f}" in text
    for entry in published_for("cofw68"):
        assert entry.source in text
    assert page.tags.count("svg") == 2 + 3 * 4
    assert "Median" in text and "missed = failed" in text


def test_style_and_drawings_refer_to_nothing_outside():
    text = EvaluationReport(*faces()).to_html_text()
    outside = [link for link in re.findall(r"https?://[^\s\"'<)]+", text)]
    assert set(outside) <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "url(" not in text and "@import" not in text


def test_names_from_data_are_escaped():
    evil = '"><script>alert(1)</script>'
    prediction, truth = faces(4)
    report = EvaluationReport(
        prediction,
        truth,
        file_names=[evil] * 4,
        missed=[evil],
        groups={evil: np.ones(4, bool)},
        info={"preset": evil, evil: "x"},
    )
    crops = {i: shown(evil, i) for i in range(4)}
    others = {evil: np.ones(4)}
    text = report.to_html_text(title=evil, curve_name=evil, faces=crops, others=others)
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text
    assert any(evil in words for words in page.words)


def test_page_without_a_defined_error():
    prediction, truth = faces(3)
    visibility = np.full((3, 68), 2)
    visibility[:, 36] = 0
    text = EvaluationReport(prediction, truth, visibility).to_html_text()
    assert "No face has an error" in text


def test_page_is_written_whole(tmp_path):
    report = EvaluationReport(*faces())
    path = report.to_html(tmp_path / "report.html", title="é")
    assert path.read_text(encoding="utf-8") == report.to_html_text(title="é")


def test_curve_goes_through_its_shares():
    nmes = np.random.default_rng(0).uniform(0, 12, 300)
    text = ced_chart({"a": nmes}, 10, "x", lines=[("A", 4.0), ("B", 11.0)], points=[("C", 10, 80)])
    (trace,) = re.findall(r'<polyline points="([^"]+)"', text)
    xy = np.array([pair.split(",") for pair in trace.split()], float)
    assert CURVE_COLORS[0] in text
    # The frame, read off the grid lines of 0 and 100 %.
    lines = re.findall(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', text)
    lines = np.array(lines, float)
    left, right = lines[:, 0].min(), lines[:, 2].max()
    bottom, top = lines[:, 1].max(), lines[:, 1].min()
    threshold = (xy[:, 0] - left) / (right - left) * 10
    share = (bottom - xy[:, 1]) / (bottom - top) * 100
    np.testing.assert_allclose(share, ced(nmes, threshold)[1], atol=1.0)
    # The published mean at 4 is a dashed line there; the one beyond the axis is left out.
    dashed = re.findall(r'x1="([\d.]+)"[^>]*stroke-dasharray', text)
    assert [float(x) for x in dashed] == pytest.approx([left + 0.4 * (right - left)], abs=0.1)
    assert ">C<" in text and ">B<" not in text
    with pytest.raises(FaceAlignError, match="no curve"):
        ced_chart({}, 10, "x")


def test_colors_run_from_end_to_end():
    assert error_color(0) == error_color(-1) == "#440154"
    assert error_color(1) == error_color(2) == "#fde725"
    light = [sum(int(error_color(s / 20)[i : i + 2], 16) for i in (1, 3, 5)) for s in range(21)]
    assert light == sorted(light)


def test_face_of_errors_draws_what_is_known():
    shape = np.random.default_rng(0).uniform(0, 1, (68, 2))
    errors = np.linspace(1, 5, 68)
    shape[3] = errors[40] = np.nan
    text = error_face(IBUG68, shape, errors)
    assert text.count("<circle") == 66
    assert "landmark 4: 1.24 %" in text
    assert "landmark 3:" not in text
    assert error_face(IBUG68, shape * np.nan, errors) == ""


# ---- which faces --------------------------------------------------------------------------------


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


def test_mean_face_is_upright_and_symmetric():
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
    found = mean_face(np.array(sets), visibility, IBUG68)
    np.testing.assert_allclose(found, shape, atol=1e-9)
    visibility[:, 9] = 0
    found = mean_face(np.array(sets), visibility, IBUG68)
    assert np.isnan(found[[7, 9]]).all() and np.isfinite(np.delete(found, [7, 9], axis=0)).all()
    assert mean_face(np.array(sets), np.zeros((9, 68)), IBUG68) is None
