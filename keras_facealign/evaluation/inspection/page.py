"""Shows an inspection on one HTML page that opens without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import numpy as np

from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.inspection.drawn_faces import STYLE, draw_face, draw_shape
from keras_facealign.evaluation.inspection.findings import KINDS, Finding, Inspection, point_name
from keras_facealign.evaluation.inspection.shape_model import MIN_FACES, MIN_LANDMARKS
from keras_facealign.evaluation.page import PAGE, html_table
from keras_facealign.landmarks import IBUG68
from keras_facealign.storage.file_names import printable

SHEET = 96
"""Faces of the contact sheet, evenly from the whole set."""

SHOWN, LISTED = 24, 100
"""Findings of each kind that are drawn, or listed."""

_WORDS = {
    "swapped": "Left and right points of these faces seem to be exchanged, unlike those of the "
    "others: labeled as seen from the other side, or mirrored without exchanging the points.",
    "odd": "The points as a whole do not have the shape of the other faces: another order of "
    "points, another face's labels, or a rare pose.",
    "exchanged": "Each of the two points (rings) lies where the other one should be.",
    "outlier": "A ring marks the point, a dashed line leads to the dot where the face's other "
    "points suggest it.",
    "outside": "Points beyond the edge of the picture. That may be right, where the picture ends "
    "inside of the face.",
    "contradicted": "Labels are green, the network's landmarks red. Either may be wrong.",
    "turned": "They are read upright. Labels made in a tool that ignores EXIF data are turned "
    "against the picture.",
    "duplicate": "One picture in training and in test makes the test easier than it is.",
    "near_duplicate": "The same picture in another size or quality, or neighboring frames of a "
    "video.",
    "empty_box": "A face that was boxed, but not labeled.",
    "unusable": "What was left out, and why.",
    "unlabeled": "Pictures in the folder that no label names.",
}


def make_page(inspection: Inspection, title: str = "Labels") -> str:
    """Builds the page. The pictures of the faces that are shown are read again.

    Args:
        inspection: What was found.
        title: Heading.

    Returns:
        HTML text.
    """
    labels = inspection.labels
    sheet = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), SHEET)).round().astype(int))
    shown = {kind: inspection.findings.get(kind, [])[:SHOWN] for kind in KINDS}
    wanted: dict[tuple[str, int], tuple[int, Finding | None]] = {
        ("sheet", place): (index, None) for place, index in enumerate(sheet.tolist())
    }
    for kind, findings in shown.items():
        for place, finding in enumerate(findings):
            if finding.face is not None:
                wanted[kind, place] = finding.face, finding
    drawn = dict(_draw(inspection, wanted))
    body = [STYLE, f"<p>{_text(labels.describe())}</p>"]
    body += [f'<p class="note">{_text(note)}</p>' for note in labels.notes]
    body += ["<h2>Found</h2>", *_summary(inspection)]
    if inspection.shift is not None:
        body += ["<h2>Shift</h2>", f"<p>{_text(inspection.shift.describe())}</p>"]
    for kind, findings in shown.items():
        if findings:
            body += _section(inspection, kind, drawn)
    body += ["<h2>Mean shape</h2>", *_mean_shape(inspection)]
    faces = [drawn["sheet", place] for place in range(len(sheet)) if ("sheet", place) in drawn]
    count = "all" if len(faces) == len(labels) else f"{len(faces)} of {len(labels)}"
    body += [f"<h2>Contact sheet</h2><p>{count} faces</p>", _gallery(faces)]
    return PAGE.format(title=escape(printable(title)), body="\n".join(body))


def _text(text: str) -> str:
    return escape(printable(text))


def _gallery(figures: Iterable[str]) -> str:
    return f'<div class="faces">{"".join(figures)}</div>'


def _summary(inspection: Inspection) -> list[str]:
    rows = [(KINDS[kind].capitalize(), str(number)) for kind, number in inspection.counts.items()]
    if not rows:
        return ["<p>Nothing odd.</p>"]
    return [html_table(("", "number"), rows)]


def _mean_shape(inspection: Inspection) -> list[str]:
    model, labels = inspection.model, inspection.labels
    if model is None:
        return [
            f"<p>No face was compared with the others: that takes {MIN_FACES} faces with "
            f"{MIN_LANDMARKS} points each.</p>"
        ]
    note = (
        f'<p class="note">The median of the faces after moving them onto each other. Disks: half '
        f"of the labels lie nearer to where the model with {model.components} components expects "
        "them.</p>"
    )
    drawing = draw_shape(
        model.mean, model.typical, _edges(inspection), lambda point: point_name(labels, point)
    )
    return [note, drawing]


def _edges(inspection: Inspection) -> tuple[tuple[int, int], ...]:
    labels = inspection.labels
    if labels.edges is None and labels.num_landmarks == IBUG68.num_landmarks:
        return IBUG68.edges
    return labels.edges or ()


def _section(inspection: Inspection, kind: str, drawn: dict[tuple[str, int], str]) -> list[str]:
    findings = inspection.findings[kind]
    heading = f"<h2>{escape(KINDS[kind].capitalize())}: {len(findings)}</h2>"
    parts = [heading, f"<p>{escape(_WORDS[kind])}</p>"]
    faces = [drawn[kind, place] for place in range(SHOWN) if (kind, place) in drawn]
    if faces:
        parts.append(_gallery(faces))
        rest = findings[SHOWN:LISTED]
    else:
        rest = findings[:LISTED]
    lines = [f.text if f.file_name in f.text else f"{f.file_name}: {f.text}" for f in rest]
    left = len(findings) - len(faces) - len(lines)
    if left > 0:
        lines.append(f"and {left} more")
    if lines:
        parts.append(f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>")
    return parts


def _draw(
    inspection: Inspection, wanted: dict[tuple[str, int], tuple[int, Finding | None]]
) -> Iterator[tuple[tuple[str, int], str]]:
    """Draws faces; each picture is read once, and one is in memory at a time."""
    labels, model = inspection.labels, inspection.model
    edges = _edges(inspection)
    path, image = None, None
    for key in sorted(wanted, key=lambda key: str(labels.faces[wanted[key][0]].image_path)):
        index, finding = wanted[key]
        face = labels.faces[index]
        if face.image_path != path:
            path, image = face.image_path, None
            try:
                image = read_image(path)
            except FaceAlignError:
                continue  # It is among the labels that were left out.
        if image is None:
            continue
        caption, marked, predicted = "", (), None
        if finding is not None:
            caption, marked = finding.text, finding.points
        if finding is not None and finding.kind == "contradicted":
            predicted = inspection.predictions.get(index)
        expected = None if model is None or key[0] != "outlier" else model.expected[index]
        yield (
            key,
            draw_face(
                image,
                face,
                caption,
                edges,
                marked,
                expected,
                predicted,
                lambda point: point_name(labels, point),
            ),
        )
