"""The page of an inspection."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from keras_facealign.data.labels import load
from keras_facealign.evaluation.inspection import inspect_labels, make_page
from keras_facealign.evaluation.inspection import page as page_module
from tests.evaluation.inspection.labeled import shapes, write_set

VOID = {"meta", "br", "image", "path"}


class Checker(HTMLParser):
    """Checks that elements are closed, and collects them."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "SHOWN", 4)
    monkeypatch.setattr(page_module, "SHEET", 20)
    faces = shapes(60)
    faces[:10, 6] += np.where(np.arange(10) % 2, 30, -30)[:, None] * [1, 0]
    inspection = inspect_labels(write_set(tmp_path, faces))
    number = inspection.counts["outlier"]
    assert number >= 10
    page = make_page(inspection, "<Mine>")
    checker = Checker(page)
    assert "&lt;Mine&gt;" in page and "<Mine>" not in page
    drawn = [attrs for tag, attrs in checker.tags if tag == "image"]
    assert len(drawn) == 20 + 4
    assert all(attrs["href"].startswith("data:image/jpeg;base64,") for attrs in drawn)
    rings = [attrs for tag, attrs in checker.tags if attrs.get("class") == "o"]
    assert len(rings) == 4
    listed = re.findall(r"<li>(.*?)</li>", page)
    assert len(listed) == number - 4 and sum("6 (nose)" in line for line in listed) >= 6
    assert "20 of 60 faces" in page and "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    # A dot for every point of a face.
    path = next(attrs["d"] for tag, attrs in checker.tags if attrs.get("class") == "p")
    assert path.count("M") == 9


def test_names_are_escaped_and_faces_without_a_model_drawn(tmp_path):
    labels = write_set(tmp_path, shapes(3))
    (tmp_path / "001.png").rename(tmp_path / "<b>&.png")
    text = labels.path.read_text().replace("001.png", "<b>&.png")
    labels.path.write_text(text)
    inspection = inspect_labels(load(labels.path))
    page = make_page(inspection)
    Checker(page)
    assert "&lt;b&gt;&amp;.png" in page and "<b>&.png" not in page
    assert "takes 10 faces" in page and "all faces" in page and "Nothing odd." in page
