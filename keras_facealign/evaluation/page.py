"""A report as one HTML page that opens without a network: no script, no font, no link is loaded.

Whatever comes from data (file names, presets, titles) is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from keras_facealign.evaluation import svg
from keras_facealign.evaluation.faces import KINDS, ShownFace, extreme_faces, mean_face
from keras_facealign.evaluation.published import PublishedResult, published_for
from keras_facealign.evaluation.report import EvaluationReport
from keras_facealign.evaluation.tables import sections

__all__ = ["NORMALIZER_NAMES", "SHOWN", "make_page"]

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

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;margin:2em auto;max-width:64em;
padding:0 1em}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em}
table{border-collapse:collapse}
td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #e4e4e4}
td:first-child,th:first-child,td.t{text-align:left}
tbody+tbody tr:first-child td{border-top:2px solid #999}
.row{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start}svg{max-width:100%;height:auto}
figure{margin:0}figcaption{font-size:.8em;max-width:192px;overflow-wrap:anywhere}
.dot{display:inline-block;width:1.6em;height:.35em;margin:0 .4em .2em 0}small,.note{color:#555}
"""


def make_page(
    report: EvaluationReport,
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
        curve_name: What the result's curve is called.
        limit: Right end of the cumulative error curve, percent.
        protocol: Name of the protocol, whose published results are shown beside; default: none.
        others: Further curves: NMEs (N,) in percent of the main normalizer, by name.
        faces: Crops of faces by their index in the report, as `collect_faces` makes them; those
            among the five best, median and worst are shown.

    Returns:
        HTML text.
    """
    summary = report.summary()
    main = report.normalizer
    errors = report.nmes[main]
    known = published_for(protocol)
    drawn = [e for e in known if e.normalizer == main and e.measure != "auc"]
    letters = dict(zip(dict.fromkeys(e.method for e in drawn), _MARKS, strict=False))
    marks = [(letters[e.method], e) for e in drawn if e.method in letters]
    body = [
        f"<h1>{escape(title)}</h1>",
        _facts(summary),
        "<h2>Cumulative error</h2>",
        _curves(report, curve_name, limit, marks, others or {}),
        "<h2>Numbers</h2>",
        _numbers(summary),
    ]
    if known:
        body += ["<h2>PublishedResult results</h2>", _published(known, marks)]
    shape = mean_face(report.ground_truth, report.visibility, report.scheme)
    if shape is not None:
        body += [
            "<h2>Error by landmark</h2>",
            f'<p class="note">Mean error in percent of {escape(NORMALIZER_NAMES[main])}, on the '
            "mean face of the set.</p>",
            svg.error_face(report.scheme, shape, report.errors_by_landmark),
        ]
    if faces:
        body.append(_gallery(report, faces, errors))
    if report.missed:
        body.append(_missed(report.missed))
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


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
    report: EvaluationReport,
    name: str,
    limit: float,
    marks: Sequence[tuple[str, PublishedResult]],
    others: Mapping[str, np.ndarray],
) -> str:
    main = report.normalizer
    values = report.nmes[main]
    values = values[~np.isnan(values)]
    curves = {name: values} if values.size else {}
    if report.missed and values.size:
        curves[f"{name}, missed = failed"] = np.append(values, [np.inf] * len(report.missed))
    curves |= others
    if not curves:
        return "<p>No face has an error under the main normalizer.</p>"
    chart = svg.ced_chart(
        curves,
        limit,
        f"NME, % of {NORMALIZER_NAMES[main]}",
        lines=[(mark, e.value) for mark, e in marks if e.measure == "nme"],
        points=[(mark, e.threshold, e.value) for mark, e in marks if e.threshold is not None],
    )
    colors = [svg.CURVE_COLORS[i % len(svg.CURVE_COLORS)] for i in range(len(curves))]
    legend = "<br>".join(
        f'<span class="dot" style="background:{color}"></span>{escape(curve)}'
        for color, curve in zip(colors, curves, strict=True)
    )
    if marks:
        legend += (
            "<br><small>Dashed lines: published mean errors; rings: published success rates. "
            "The letters are explained below.</small>"
        )
    return f'<div class="row">{chart}<p>{legend}</p></div>'


def _numbers(summary: dict[str, Any]) -> str:
    groups = []
    for rows in sections(summary):
        cells = (
            "<tr>" + "".join(f"<td>{escape(entry)}</td>" for entry in row) + "</tr>" for row in rows
        )
        groups.append(f"<tbody>{''.join(cells)}</tbody>")
    head = "".join(f"<th>{name}</th>" for name in ("in percent", "mean", "median", "number"))
    return f"<table><thead><tr>{head}</tr></thead>{''.join(groups)}</table>"


def _published(
    known: Sequence[PublishedResult], marks: Sequence[tuple[str, PublishedResult]]
) -> str:
    letters = {id(entry): mark for mark, entry in marks}
    names = {"nme": "NME", "auc": "AUC", "success": "success rate"}
    rows = []
    for entry in known:
        measure = names[entry.measure]
        if entry.threshold is not None:
            measure += f" @ {entry.threshold:g} %"
        cells = (entry.method, f"{measure} {entry.normalizer}", f"{entry.value:g}", entry.source)
        mark = letters.get(id(entry), "")
        rows.append(
            f"<tr><td>{mark}</td>"
            + "".join(f'<td class="t">{escape(cell)}</td>' for cell in cells)
            + "</tr>"
        )
    head = "<th></th><th>method</th><th>measure</th><th>%</th><th>source</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _gallery(report: EvaluationReport, faces: Mapping[int, ShownFace], errors: np.ndarray) -> str:
    parts = [
        "<h2>Faces</h2>",
        f'<p><span class="dot" style="background:{svg.TRUTH}"></span>ground truth '
        f'<span class="dot" style="background:{svg.PREDICTED}"></span>prediction</p>',
    ]
    # In a small set the kinds would overlap.
    defined = int(np.sum(~np.isnan(errors)))
    chosen = extreme_faces(errors, min(SHOWN, -(-defined // len(KINDS))))
    for kind in KINDS:
        views = []
        for index in [i for i in chosen[kind] if i in faces]:
            face = faces[index]
            caption = f"{escape(face.file_name)}<br>{errors[index]:.2f} %"
            view = svg.face_view(face, report.scheme)
            views.append(f"<figure>{view}<figcaption>{caption}</figcaption></figure>")
        if views:
            parts.append(f'<h3>{kind.capitalize()}</h3><div class="row">{"".join(views)}</div>')
    return "".join(parts)


def _missed(names: Sequence[str]) -> str:
    shown = "".join(f"<li>{escape(name)}</li>" for name in list(names)[:_LISTED])
    more = f"<li>and {len(names) - _LISTED} more</li>" if len(names) > _LISTED else ""
    return f"<h2>Missed faces</h2><ul>{shown}{more}</ul>"
