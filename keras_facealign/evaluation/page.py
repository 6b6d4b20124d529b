"""Writes a report as one HTML page that opens without a network.

The page loads no script, font or style. Whatever comes from data (file names, presets, titles) is
escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from keras_facealign.evaluation.faces import KINDS, ShownFace, extreme_faces, mean_shape
from keras_facealign.evaluation.plots import ced_figure, error_figure, faces_figure, to_svg
from keras_facealign.evaluation.published import PublishedResult, published_for
from keras_facealign.evaluation.statistics import ErrorStatistics
from keras_facealign.evaluation.tables import HEADINGS, sections

NORMALIZER_NAMES = {
    "inter_ocular": "the distance of the outer eye corners",
    "eye_center": "the distance of the eyes' centers",
    "eye_corner_center": "the distance of the eyes' corner midpoints",
    "box_size": "the ground-truth box's size",
    "box_diagonal": "the ground-truth box's diagonal",
}

SHOWN = 5
"""Faces of each kind (best, median, worst) in the page."""

_MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LISTED = 50

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">\
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
body{{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;margin:2em auto;
max-width:64em;padding:0 1em}}
h1{{font-size:1.6em}}h2{{font-size:1.2em;margin-top:2em}}
table{{border-collapse:collapse}}
td,th{{padding:.2em .8em;text-align:right;border-bottom:1px solid #e4e4e4}}
td:first-child,th:first-child,.text *{{text-align:left}}
tbody+tbody tr:first-child td{{border-top:2px solid #999}}
svg{{max-width:100%;height:auto}}small,.note{{color:#555}}
</style></head><body><h1>{title}</h1>
{body}</body></html>
"""


def make_page(
    report: ErrorStatistics,
    title: str = "Evaluation",
    curve_name: str = "this result",
    limit: float = 10.0,
    protocol: str | None = None,
    others: Mapping[str, np.ndarray] | None = None,
    faces: Mapping[int, ShownFace] | None = None,
) -> str:
    """Builds the page.

    Args:
        report: The result.
        title: Heading.
        curve_name: Name of the result's curve.
        limit: Right end of the cumulative error curve, percent.
        protocol: Name of the protocol whose published results are shown; default: none.
        others: Further curves: NMEs (N,) in percent of the main normalizer, by name.
        faces: Crops of faces by their index in the report, as `collect_faces` makes them; those
            among the five best, median and worst are shown.

    Returns:
        HTML text.
    """
    summary, main = report.summary(), report.normalizer
    known = published_for(protocol)
    drawn = [entry for entry in known if entry.normalizer == main and entry.measure != "auc"]
    marks = dict(zip(dict.fromkeys(entry.method for entry in drawn), _MARKS, strict=False))
    marked = [(marks[entry.method], entry) for entry in drawn if entry.method in marks]
    body = [
        _facts(summary),
        "<h2>Cumulative error</h2>",
        _curves(report, curve_name, limit, marked, others or {}),
        "<h2>Numbers</h2>",
        html_table(("in percent", *HEADINGS[1:]), *sections(summary)),
    ]
    if known:
        letters = {id(entry): mark for mark, entry in marked}
        rows = ((letters.get(id(entry), ""), *_published(entry)) for entry in known)
        head = ("", "method", "measure", "%", "source")
        body += ["<h2>Published results</h2>", html_table(head, rows, style="text")]
    shape = mean_shape(report.ground_truth, report.visibility, report.scheme)
    figure = (
        None if shape is None else error_figure(report.scheme, shape, report.errors_by_landmark)
    )
    if figure is not None:
        body += [
            "<h2>Error by landmark</h2>",
            f'<p class="note">Mean error in percent of {NORMALIZER_NAMES[main]}, on the mean face '
            "of the set; the numbers are those of the landmarks with the largest errors.</p>",
            to_svg(figure),
        ]
    if faces:
        body += ["<h2>Faces</h2>", *_gallery(report, faces)]
    if report.missed:
        names = [escape(name) for name in report.missed[:_LISTED]]
        if len(report.missed) > _LISTED:
            names.append(f"and {len(report.missed) - _LISTED} more")
        items = "".join(f"<li>{name}</li>" for name in names)
        body.append(f"<h2>Missed faces</h2><ul>{items}</ul>")
    return PAGE.format(title=escape(title), body="\n".join(body))


def _facts(summary: dict[str, Any]) -> str:
    """The line below the heading: what was measured, on what."""
    facts = [f"{summary['images']} faces", f"{summary['scheme']} landmarks"]
    if summary["missed"]:
        facts.append(f"{summary['missed']} missed")
    official = summary.get("official_faces")
    if official and official != summary["images"] + summary["missed"]:
        facts.append(f"the official set has {official}")
    for key, value in summary.items():
        if isinstance(value, str) and key not in ("unit", "scheme", "normalizer"):
            facts.append(f"{key.replace('_', ' ')}: {value}")
    return f"<p>{escape(' · '.join(facts))}</p>"


def _curves(
    report: ErrorStatistics,
    name: str,
    limit: float,
    marked: Sequence[tuple[str, PublishedResult]],
    others: Mapping[str, np.ndarray],
) -> str:
    values = report.nmes[report.normalizer]
    values = values[~np.isnan(values)]
    curves = {name: values} if values.size else {}
    if report.missed and values.size:
        curves[f"{name}, missed = failed"] = np.append(values, [np.inf] * len(report.missed))
    curves |= others
    if not curves:
        return "<p>No face has an error under the main normalizer.</p>"
    figure = ced_figure(
        curves,
        limit,
        f"NME, % of {NORMALIZER_NAMES[report.normalizer]}",
        lines=[(mark, e.value) for mark, e in marked if e.measure == "nme"],
        points=[(mark, e.threshold, e.value) for mark, e in marked if e.threshold is not None],
    )
    note = (
        "<p><small>Dashed lines: published mean errors; rings: published success rates. The "
        "letters are explained below.</small></p>"
    )
    return to_svg(figure) + note * bool(marked)


def _published(entry: PublishedResult) -> tuple[str, ...]:
    measure = {"nme": "NME", "auc": "AUC", "success": "success rate"}[entry.measure]
    if entry.threshold is not None:
        measure += f" @ {entry.threshold:g} %"
    return entry.method, f"{measure} {entry.normalizer}", f"{entry.value:g}", entry.source


def _gallery(report: ErrorStatistics, faces: Mapping[int, ShownFace]) -> Iterable[str]:
    errors = report.nmes[report.normalizer]
    # In a small set the kinds would overlap.
    defined = int(np.sum(~np.isnan(errors)))
    chosen = extreme_faces(errors, min(SHOWN, -(-defined // len(KINDS))))
    for kind, indices in chosen.items():
        shown = [(float(errors[index]), faces[index]) for index in indices if index in faces]
        if shown:
            figure = faces_figure(shown, report.scheme, SHOWN, interpolation="none")
            yield f"<h3>{kind.capitalize()}</h3>{to_svg(figure)}"


def html_table(head: Sequence[str], *groups: Iterable[Sequence[str]], style: str = "") -> str:
    """A table of unescaped cells; its groups of rows are set apart."""

    def row(cells: Iterable[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(
        f"<tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody>" for rows in groups
    )
    return f'<table class="{style}"><thead>{row(head, "th")}</thead>{body}</table>'
