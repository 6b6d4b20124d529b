"""The files of a verification report, and unusable scores."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.recognition import VerificationReport
from tests.recognition.drawn import draw_person
from tests.recognition.test_measures import FOLDS, SAME, SCORES

PAIRS = [(f"p{k}/=1.png", f"p{k}/<b>.png") for k in range(12)]


def report(**changes) -> VerificationReport:
    scores = {"arcface": SCORES, "pose3d": SAME.astype(float)}
    arguments = {"title": "Drawn", "scores": scores, "pairs": PAIRS, "same": SAME, "folds": FOLDS}
    return VerificationReport(**{**arguments, **changes})


def test_files(tmp_path):
    for names in PAIRS:
        for name in names:
            draw_person(tmp_path / "data" / name, 1, seed=1)
    subject = report(
        published={"5 points": 97.13}, excluded=["a.jpg: gone"], notes={PAIRS[0][0]: "no face"}
    )
    subject.write(tmp_path, tmp_path / "data")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["results"]["arcface"]["accuracy"] == 75 and found["pairs"] == 12
    assert found["results"]["arcface"]["deviation"] == pytest.approx(np.std([100, 50, 75]))
    assert found["results"]["pose3d"]["accuracy"] == 100 and found["folds"] == 3
    assert found["excluded_pairs"] == ["a.jpg: gone"] and found["published"]["5 points"] == 97.13
    with (tmp_path / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["arcface"]) for row in rows] == SCORES.tolist()
    assert [int(row["fold"]) for row in rows] == FOLDS.tolist()
    assert rows[5]["second"] == PAIRS[5][1] and rows[2]["same"] == "0"
    page = (tmp_path / "report.html").read_text()
    assert "97.13" in page and "<b>.png" not in page and page.count("<svg") == 3
    for name in ("roc.png", "worst_arcface.png", "worst_pose3d.png"):
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
    rows = subject.rows()
    assert rows[0][:3] == ("arcface", "75.00", "20.41") and rows[-1][1] == "97.13"
    assert subject.remarks() == [
        "1 pairs left out: a.jpg: gone",
        f"1 pictures: no face ({PAIRS[0][0]})",
    ]
    assert subject.to_table().row_count == 3


def test_the_worst_pairs_are_farthest_on_the_wrong_side():
    subject = report()
    thresholds = np.repeat([0.7, 0.625, 0.725], 4)
    margin = np.where(SAME, SCORES - thresholds, thresholds - SCORES)
    assert subject.worst("arcface", 3) == np.argsort(margin, kind="stable")[:3].tolist()
    assert subject.worst("arcface", 1) == [9]  # one person, 0.2 below 0.725


def test_persons_of_several_folds_are_named():
    persons = [(f"person {fold}", "x" if fold == 2 else f"other {fold}") for fold in FOLDS]
    assert report(persons=persons).shared_persons == []
    persons[0] = ("x", "y")
    subject = report(persons=persons)
    assert subject.shared_persons == ["x"]
    assert subject.remarks() == ["1 persons are in several folds (x)"]


def test_unusable_scores():
    with pytest.raises(FaceAlignError, match="3 scores of arcface for 12 pairs"):
        report(scores={"arcface": SCORES[:3]})
    bad = SCORES.copy()
    bad[4] = np.nan
    with pytest.raises(FaceAlignError, match=r"score of p4/=1\.png and p4/<b>\.png is nan"):
        report(scores={"arcface": bad})
    with pytest.raises(FaceAlignError, match="all 12 pairs are of one kind"):
        report(same=np.ones(12, bool))
    with pytest.raises(FaceAlignError, match="at least two"):
        report(folds=np.zeros(12, int)).measures  # noqa: B018
