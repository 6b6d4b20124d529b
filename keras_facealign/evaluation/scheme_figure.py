"""Draws a landmark scheme: the mean shape with numbers, lines and mirror pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_facealign.evaluation.plots import draw_edges, new_figure
from keras_facealign.landmarks import LandmarkScheme
from keras_facealign.landmarks.guessing import FlipGuess

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SURE, _DOUBTFUL = "tab:green", "tab:red"


def scheme_figure(
    scheme: LandmarkScheme, shape: np.ndarray, flips: Sequence[FlipGuess] = ()
) -> Figure:
    """Draws a scheme for a person to confirm.

    Args:
        scheme: The scheme.
        shape: (K, 2), its mean shape, x to the right and y down; NaN for unknown points.
        flips: Guesses of its mirror pairs: doubtful ones are red. Default: the scheme's, all green.

    Returns:
        The figure: gray lines of the drawing, dotted lines between the points of a mirror pair, and
        squares for points on the symmetry line.
    """
    shape = np.asarray(shape, np.float64)
    known = np.asarray(np.isfinite(shape).all(axis=1))
    pairs = [(guess.points, guess.doubtful) for guess in flips]
    if not flips:
        pairs = [(pair, False) for pair in scheme.flip_pairs]
    with new_figure(7.2, 7.2) as figure:
        axes = figure.add_subplot()
        axes.set(aspect="equal", title=f"{scheme.name}: {scheme.num_landmarks} landmarks")
        axes.invert_yaxis()
        axes.set_axis_off()
        draw_edges(axes, scheme, shape, known, "0.6")
        for (a, b), doubtful in pairs:
            color = _DOUBTFUL if doubtful else _SURE
            if known[a] and known[b]:
                marker = "s" if a == b else ""
                places = shape[[a, b]].T
                axes.plot(*places, color=color, ls=":", lw=0.8, marker=marker, ms=6, mfc="none")
        axes.plot(*shape[known].T, ".", color="0.2", ms=4)
        for index in np.flatnonzero(known):
            axes.annotate(str(index), shape[index], (3, 3), textcoords="offset points", fontsize=7)
    return figure
