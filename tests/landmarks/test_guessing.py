"""Guesses on the known schemes: their flip pairs are found on drawn faces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import SCHEMES, WFLW98
from keras_facealign.landmarks.guessing import (
    _assign,
    guess_flips,
    guess_regions,
    lines_of,
    shape_of,
)
from tests.landmarks.mean_faces import faces


def turned(shape: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Faces of a shape at random places, sizes and angles, with errors of labeling."""
    rng = np.random.default_rng(seed)
    angles = rng.normal(0, 0.15, count)
    moved = (shape @ [1, 1j]) * np.exp(1j * angles)[:, None]
    moved = moved * rng.uniform(50, 200, count)[:, None] + rng.uniform(0, 300, count)[:, None]
    points = np.stack([moved.real, moved.imag], axis=-1)
    size = np.ptp(points, axis=1).max(axis=-1)
    return points + rng.normal(0, 0.005, points.shape) * size[:, None, None]


@pytest.mark.parametrize("name", ["five", "aflw19", "cofw29", "ibug68", "wflw98"])
def test_flip_pairs_of_known_schemes_are_found(name):
    scheme = SCHEMES[name]
    shape = shape_of(turned(faces(name)[:, :2], 40))
    guesses = guess_flips(shape)
    found = {guess.points for guess in guesses if guess.points[0] != guess.points[1]}
    assert found == {tuple(sorted(pair)) for pair in scheme.flip_pairs}
    # Each point is in one guess.
    assert sorted(p for g in guesses for p in set(g.points)) == list(range(scheme.num_landmarks))


def test_points_on_top_of_each_other_are_doubtful():
    shape = np.array([[-1, 0], [1, 0], [-1, 0.001], [1, 0.001], [0, 1.0]])
    guesses = {guess.points: guess for guess in guess_flips(shape)}
    assert guesses[4, 4].confidence > 0.9 and not guesses[4, 4].doubtful
    assert all(guess.doubtful for points, guess in guesses.items() if points != (4, 4))


def test_names_decide():
    shape = np.array([[-1, 0], [1, 0], [-1, 0.001], [1, 0.001], [0, 1.0]])
    names = ["left_eye", "r_pupil", "L_pupil", "Right_eye", "nose"]
    guesses = guess_flips(shape, names)
    assert [g.points for g in guesses] == [(0, 3), (1, 2), (4, 4)]
    assert [g.confidence for g in guesses[:2]] == [1.0, 1.0]
    # These words are parts of other words.
    assert [g.points for g in guess_flips(shape[[4]], ["clearly"])] == [(0, 0)]


def test_unknown_points_are_left_out():
    shape = np.array([[-1, 0], [1, 0], [np.nan, np.nan], [0, 1.0]])
    assert [g.points for g in guess_flips(shape)] == [(0, 1), (3, 3)]
    assert guess_flips(np.full((2, 2), np.nan)) == []


def test_assignment_is_optimal():
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 30):
        cost = rng.uniform(size=(size, size))
        rows, columns = linear_sum_assignment(cost)
        assert cost[np.arange(size), _assign(cost)].sum() == pytest.approx(
            cost[rows, columns].sum()
        )


def test_mean_shape_is_the_shape():
    shape = faces("wflw98")[:, :2]
    points = turned(shape, 60)
    visibility = np.random.default_rng(2).integers(0, 3, points.shape[:2])
    mean = shape_of(points, visibility)
    assert mean.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    wanted = (shape - shape.mean(axis=0)) @ [1, 1j]
    wanted /= np.sqrt((np.abs(wanted) ** 2).mean())
    # The angles' average is 0 up to chance.
    assert np.abs(mean @ [1, 1j] - wanted).max() < 0.08
    with pytest.raises(FaceAlignError, match="No face has two labeled landmarks"):
        shape_of(points, np.zeros(points.shape[:2]))


def test_regions():
    names = [name.replace("_eye", " eye") for name in WFLW98.point_names]
    regions = guess_regions(98, names)
    assert regions["jaw"] == tuple(range(33)) and regions["right eye"] == tuple(range(60, 68))
    assert guess_regions(5, None, [(0, 1), (3, 4), (1, 4)]) == {
        "part_0": (0, 1, 3, 4),
        "part_1": (2,),
    }
    assert guess_regions(3, ["a1", "b", "c2"]) == {"points": (0, 1, 2)}
    assert guess_regions(3, ["1", "2", "3"]) == {"points": (0, 1, 2)}
    assert guess_regions(3, ["a1_1", "a1 - 2", "b"]) == {"points": (0, 1, 2)}
    assert guess_regions(3, ["a1_1", "a1 - 2", "b7"]) == {"a1": (0, 1), "b": (2,)}
    long = ["_" * 500_000, "1" * 500_000 + "x", "b"]
    assert guess_regions(3, long) == {"points": (0, 1, 2)}
    assert lines_of(()) == ()
