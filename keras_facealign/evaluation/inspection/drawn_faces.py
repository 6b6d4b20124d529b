"""Draws labeled faces and shapes as SVG for an HTML page, without Matplotlib."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from html import escape

import numpy as np
from PIL import Image

from keras_facealign.data.labels.label_set import FaceLabels
from keras_facealign.geometry import crop_face, crop_matrix, landmarks_box, transform_points
from keras_facealign.storage.file_names import printable

SIDE = 132
"""Side of a drawn face in pixels."""

STYLE = """<style>
.faces{display:flex;flex-wrap:wrap;gap:10px}
.faces figure{margin:0;width:132px}
figcaption{font-size:11px;line-height:1.3;overflow-wrap:anywhere;color:#333}
figcaption b{font-weight:600;color:#000}
svg .e{stroke:#39e75f;stroke-width:.7;opacity:.7;fill:none}
svg .p{stroke:#39e75f;stroke-width:2.6;stroke-linecap:round;fill:none}
svg .n{stroke:#ff3b6b;stroke-width:2.2;stroke-linecap:round;fill:none}
svg .o{stroke:#ffd400;stroke-width:1.4;fill:none}
svg .x{stroke:#ffd400;stroke-width:1.3;stroke-dasharray:3 2}
svg .q{stroke:#ffd400;stroke-width:4;stroke-linecap:round}
svg text{font:7px system-ui,sans-serif;fill:#333}
svg .s{fill:#0072b2;fill-opacity:.18}svg .m{fill:#0072b2}svg .l{stroke:#aaa;stroke-width:.8}
</style>"""
"""Style of what this module draws; to be put before it."""


def draw_face(
    image: np.ndarray,
    face: FaceLabels,
    caption: str,
    edges: Iterable[tuple[int, int]] = (),
    marked: Iterable[int] = (),
    expected: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    name_of: Callable[[int], str] = str,
) -> str:
    """Draws the crop of a face with its points.

    Args:
        image: uint8 (H, W, 3).
        face: The labels.
        caption: Text below, unescaped.
        edges: Pairs of points to join by a line.
        marked: Points to mark by a ring.
        expected: (K, 2) pixels, where the marked points should be.
        predicted: (K, 2) pixels, a network's landmarks.
        name_of: Names a point, for the text that appears over a ring.

    Returns:
        HTML.
    """
    labeled = face.visibility > 0
    x0, y0, x1, y1 = (float(v) for v in landmarks_box(face.landmarks, face.visibility))
    # A single point spans no box.
    least = 0.05 * max(image.shape[:2]) if min(x1 - x0, y1 - y0) <= 0 else 0.0
    matrix = crop_matrix(np.array([x0 - least, y0 - least, x1 + least, y1 + least]), SIDE, 1.4)
    crop = crop_face(image, matrix, SIDE)
    stream = io.BytesIO()
    Image.fromarray(crop).save(stream, "JPEG", quality=80)
    picture = base64.b64encode(stream.getvalue()).decode()
    # The center of pixel 0 is half a unit from the drawing's edge.
    points = transform_points(matrix, face.landmarks.astype(np.float64)) + 0.5
    parts = [f'<image href="data:image/jpeg;base64,{picture}" width="{SIDE}" height="{SIDE}"/>']
    parts.append(f'<path class="e" d="{_lines(points, labeled, edges)}"/>')
    if predicted is not None:
        moved = transform_points(matrix, predicted) + 0.5
        parts.append(f'<path class="n" d="{_dots(moved, np.isfinite(moved).all(axis=1))}"/>')
    parts.append(f'<path class="p" d="{_dots(points, labeled)}"/>')
    for point in marked:
        x, y = points[point]
        title = f"<title>{escape(printable(name_of(point)))}</title>"
        parts.append(f'<circle class="o" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{title}</circle>')
        if expected is not None and np.isfinite(expected[point]).all():
            u, v = transform_points(matrix, expected[point][None])[0] + 0.5
            parts.append(f'<path class="x" d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}"/>')
            parts.append(f'<path class="q" d="M{u:.1f} {v:.1f}h0"/>')
    drawing = (
        f'<svg viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}">{"".join(parts)}</svg>'
    )
    name = escape(printable(face.file_name))
    text = f"<b>{name}</b><br>{escape(printable(caption))}"
    return f"<figure>{drawing}<figcaption>{text}</figcaption></figure>"


def _dots(points: np.ndarray, shown: np.ndarray) -> str:
    # A line of no length with round ends is a dot.
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points[shown])


def _lines(points: np.ndarray, shown: np.ndarray, edges: Iterable[tuple[int, int]]) -> str:
    return "".join(
        f"M{points[a][0]:.1f} {points[a][1]:.1f}L{points[b][0]:.1f} {points[b][1]:.1f}"
        for a, b in edges
        if shown[a] and shown[b]
    )


def draw_shape(
    shape: np.ndarray,
    spread: np.ndarray,
    edges: Iterable[tuple[int, int]] = (),
    name_of: Callable[[int], str] = str,
    side: int = 480,
) -> str:
    """Draws a mean shape with numbered points and their usual deviation as disks.

    Args:
        shape: (K, 2), any unit; NaN where there is none.
        spread: (K,), radius of the disks in percent of the shape's longer side.
        edges: Pairs of points to join by a line.
        name_of: Names a point, for the text that appears over it.
        side: Longer side of the drawing in pixels.

    Returns:
        An SVG element.
    """
    known = np.asarray(np.isfinite(shape).all(axis=1))
    low, high = shape[known].min(axis=0), shape[known].max(axis=0)
    scale = (side - 60) / max(float((high - low).max()), 1e-9)
    points = (shape - low) * scale + 30
    width, height = (high - low) * scale + 60
    parts = [f'<path class="l" d="{_lines(points, known, edges)}"/>']
    for index in np.flatnonzero(known).tolist():
        x, y = points[index]
        radius = max(spread[index] / 100 * (side - 60), 1.0)
        title = f"<title>{escape(printable(name_of(index)))}</title>"
        parts.append(f'<circle class="s" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')
        parts.append(f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="2">{title}</circle>')
        parts.append(f'<text x="{x + 3:.1f}" y="{y - 3:.1f}">{index}</text>')
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f"<svg {size}>{''.join(parts)}</svg>"
