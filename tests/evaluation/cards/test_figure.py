"""The figure of a card: colors of certainty, red failures, and a small file."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from keras_facealign.evaluation.cards.figure import draw_trials, palette_png
from keras_facealign.evaluation.cards.trials import Trial


def drawn(error: float | None, certainty: float, calibrated: bool):
    """Colors of dots, places of crosses, and color of the error of a trial of 64 pixels."""
    view = SimpleNamespace(
        crop=np.full((64, 64, 3), 128, np.uint8), landmarks=np.full((68, 2), 20.0)
    )
    counted = np.full(68, error is not None)
    found = np.full((68, 2), 45.0), np.full(68, certainty)
    trial = Trial("yaw 30", view, counted, *found, error)  # type: ignore[arg-type]
    axes = draw_trials({"Faces": [trial]}, calibrated).axes[0]
    crosses, dots = axes.collections
    errors = [text.get_color() for text in axes.texts if "%" in text.get_text()]
    assert axes.get_title(loc="left") == "Faces" and axes.texts[0].get_text() == "yaw 30"
    np.testing.assert_array_equal(dots.get_offsets(), found[0])
    return to_hex(dots.to_rgba(dots.get_array())[0]), crosses.get_offsets(), errors


@pytest.mark.parametrize(
    ("certainty", "calibrated", "color"),
    [
        (1.0, False, "#fde725"),  # viridis's ends; yellow is certain
        (0.0, False, "#440154"),
        (0.5, True, "#fde725"),  # pixels of 64
        (9.0, True, "#440154"),
    ],
)
def test_dots_are_colored_by_certainty(certainty, calibrated, color):
    found, crosses, errors = drawn(7.9, certainty, calibrated)
    assert found == color and errors == ["black"]
    np.testing.assert_array_equal(crosses, np.full((68, 2), 20.0))


def test_failures_are_red_and_landmarks_that_do_not_count_have_no_cross():
    assert drawn(8.1, 1.0, False)[2] == ["#d01818"]
    _, crosses, errors = drawn(None, 1.0, False)
    assert len(crosses) == 0 and errors == []


def test_a_png_has_a_palette_and_keeps_to_its_size():
    figure = Figure(figsize=(1.2, 0.8))
    figure.figimage(np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8))
    large, small = palette_png(figure, 10**6), palette_png(figure, 6000)
    assert len(small) <= 6000 < len(large)
    for packed in (large, small):
        image = Image.open(io.BytesIO(packed))
        assert image.mode == "P" and image.size == (120, 80)
    assert palette_png(figure, 6000) == small
