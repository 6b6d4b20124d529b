"""Pictures of schemes."""

from __future__ import annotations

import numpy as np

from keras_facealign.evaluation.scheme_figure import scheme_figure
from keras_facealign.landmarks import FIVE
from keras_facealign.landmarks.guessing import FlipGuess
from tests.landmarks.mean_faces import faces


def drawn(figure):
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    colors = [line.get_color() for line in axes.lines]
    return texts, colors


def test_numbers_lines_and_pairs():
    shape = faces("five")[:, :2]
    texts, colors = drawn(scheme_figure(FIVE, shape))
    assert texts == ["0", "1", "2", "3", "4"]
    assert colors.count("tab:green") == 2 and "tab:red" not in colors


def test_doubtful_pairs_are_red_and_unknown_points_left_out():
    shape = faces("five")[:, :2].copy()
    shape[4] = np.nan
    flips = [FlipGuess((0, 1), 0.2), FlipGuess((2, 2), 0.9), FlipGuess((3, 4), 0.9)]
    texts, colors = drawn(scheme_figure(FIVE, shape, flips))
    assert texts == ["0", "1", "2", "3"]
    assert (colors.count("tab:red"), colors.count("tab:green")) == (1, 1)
