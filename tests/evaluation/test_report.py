"""EvaluationReport: its JSON and CSV files."""

import csv
import json

import numpy as np
import pytest

from keras_facealign.evaluation import EvaluationReport
from tests.evaluation.test_statistics import faces, names

__all__ = ["faces"]  # a fixture


def test_json_holds_the_summary(faces, tmp_path):
    report = EvaluationReport(*faces, file_names=names(9), missed=["x.png"])
    path = report.to_json(tmp_path / "report.json")
    assert json.loads(path.read_text()) == report.summary()


def test_json_without_any_defined_value(faces, tmp_path):
    visibility = np.full((9, 68), 2)
    visibility[:, 45] = 0
    path = EvaluationReport(*faces, visibility).to_json(tmp_path / "report.json")
    summary = json.loads(path.read_text())
    assert summary["nme"]["inter_ocular"] == {"mean": None, "median": None, "faces": 0}
    assert summary["rates"][0]["auc"] is None
    assert summary["nme"]["box_size"]["faces"] == 9


def test_csv_has_a_row_a_face(faces, tmp_path):
    prediction, truth = faces
    visibility = np.full((9, 68), 2)
    visibility[3, 36] = 0
    report = EvaluationReport(
        prediction,
        truth,
        visibility,
        file_names=["with, comma.png", *names(8)],
        subsets=["lfpw/testset"] * 9,
        missed=["x.png"],
    )
    with open(report.to_csv(tmp_path / "faces.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == ["with, comma.png", *names(8), "x.png"]
    assert [row["status"] for row in rows] == ["ok"] * 9 + ["missed"]
    assert rows[0]["subset"] == "lfpw/testset"
    assert [rows[2]["labeled"], rows[3]["labeled"]] == ["68", "67"]
    assert rows[3]["nme_inter_ocular"] == ""
    for i, row in enumerate(rows[:9]):
        for key in ("box_size", "box_diagonal"):
            assert float(row[f"nme_{key}"]) == pytest.approx(report.nmes[key][i], abs=1e-6)
        if i != 3:
            mouth = report.region_errors["mouth"][i]
            assert float(row["mouth_inter_ocular"]) == pytest.approx(mouth, abs=1e-6)
    assert set(rows[9].values()) == {"x.png", "", "missed"}
