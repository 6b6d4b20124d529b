"""Draws the figure of a model card: the landmarks that a network finds on faces that are hard."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_facealign.evaluation.cards.trials import FAILED, Trial
from keras_facealign.evaluation.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRUTH, _FAILURE = "#ff4040", "#d01818"
# Standard deviations at the ends of the colors, in percent of the crop's side.
_SIGMA_RANGE = (1.0, 6.0)


def draw_trials(rows: Mapping[str, Sequence[Trial]], calibrated: bool) -> Figure:
    """Draws rows of crops with the landmarks found and their true places.

    Landmarks found are dots, colored (viridis) by standard deviation if the network is
    `calibrated`, else by confidence; yellow is certain. Places that count are red crosses. The
    caption has the error, in red above `FAILED`.

    Args:
        rows: Judged trials by the heading of their row.
        calibrated: Whether `certainty` is a standard deviation in pixels of the crop.
    """
    low, high = _SIGMA_RANGE if calibrated else (0.0, 1.0)
    colors = "viridis_r" if calibrated else "viridis"
    label = "standard deviation, % of the crop's side" if calibrated else "confidence"
    columns = max(map(len, rows.values()))
    with new_figure(1.48 * columns, 1.85 * len(rows) + 0.5) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, (heading, trials) in zip(grid, rows.items(), strict=True):
            line[0].set_title(heading, fontsize=9, loc="left")
            for axes, trial in zip(line, trials, strict=False):
                size = len(trial.view.crop)
                axes.imshow(trial.view.crop)
                truth = trial.view.landmarks[trial.counted]
                crosses = axes.scatter(*truth.T, s=14, c=_TRUTH, marker="+", lw=0.8)
                certainty = trial.certainty * (100 / size if calibrated else 1)
                dots = axes.scatter(
                    *trial.landmarks.T,
                    8,
                    certainty,
                    "o",
                    colors,
                    vmin=low,
                    vmax=high,
                    ec="k",
                    lw=0.4,
                )
                axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
                caption = {"transform": axes.transAxes, "va": "top", "fontsize": 7.5}
                axes.text(0, -0.03, trial.name, **caption)
                if trial.error is not None:
                    color = _FAILURE if trial.error > FAILED else "black"
                    axes.text(1, -0.03, f"{trial.error:.1f} %", ha="right", color=color, **caption)
        figure.legend([crosses], ["true place"], loc="outside lower left", fontsize=8)
        bar = figure.colorbar(dots, ax=grid, location="bottom", shrink=0.3, aspect=30, pad=0.01)
        bar.set_label(f"found; {label}", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        figure.set_layout_engine("compressed", h_pad=0.06)  # inches; the headings need them
    return figure


def palette_png(figure: Figure, max_bytes: int = 195_000) -> bytes:
    """Renders a figure as a PNG file of few colors.

    Args:
        figure: The figure.
        max_bytes: Colors are reduced, down to 16, until the file is no larger.
    """
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    image = Image.open(buffer).convert("RGB")
    for colors in (256, 192, 160, 128, 96, 64, 32, 16):
        packed = io.BytesIO()
        few = image.quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(packed, "png", optimize=True)
        if packed.tell() <= max_bytes:
            break
    return packed.getvalue()
