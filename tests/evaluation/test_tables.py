"""The table of a report prints its numbers."""

import io

from rich.console import Console

from keras_facealign.evaluation import NORMALIZERS, EvaluationReport
from tests.evaluation.test_statistics import REGIONS, faces

__all__ = ["faces"]  # a fixture


def test_table_prints_the_numbers(faces):
    report = EvaluationReport(*faces, missed=["x.png"])
    output = io.StringIO()
    Console(width=120, file=output).print(report.to_table("A title"))
    text = output.getvalue()
    summary = report.summary()
    for key in NORMALIZERS:
        line = next(line for line in text.splitlines() if f"NME {key} " in line)
        assert f"{summary['nme'][key]['mean']:.3f}" in line
        assert f"{summary['nme'][key]['median']:.3f}" in line
    row = summary["rates"][1]
    assert f"{row['auc']:.3f}" in text
    assert f"{row['missed_as_failures']['auc']:.3f}" in text
    for region in REGIONS:
        assert region in text
    assert "A title" in text
    assert "1 missed" in text
