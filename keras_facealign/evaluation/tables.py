"""The numbers of a report as rows of text, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("measure", "mean", "median", "number")
"""Headings of the columns of `sections`."""

Row = tuple[str, str, str, str]


def sections(summary: dict[str, Any]) -> Iterator[list[Row]]:
    """Lists the rows of a report, section by section.

    Args:
        summary: The result of `EvaluationReport.summary`.

    Yields:
        The rows of a section: measure, mean, median and number as text.
    """
    main = summary["normalizer"]
    yield [_moments(f"NME {key}", values) for key, values in summary["nme"].items()]
    yield [_moments(f"{key} ({main})", values) for key, values in summary["regions"].items()]
    yield list(_rates(summary["rates"]))
    if "groups" in summary:
        rows = [
            _moments(f"{name} ({main})", group["nme"][main])
            for name, group in summary["groups"].items()
        ]
        if "balanced" in summary:
            balanced = summary["balanced"]
            mean, std = _cell(balanced["mean"]), _cell(balanced["std"])
            rows.append((f"mean of {len(balanced['groups'])} bins, \u00b1 std", mean, std, ""))
        yield rows
    if "visibility" in summary:
        rows = [
            (f"{name} landmarks ({main})", _cell(values["mean"]), "", str(values["landmarks"]))
            for name, values in summary["visibility"].items()
        ]
        if occlusion := summary.get("occlusion"):
            below = f"confidence < {occlusion['confidence_below']:g}"
            rows += [
                (f"occlusion {name}", _cell(occlusion[key]), "", str(occlusion["landmarks"]))
                for key, name in (
                    ("precision", f"precision, {below}"),
                    ("recall", f"recall, {below}"),
                    ("average_precision", "average precision"),
                    ("recall_at_80_precision", "recall at 80 % precision"),
                )
            ]
        yield rows


def make_table(summary: dict[str, Any], title: str) -> Table:
    """Makes a Rich table of the rows of `sections`."""
    from rich.table import Table
    from rich.text import Text

    caption = f"All values in percent, over {summary['images']} faces."
    if summary["missed"]:
        caption += f" {summary['missed']} missed faces have no prediction, so no NME."
    table = Table(title=Text(title), caption=caption)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    for rows in sections(summary):
        for row in rows:
            table.add_row(*map(Text, row))
        table.add_section()
    return table


def _rates(rows: list[dict[str, Any]]) -> Iterator[Row]:
    counted = [("", row, row) for row in rows]
    counted += [
        (", missed = failed", row, row["missed_as_failures"])
        for row in rows
        if "missed_as_failures" in row
    ]
    for note, row, rates in counted:
        for key, name in (("failure_rate", "FR"), ("auc", "AUC")):
            label = f"{name} @ {row['threshold']:g} % {row['normalizer']}{note}"
            yield label, _cell(rates[key]), "", str(rates["faces"])


def _moments(name: str, values: dict[str, Any]) -> Row:
    return name, _cell(values["mean"]), _cell(values["median"]), str(values["faces"])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
