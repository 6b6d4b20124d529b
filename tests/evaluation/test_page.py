"""The HTML page: self-contained, escaped, with the numbers and drawings it promises."""

import re
from html.parser import HTMLParser

import numpy as np

from keras_facealign.evaluation import EvaluationReport, published_for
from keras_facealign.evaluation.faces import ShownFace

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
        self.loads += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data", "poster")
        ]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href")]

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
    # Images are in the page itself; all other references are to its own definitions.
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.loads)
    assert sum(link.startswith("data:") for link in page.loads) == 12 + 1  # and the color scale
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    text = " ".join(page.words)
    for word in ("A title", "mine", "gone.png", "SPIGA 2022", "STAR", "first", "Best", "Worst"):
        assert (word in text) == (word != "STAR")
    for values in report.summary()["nme"].values():
        assert f"{values['mean']:.3f}" in text
    for entry in published_for("cofw68"):
        assert entry.source in text
    assert page.tags.count("svg") == 2 + 3
    assert "Median" in text and "missed = failed" in text


def test_style_and_drawings_refer_to_nothing_outside():
    text = EvaluationReport(*faces()).to_html_text()
    outside = [link for link in re.findall(r"https?://[^\s\"'<)]+", text)]
    # Names of formats, not addresses.
    assert set(outside) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.findall(r"url\((?!#)", text) and "@import" not in text


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
