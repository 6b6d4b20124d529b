"""A picture of how good a calibration is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_facealign.calibration.quality import Quality
from keras_facealign.storage.atomic import atomic_write

__all__ = ["plot_quality"]


def plot_quality(path: str | os.PathLike[str], quality: Quality, title: str = "") -> Path:
    """Draws expected against observed errors, ROC curves, and errors when the unsure are dropped.

    Args:
        path: The PNG file to write.
        quality: What to draw.
        title: What was measured.

    Returns:
        The path.

    Example:
        >>> plot_quality("calibration.png", measure(calibration, seen))  # doctest: +SKIP
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 4.2), layout="compressed")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    _draw_tenths(panels[0], quality)
    _draw_rates(panels[1], quality)
    _draw_kept(panels[2], quality)
    if title:
        figure.suptitle(title)
    return atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=130))


def _draw_tenths(axes: Any, quality: Quality) -> None:
    expected, observed = quality.tenths.T
    limit = 1.08 * float(quality.tenths.max())
    axes.plot([0, limit], [0, limit], color="0.6", linestyle="--", label="as they should be")
    axes.plot(expected, observed, "o-", color="#1f5fa8", label="a tenth of the landmarks")
    axes.set(
        xlim=(0, limit),
        ylim=(0, limit),
        aspect="equal",
        xlabel="expected root mean square error, pixels",
        ylabel="observed, pixels",
        title="Standard deviation",
    )
    axes.legend(loc="upper left")
    axes.grid(alpha=0.3)


def _draw_rates(axes: Any, quality: Quality) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--")
    for (kind, (false, true)), style in zip(quality.rates.items(), ("-", "-."), strict=False):
        area = quality.aurocs[kind]["all"]
        axes.plot(false, true, style, linewidth=2, label=f"hidden {kind}: AUROC {area:.3f}")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="visible landmarks taken for hidden, share",
        ylabel="hidden landmarks found, share",
        title="Visibility",
    )
    if quality.rates:
        axes.legend(loc="lower right")
    axes.grid(alpha=0.3)


def _draw_kept(axes: Any, quality: Quality) -> None:
    shares, errors = quality.kept_errors
    axes.plot(100 * (1 - shares), errors, color="#1f5fa8", linewidth=2)
    axes.set(
        xlim=(0, 50),
        ylim=(0, None),
        xlabel="least certain landmarks dropped, %",
        ylabel="mean error of the others, pixels",
        title="Errors without the least certain",
    )
    axes.grid(alpha=0.3)
