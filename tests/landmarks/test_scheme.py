"""Every scheme fits the faces that its data set labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_facealign.landmarks import SCHEMES, LandmarkScheme
from tests.landmarks.mean_faces import faces, fit

NAMES = list(SCHEMES)


REGION_WORDS = ("jaw", "brow", "nose", "nostrils", "eye", "pupil", "iris", "lip")


@pytest.mark.parametrize("name", NAMES)
def test_flip_is_an_involution_that_fits_the_mirrored_face(name):
    scheme, points = SCHEMES[name], faces(name)
    permutation = scheme.flip_permutation
    assert len(points) == scheme.num_landmarks
    assert permutation[permutation].tolist() == list(range(scheme.num_landmarks))
    mirrored = fit((points * ([-1, 1, 1][: points.shape[1]]))[permutation], points)
    size = np.ptp(points, axis=0).max()
    distances = np.linalg.norm(mirrored[:, None] - points, axis=-1)
    own = np.diag(distances)
    assert own.max() < 0.045 * size
    # In the right order each mirrored point is at its own place, not nearer to another one's; where
    # neighbors lie closer than the face is symmetric, only the whole can tell.
    if len(points) < 400:
        crowded = own > 0.4 * np.sort(distances, axis=1)[:, 1]
        nearest = distances.argmin(axis=1) == np.arange(len(points))
        assert (nearest | crowded).all()
    from scipy.optimize import linear_sum_assignment

    # No other assignment of points fits better, but for points on top of each other (JD labels
    # pupils and eye centers alike on average).
    _, best = linear_sum_assignment(distances)
    others = np.flatnonzero(best != np.arange(len(points)))
    assert distances[others, best[others]].sum() > own[others].sum() - 0.02 * size


@pytest.mark.parametrize("name", NAMES)
def test_right_is_on_the_left_of_the_picture_and_eyes_above_lips(name):
    scheme, points = SCHEMES[name], faces(name)
    for region, indices in scheme.regions.items():
        assert any(word in region for word in REGION_WORDS), region
        if region.startswith("right"):
            other = scheme.regions[region.replace("right", "left")]
            assert points[list(indices), 0].max() < points[list(other), 0].min()
            assert {int(scheme.flip_permutation[i]) for i in indices} == set(other)
    means = {key: points[list(value), 1].mean() for key, value in scheme.regions.items()}
    assert means["right_eye"] < means["outer_lip"]
    if "right_brow" in means:
        assert means["right_brow"] < means["right_eye"]
    for middle in ("jaw", "nose_bridge", "nostrils", "outer_lip", "inner_lip"):
        indices = set(scheme.regions.get(middle, ()))
        assert {int(scheme.flip_permutation[i]) for i in indices} == indices


@pytest.mark.parametrize("name", NAMES)
def test_eyes_and_corners(name):
    scheme, points = SCHEMES[name], faces(name)
    flip = scheme.flip_permutation
    right, left = scheme.eye_corners
    assert flip[right] == left
    assert sorted(flip[list(scheme.eyes[0])]) == sorted(scheme.eyes[1])
    centers = [points[list(eye), 0].mean() for eye in scheme.eyes]
    first, second = scheme.eye_points
    assert sorted(flip[list(first)]) == sorted(second)
    assert points[list(first), 0].mean() < points[list(second), 0].mean()
    if scheme.inner_corners is not None:
        inner = scheme.inner_corners
        assert flip[inner[0]] == inner[1]
        order = [points[right, 0], centers[0], points[inner[0], 0]]
        order += [points[inner[1], 0], centers[1], points[left, 0]]
        assert order == sorted(order)


@pytest.mark.parametrize("name", NAMES)
def test_drawings(name):
    scheme, points = SCHEMES[name], faces(name)[:, :2]
    edges = {frozenset(edge) for edge in scheme.edges}
    assert len(edges) == len(scheme.edges)
    flip = scheme.flip_permutation
    assert {frozenset(int(flip[i]) for i in edge) for edge in edges} == edges
    # No line crosses the face: neighbors in a drawing are near each other. Sparse schemes and the
    # five points have long lines by nature.
    lengths = [np.linalg.norm(points[a] - points[b]) for a, b in scheme.edges]
    size = np.ptp(points, axis=0).max()
    assert max(lengths) < (0.2 if scheme.num_landmarks > 30 else 0.9) * size


def test_regions_do_not_overlap():
    for scheme in SCHEMES.values():
        indices = [i for region in scheme.regions.values() for i in region]
        assert len(set(indices)) == len(indices)
        assert max(indices) < scheme.num_landmarks
        if scheme.num_landmarks < 400:
            assert len(indices) == scheme.num_landmarks, scheme.name


def test_another_scheme_is_only_data():
    scheme = LandmarkScheme(
        name="five",
        num_landmarks=5,
        regions={"eyes": (0, 1), "nose": (2,), "mouth": (3, 4)},
        closed_regions=frozenset(),
        flip_pairs=((0, 1), (3, 4)),
        eye_corners=(0, 1),
    )
    assert scheme.flip_permutation.tolist() == [1, 0, 2, 4, 3]
    assert scheme.edges == ((0, 1), (3, 4))
    assert scheme.eye_points == ((0,), (1,))
    assert replace(scheme, eyes=((0, 2), (1,))).eye_points == ((0, 2), (1,))
    assert replace(scheme, eye_corners=None).eye_points is None
