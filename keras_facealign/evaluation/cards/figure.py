"""The picture of a model card: what a network makes of faces that are drawn, turned, disturbed."""

from __future__ import annotations

import io

import cv2
import numpy as np

from keras_facealign.evaluation.cards.trials import FAILED, Outcome, Row

__all__ = ["draw_strip", "palette_png"]

_PANEL = 144  # pixels
_GAP = 4
_CAPTION, _HEADING, _LEGEND = 18, 22, 34
_LEGEND_WIDTH = 560
_VOTES = 50_000
_INK, _PALE, _RED = (40, 40, 40), (120, 120, 120), (208, 24, 24)
_CROSS = (255, 64, 64)
# Standard deviations at the ends of the colors, in percent of the crop's side.
_SIGMA_RANGE = (1.0, 6.0)
_BITS = 4  # of cv2's coordinates behind the point
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_strip(rows: list[Row], calibrated: bool) -> np.ndarray:
    """Draws all rows below each other.

    Landmarks found are dots, colored (viridis) by standard deviation if the network is
    `calibrated`, else by confidence; places that count are red crosses; the caption has the error,
    in red above `FAILED`.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    columns = max(len(row.outcomes) for row in rows)
    width = max(columns * (_PANEL + _GAP) + _GAP, _LEGEND_WIDTH)
    height = len(rows) * (_HEADING + _PANEL + _CAPTION) + _LEGEND
    canvas = np.full((height, width, 3), 255, np.uint8)
    for index, row in enumerate(rows):
        top = index * (_HEADING + _PANEL + _CAPTION)
        _write(canvas, row.heading, _GAP, top + _HEADING - 7, _INK, 0.46)
        for column, outcome in enumerate(row.outcomes):
            left = _GAP + column * (_PANEL + _GAP)
            panel = canvas[top + _HEADING : top + _HEADING + _PANEL, left : left + _PANEL]
            panel[:] = _panel(outcome, calibrated)
            _caption(canvas, outcome, left, top + _HEADING + _PANEL + 13)
    _legend(canvas, calibrated)
    return canvas


def palette_png(picture: np.ndarray, most_bytes: int = 195_000) -> bytes:
    """Packs a picture as a PNG of few colors.

    Args:
        picture: uint8 (H, W, 3), RGB.
        most_bytes: The colors are made fewer, down to 16, until the file is no larger.
    """
    from PIL import Image

    whole, packed = Image.fromarray(picture), b""
    # Choosing colors takes long: of every so many pixels one has a say.
    step = max(1, round((picture.shape[0] * picture.shape[1] / _VOTES) ** 0.5))
    some = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
    for colors in (256, 192, 128, 96, 64, 32, 16):
        palette = some.quantize(colors, Image.Quantize.MAXCOVERAGE, kmeans=3)
        buffer = io.BytesIO()
        few = whole.quantize(palette=palette, dither=Image.Dither.NONE)
        few.save(buffer, format="png", optimize=True)
        packed = buffer.getvalue()
        if len(packed) <= most_bytes:
            break
    return packed


def _panel(outcome: Outcome, calibrated: bool) -> np.ndarray:
    """uint8 (_PANEL, _PANEL, 3): the crop, crosses, dots."""
    crop = outcome.trial.view.crop
    size = len(crop)
    way = cv2.INTER_AREA if size > _PANEL else cv2.INTER_CUBIC
    panel = cv2.resize(crop, (_PANEL, _PANEL), interpolation=way)

    def fixed(points: np.ndarray) -> np.ndarray:
        moved = (points + 0.5) * (_PANEL / size) - 0.5
        return np.rint(np.clip(moved, -_PANEL, 2 * _PANEL) * (1 << _BITS)).astype(int)

    arm = 2 << _BITS
    for x, y in fixed(outcome.trial.view.landmarks[outcome.trial.counted]).tolist():
        cv2.line(panel, (x - arm, y), (x + arm, y), _CROSS, 1, cv2.LINE_8, _BITS)
        cv2.line(panel, (x, y - arm), (x, y + arm), _CROSS, 1, cv2.LINE_8, _BITS)
    colors = _colors(outcome.certainty, size, calibrated)
    for (x, y), color in zip(fixed(outcome.landmarks).tolist(), colors, strict=True):
        cv2.circle(panel, (x, y), round(2.1 * (1 << _BITS)), (0, 0, 0), -1, cv2.LINE_AA, _BITS)
        cv2.circle(panel, (x, y), round(1.4 * (1 << _BITS)), color, -1, cv2.LINE_AA, _BITS)
    return panel


def _colors(certainty: np.ndarray, size: int, calibrated: bool) -> list[tuple[int, ...]]:
    """RGB of each landmark; yellow is sure."""
    low, high = _SIGMA_RANGE
    sure = 1 - (certainty * 100 / size - low) / (high - low) if calibrated else certainty
    steps = np.rint(255 * np.clip(sure, 0, 1)).astype(np.uint8)
    drawn = cv2.applyColorMap(steps.reshape(-1, 1), cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    return [tuple(color) for color in drawn.tolist()]


def _caption(canvas: np.ndarray, outcome: Outcome, left: int, baseline: int) -> None:
    _write(canvas, outcome.trial.what, left + 1, baseline, _INK, 0.4)
    if outcome.error is None:
        return
    error, color = f"{outcome.error:.1f} %", _RED if outcome.error > FAILED else _INK
    (width, _), _ = cv2.getTextSize(error, _FONT, 0.4, 1)
    _write(canvas, error, left + _PANEL - width - 1, baseline, color, 0.4)


def _legend(canvas: np.ndarray, calibrated: bool) -> None:
    top = len(canvas) - _LEGEND + 12
    x, y = _GAP + 6, top + 5
    cv2.line(canvas, (x - 4, y), (x + 4, y), _CROSS, 1)
    cv2.line(canvas, (x, y - 4), (x, y + 4), _CROSS, 1)
    right = _write(canvas, "true place", x + 12, top + 10, _PALE, 0.4)
    low, high = (f"{end:g} %" for end in _SIGMA_RANGE)
    word = "standard deviation, of the crop's side" if calibrated else "confidence"
    right = _write(canvas, f"found; {word}:", right + 30, top + 10, _PALE, 0.4)
    right = _write(canvas, high if calibrated else "0", right + 8, top + 10, _PALE, 0.4)
    ramp = np.arange(120, dtype=np.uint8) * 2
    bar = cv2.applyColorMap(ramp[:, None], cv2.COLORMAP_VIRIDIS)[None, :, 0, ::-1]
    canvas[top : top + 11, right + 6 : right + 126] = bar
    _write(canvas, low if calibrated else "1", right + 132, top + 10, _PALE, 0.4)


def _write(
    canvas: np.ndarray, text: str, x: int, y: int, color: tuple[int, int, int], scale: float
) -> int:
    """Writes a line, ASCII, from (x, y) on; returns where it ends."""
    cv2.putText(canvas, text, (x, y), _FONT, scale, color, 1, cv2.LINE_AA)
    return x + cv2.getTextSize(text, _FONT, scale, 1)[0][0]
