"""The numbers of a report as a table for a terminal and as rows for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from keras_facealign.evaluation.report import EvaluationReport

__all__ = ["make_csv", "make_table", "sections"]

Row = tuple[str, str, str, str]


def sections(summary: dict[str, Any]) -> Iterator[list[Row]]:
    """The rows of a report, section by section: measure, mean, median, number.

    Args:
        summary: What `EvaluationReport.summary` gives.
    """
    main = summary["normalizer"]
    yield [(f"NME {key}", *_cells(values)) for key, values in summary["nme"].items()]
    yield [(f"{key} ({main})", *_cells(values)) for key, values in summary["regions"].items()]
    yield list(_rates(summary["rates"]))
    if "groups" in summary:
        rows = [
            (f"{name} ({main})", *_cells(group["nme"][main]))
            for name, group in summary["groups"].items()
        ]
        if "balanced" in summary:
            balanced = summary["balanced"]
            mean, std = cell(balanced["mean"]), cell(balanced["std"])
            rows.append((f"mean of {len(balanced['groups'])} bins, \u00b1 std", mean, std, ""))
        yield rows
    if "visibility" in summary:
        rows = [
            (f"{name} landmarks ({main})", cell(values["mean"]), "", str(values["landmarks"]))
            for name, values in summary["visibility"].items()
        ]
        occlusion = summary.get("occlusion", {})
        for key, name in (
            ("precision", f"occlusion precision, confidence < {_short(occlusion)}"),
            ("recall", f"occlusion recall, confidence < {_short(occlusion)}"),
            ("average_precision", "occlusion average precision"),
            ("recall_at_80_precision", "occlusion recall at 80 % precision"),
        ):
            if occlusion:
                rows.append((name, cell(occlusion[key]), "", str(occlusion["landmarks"])))
        yield rows


def make_table(summary: dict[str, Any], title: str) -> Table:
    """The numbers as a Rich table."""
    from rich.table import Table
    from rich.text import Text

    caption = f"All values in percent, over {summary['images']} faces."
    if summary["missed"]:
        caption += f" {summary['missed']} missed faces have no prediction, so no NME."
    table = Table(title=Text(title), caption=caption)
    for heading in ("measure", "mean", "median", "number"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for rows in sections(summary):
        for row in rows:
            table.add_row(*(Text(entry) for entry in row))
        table.add_section()
    return table


def make_csv(report: EvaluationReport) -> str:
    """A row a face as CSV text; see `EvaluationReport.to_csv`."""
    columns = {
        **{f"nme_{key}": values for key, values in report.nmes.items()},
        **{f"{key}_{report.normalizer}": values for key, values in report.region_errors.items()},
    }
    labeled = np.sum(~np.isnan(report.landmark_errors), axis=1)

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", "subset", "status", "labeled", *columns])
    for i, (name, subset) in enumerate(zip(report.file_names, report.subsets, strict=True)):
        numbers = [values[i] for values in columns.values()]
        entries = ["" if np.isnan(number) else f"{number:.6f}" for number in numbers]
        writer.writerow([name, subset, "ok", labeled[i], *entries])
    for name in report.missed:
        writer.writerow([name, "", "missed", *[""] * (1 + len(columns))])
    return text.getvalue()


def cell(value: float | None) -> str:
    """A number with three decimals; "-" for none."""
    return "-" if value is None else f"{value:.3f}"


def _short(occlusion: dict[str, Any]) -> str:
    return f"{occlusion['confidence_below']:g}" if occlusion else ""


def _rates(rows: list[dict[str, Any]]) -> Iterator[Row]:
    for note, kind in (("", None), (", missed = failed", "missed_as_failures")):
        for row in rows:
            rates = row if kind is None else row.get(kind)
            if rates is None:
                continue
            for key, name in (("failure_rate", "FR"), ("auc", "AUC")):
                label = f"{name} @ {row['threshold']:g} % {row['normalizer']}{note}"
                yield label, cell(rates[key]), "", str(rates["faces"])


def _cells(values: dict[str, Any]) -> tuple[str, str, str]:
    return cell(values["mean"]), cell(values["median"]), str(values["faces"])
