"""What the comparison of the transformers measures, with networks whose error is known."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.landmarks import IBUG68
from tests.models.tiny import SIZE, faces, tiny_model
from tests.paths import ROOT

PERMUTATION = np.asarray(IBUG68.flip_permutation)


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import dual_transformers

    return dual_transformers


def true_second(view):
    """Where the landmarks are in the second view, by a loop."""
    found = np.empty_like(view["landmarks"])
    for i, points in enumerate(view["landmarks"]):
        for k in range(68):
            (a, b, x), (c, d, y) = view["matrix"][i]
            source = points[PERMUTATION[k] if view["flip"][i] else k]
            found[i, k] = [a * source[0] + b * source[1] + x, c * source[0] + d * source[1] + y]
    return found


def test_incoherence_is_the_distance_between_views(script):
    (view,) = script.draw_views(tiny_model(), [faces(6)], script.PAIRS, 1)
    assert view["first"].shape == view["second"].shape == (6, SIZE, SIZE, 3)
    assert 0 < view["flip"].sum() < 6
    second = true_second(view)
    same = script.incoherence(view["landmarks"], second, view, PERMUTATION)
    np.testing.assert_allclose(same, 0, atol=1e-3)
    corners = np.linalg.norm(second[:, 36] - second[:, 45], axis=1)
    apart = script.incoherence(view["landmarks"], second + np.array([3.0, 4.0]), view, PERMUTATION)
    np.testing.assert_allclose(apart, 500 / corners, rtol=1e-4)


def test_a_network_without_error_has_none_in_any_column(script, monkeypatch):
    held_out = [faces(3)]
    monkeypatch.setattr(script, "DRAWS", 1)
    asked = []

    def draw(*settings):
        views = original(*settings)
        for view in views:
            asked.extend([(view["first"], view["landmarks"]), (view["second"], true_second(view))])
        return views

    original = script.draw_views
    monkeypatch.setattr(script, "draw_views", draw)

    def predict(images):
        (points,) = (points for known, points in asked if known is images)
        return points + model.landmark_offset, None

    model = tiny_model()
    monkeypatch.setattr(model, "predict_landmarks", predict)
    found = script.measure(model, held_out)
    assert set(found) == {"NME", "disturbed", "turned", "coherence"}
    assert all(value == pytest.approx(0, abs=1e-3) for value in found.values())
    model.landmark_offset = (1.0, 0.0)
    found = script.measure(model, held_out)
    # The offset of upright faces' labels is left out where faces are turned or mirrored.
    assert found["NME"] > 1 and found["disturbed"] > 1
    assert [found["turned"], found["coherence"]] == pytest.approx([0, 0], abs=1e-3)
