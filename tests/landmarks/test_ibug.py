"""The order of iBUG's 68 points is that of the original code."""

from __future__ import annotations

import numpy as np

from keras_facealign.landmarks import IBUG68


def down(first, last):
    return list(range(first, last - 1, -1))


# The list in the original code, region by region.
FLIP_ORDER = [
    *down(16, 0),
    *down(26, 17),
    *(27, 28, 29, 30),
    *(35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *down(54, 48),
    *down(59, 55),
    *down(64, 60),
    *(67, 66, 65),
]


def test_flip_permutation_is_the_original_list():
    assert IBUG68.flip_permutation.tolist() == FLIP_ORDER


def test_flip_permutation_undoes_itself():
    permutation = IBUG68.flip_permutation
    assert sorted(permutation) == list(range(68))
    assert permutation[permutation].tolist() == list(range(68))


def test_a_callers_change_to_the_permutation_stays_the_callers():
    IBUG68.flip_permutation[:] = 0
    assert IBUG68.flip_permutation.tolist() == FLIP_ORDER


def test_regions_hold_every_point_once():
    points = [p for region in IBUG68.regions.values() for p in region]
    assert sorted(points) == list(range(68)) == list(range(IBUG68.num_landmarks))


def test_mirroring_exchanges_right_and_left_regions():
    mirrored = {name: {FLIP_ORDER[p] for p in points} for name, points in IBUG68.regions.items()}
    for name, points in mirrored.items():
        other = name
        if "right" in name:
            other = name.replace("right", "left")
        elif "left" in name:
            other = name.replace("left", "right")
        assert points == set(IBUG68.regions[other]), name


def test_edges_stay_inside_regions_and_close_eyes_and_lips():
    region_of = {p: name for name, points in IBUG68.regions.items() for p in points}
    assert all(region_of[a] == region_of[b] for a, b in IBUG68.edges)
    assert len(set(map(frozenset, IBUG68.edges))) == len(IBUG68.edges)
    neighbors = np.bincount(np.ravel(IBUG68.edges), minlength=68)
    for name, points in IBUG68.regions.items():
        closed = "eye" in name or "lip" in name
        open_ends = 0 if closed else 2
        assert (neighbors[list(points)] == 1).sum() == open_ends, name
        assert (neighbors[list(points)] == 2).sum() == len(points) - open_ends, name


def test_a_flipped_drawing_is_the_same_drawing():
    edges = set(map(frozenset, IBUG68.edges))
    assert {frozenset(FLIP_ORDER[p] for p in edge) for edge in edges} == edges


def test_eye_corners_mirror_each_other():
    right, left = IBUG68.eye_corners
    assert (right, left) == (36, 45)
    assert FLIP_ORDER[right] == left
    assert right in IBUG68.regions["right_eye"] and left in IBUG68.regions["left_eye"]
