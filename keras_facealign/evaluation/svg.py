"""Drawings of a report as SVG text: curves, a face colored by error, faces with landmarks.

Written out directly, so that a page holds them as text that scales and needs nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.faces import ShownFace
from keras_facealign.evaluation.measures import ced
from keras_facealign.landmarks import LandmarkScheme

__all__ = ["CURVE_COLORS", "ced_chart", "error_color", "error_face", "face_view"]

# Told apart by hue and by lightness (Okabe and Ito's palette for all kinds of color vision).
CURVE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
TRUTH, PREDICTED = "#39e75f", "#ff3b6b"

# Dark to light, evenly in lightness: small errors are dark blue, large ones yellow.
_SCALE = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 640, 400, 56, 34, 46, 28
_SAMPLES = 512


def ced_chart(
    curves: Mapping[str, np.ndarray],
    limit: float,
    axis_label: str,
    lines: Sequence[tuple[str, float]] = (),
    points: Sequence[tuple[str, float, float]] = (),
) -> str:
    """Cumulative error curves with published values.

    Args:
        curves: NMEs (N,) in percent by name; infinity stands for a missed face.
        limit: Right end of the axis, percent.
        axis_label: What the horizontal axis shows.
        lines: Mark and value of published mean errors: vertical lines.
        points: Mark, threshold and share of published success rates: points of their curves.

    Returns:
        An SVG element.

    Raises:
        FaceAlignError: If there is no curve, or an NME is not usable.
    """
    if not curves:
        raise FaceAlignError("There is no curve to draw; give at least one set of NMEs.")
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + width * value / limit

    def y(share: float) -> float:
        return _TOP + height * (1 - share / 100)

    parts = [_open(_WIDTH, _HEIGHT, "Cumulative error curves")]
    for share in range(0, 101, 20):
        parts.append(_line(x(0), y(share), x(limit), y(share), "#ddd"))
        parts.append(_text(_LEFT - 6, y(share) + 4, str(share), "end"))
    for tick in _ticks(limit):
        parts.append(_line(x(tick), y(0), x(tick), y(100), "#ddd"))
        parts.append(_text(x(tick), y(0) + 16, f"{tick:g}", "middle"))
    parts.append(_text(_LEFT + width / 2, _HEIGHT - 8, axis_label, "middle"))
    middle = _TOP + height / 2
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">share of faces, %</text>'
    )

    rows = [-100.0, -100.0]
    for mark, value in sorted(lines, key=lambda entry: entry[1]):
        if not 0 <= value <= limit:
            continue
        parts.append(_line(x(value), y(0), x(value), y(100), "#888", dashes="4 3"))
        # Marks of close lines take turns in two rows, so that they do not cover each other.
        row = min(range(2), key=lambda place: rows[place])
        rows[row] = x(value)
        parts.append(_text(x(value), _TOP - 6 - 13 * row, mark, "middle", "#555"))

    samples = np.linspace(0, limit, _SAMPLES)
    for color, (name, nmes) in zip(_cycle(len(curves)), curves.items(), strict=True):
        _, share = ced(nmes, samples)
        trace = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(samples, share, strict=True))
        parts.append(
            f'<polyline points="{trace}" fill="none" stroke="{color}" stroke-width="2.2">'
            f"<title>{escape(name)}</title></polyline>"
        )
    lowest = -np.inf
    for mark, threshold, share in sorted(points, key=lambda entry: -entry[2]):
        if threshold <= limit:
            parts.append(
                f'<circle cx="{x(threshold):.1f}" cy="{y(share):.1f}" r="4" fill="#fff" '
                f'stroke="#555" stroke-width="1.6"/>'
            )
            # From top to bottom, each mark below the one before.
            lowest = max(y(share) + 4, lowest + 12)
            parts.append(_text(x(threshold) + 8, lowest, mark, "start", "#555"))
    parts.append("</svg>")
    return "".join(parts)


def error_face(
    scheme: LandmarkScheme, shape: np.ndarray, errors: np.ndarray, size: int = 400
) -> str:
    """A mean face whose landmarks are colored and sized by their mean error.

    Args:
        scheme: What the landmarks are.
        shape: (K, 2), any unit; NaN where there is none.
        errors: (K,) percent, NaN where there is none.
        size: Side of the drawing.

    Returns:
        An SVG element with its color scale.
    """
    known = np.isfinite(shape).all(axis=1) & np.isfinite(errors)
    if not known.any():
        return ""
    low, high = shape[known].min(axis=0), shape[known].max(axis=0)
    scale = (size - 40) / max(float((high - low).max()), 1e-9)
    places = (shape - (low + high) / 2) * scale + size / 2
    # The largest value may be an outlier that leaves all others one color.
    top = max(float(np.quantile(errors[known], 0.98)), 1e-9)
    parts = [_open(size, size + 44, "Error by landmark on a mean face")]
    for a, b in scheme.edges:
        if known[a] and known[b]:
            parts.append(_edge(places, a, b, "#bbb"))
    radius = 5.5 if scheme.num_landmarks <= 120 else 2.5
    for index in np.flatnonzero(known):
        px, py = places[index]
        share = min(errors[index] / top, 1)
        parts.append(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{radius * (0.7 + 0.6 * share):.1f}" '
            f'fill="{error_color(share)}" stroke="#333" stroke-width="0.5">'
            f"<title>landmark {index}: {errors[index]:.2f} %</title></circle>"
        )
    for step in range(100):
        parts.append(
            f'<rect x="{40 + step * (size - 80) / 100:.1f}" y="{size + 8}" '
            f'width="{(size - 80) / 100 + 0.5:.1f}" height="10" fill="{error_color(step / 99)}"/>'
        )
    parts.append(_text(40, size + 34, "0", "middle"))
    parts.append(_text(size - 40, size + 34, f"{top:.1f} %", "middle"))
    parts.append("</svg>")
    return "".join(parts)


def error_color(share: float) -> str:
    """The color of a share of the scale, 0 to 1, as `#rrggbb`."""
    place = min(max(share, 0.0), 1.0) * (len(_SCALE) - 1)
    index = min(int(place), len(_SCALE) - 2)
    one, other = (
        [int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in _SCALE[index : index + 2]
    )
    mixed = [round(a + (b - a) * (place - index)) for a, b in zip(one, other, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def face_view(face: ShownFace, scheme: LandmarkScheme) -> str:
    """A face with its ground truth and its prediction drawn over it.

    Args:
        face: The crop.
        scheme: What the landmarks are.

    Returns:
        An SVG element that holds the picture as PNG data.
    """
    import cv2

    size = face.crop.shape[0]
    _, png = cv2.imencode(".png", face.crop[..., ::-1])
    data = base64.b64encode(png.tobytes()).decode("ascii")
    parts = [_open(size, size, "A face with its landmarks")]
    parts.append(f'<image width="{size}" height="{size}" href="data:image/png;base64,{data}"/>')
    every = np.isfinite(face.prediction).all(axis=1)
    for points, shown, color in (
        (face.ground_truth, face.labeled, TRUTH),
        (face.prediction, every, PREDICTED),
    ):
        for a, b in scheme.edges:
            if shown[a] and shown[b]:
                parts.append(_edge(points, a, b, color, 0.8))
        dots = "".join(f"M{px:.1f},{py:.1f}h0" for px, py in points[shown])
        parts.append(
            f'<path d="{dots}" stroke="{color}" stroke-width="2.4" stroke-linecap="round"/>'
        )
    parts.append("</svg>")
    return "".join(parts)


def _open(width: float, height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(label)}" '
        f'font-family="sans-serif" font-size="12">'
    )


def _line(
    x0: float, y0: float, x1: float, y1: float, color: str, width: float = 1, dashes: str = ""
) -> str:
    broken = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{color}" '
        f'stroke-width="{width:g}"{broken}/>'
    )


def _edge(points: np.ndarray, a: int, b: int, color: str, width: float = 1) -> str:
    (x0, y0), (x1, y1) = points[a], points[b]
    return _line(x0, y0, x1, y1, color, width)


def _text(x: float, y: float, text: str, anchor: str, color: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
    )


def _ticks(limit: float) -> list[float]:
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, limit) if limit / s <= 10)
    return [step * i for i in range(int(limit / step + 1e-9) + 1)]


def _cycle(count: int) -> list[str]:
    return [CURVE_COLORS[i % len(CURVE_COLORS)] for i in range(count)]
