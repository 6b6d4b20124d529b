"""Draws how good a calibration is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.calibration.quality import Quality
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.file_names import plot_text

_COLOR = "#1f5fa8"


def plot_quality(path: str | os.PathLike[str], quality: Quality, title: str = "") -> Path:
    """Draws expected against observed errors, ROC curves, and errors of the most certain landmarks.

    Args:
        path: The PNG file to write.
        quality: The measurements.
        title: Description of what was measured.

    Returns:
        The path.

    Example:
        >>> plot_quality("calibration.png", measure(calibration, seen))  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 4.2), layout="compressed")
    deviation, visibility, kept = figure.subplots(1, 3)
    figure.suptitle(plot_text(title))

    limit = 1.08 * float(quality.deciles.max())
    deviation.plot(*quality.deciles.T, "o-", color=_COLOR, label="a tenth of the landmarks")
    _square(deviation, limit, "expected root mean square error, pixels", "observed, pixels")
    deviation.set_title("Standard deviation")
    deviation.legend(loc="upper left")

    for (kind, rates), style in zip(quality.rates.items(), ("-", "-."), strict=False):
        label = f"hidden {kind}: AUROC {quality.aurocs[kind]['all']:.3f}"
        visibility.plot(*rates, style, linewidth=2, label=label)
    _square(
        visibility,
        1,
        "visible landmarks classified as hidden, share",
        "hidden landmarks found, share",
    )
    visibility.set_title("Visibility")
    if quality.rates:
        visibility.legend(loc="lower right")

    shares, errors = quality.kept_errors
    kept.plot(100 * (1 - shares), errors, color=_COLOR, linewidth=2)
    kept.set(xlim=(0, 50), ylim=(0, None), title="Errors without the least certain")
    kept.set(xlabel="least certain landmarks dropped, %", ylabel="mean error of the others, pixels")
    for axes in (deviation, visibility, kept):
        axes.grid(alpha=0.3)
    return atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=130))


def _square(axes: Any, limit: float, horizontal: str, vertical: str) -> None:
    """Sets up square axes with a dashed diagonal."""
    diagonal = np.array([0, limit])
    axes.plot(diagonal, diagonal, color="0.6", linestyle="--", zorder=1)
    axes.set(xlim=diagonal, ylim=diagonal, aspect="equal", xlabel=horizontal, ylabel=vertical)
