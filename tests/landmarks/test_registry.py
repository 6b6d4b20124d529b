"""Landmark schemes against the original code's order, mean faces of data sets, and a portrait.

`tests/data/landmarks/faces.npz` has mean faces and the portrait; its README tells their sources.
"""

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import nme
from keras_facealign.landmarks import (
    IBUG68,
    MEDIAPIPE478,
    SCHEMES,
    LandmarkScheme,
    conversion_matrix,
    convert_landmarks,
    get_scheme,
    list_conversions,
    scheme_of_size,
)
from tests.paths import TESTS

DATA = TESTS / "data"


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


def test_schemes_by_name():
    assert get_scheme("ibug68") is IBUG68
    with pytest.raises(FaceAlignError, match="Unknown landmark scheme 'ibug86'.*ibug68"):
        get_scheme("ibug86")


# ---- all schemes --------------------------------------------------------------------------------

NAMES = list(SCHEMES)
REGION_WORDS = ("jaw", "brow", "nose", "nostrils", "eye", "pupil", "iris", "lip")


def faces(name):
    """Some face of the scheme (K, 2) or (K, 3): as near to frontal and symmetric as there is."""
    with np.load(DATA / "landmarks" / "faces.npz", allow_pickle=False) as file:
        stored = {key: file[key].astype(float) for key in file.files}
    if name in stored:
        return stored[name]
    if name.startswith("mediapipe"):
        return stored["portrait_mediapipe478"][: SCHEMES[name].num_landmarks]
    with np.load(DATA / "evaluation" / "spiga_300w_30.npz", allow_pickle=False) as file:
        truth = file["ground_truth"].astype(float)
    # The mean of the frontal ones of 30 faces, each of unit spread and upright by its eyes.
    turned = (truth[:, 30, 0] - truth[:, 0, 0]) / (truth[:, 16, 0] - truth[:, 0, 0]) - 0.5
    truth = truth[np.abs(turned) < 0.08]
    truth -= truth.mean(axis=1, keepdims=True)
    eyes = truth[:, 45] - truth[:, 36]
    scale = np.sqrt((truth**2).sum(axis=(1, 2)))
    turn = np.exp(-1j * np.angle(eyes[:, 0] + 1j * eyes[:, 1])) / scale
    upright = ((truth[..., 0] + 1j * truth[..., 1]) * turn[:, None]).mean(axis=0)
    mean = np.stack([upright.real, upright.imag], axis=-1)
    return mean if name == "ibug68" else convert_landmarks(mean, "ibug68", name)


def stretch(source, target):
    """`source` moved onto `target` by the best affine map.

    The mean faces of data sets are in units of boxes, so each is stretched in its own way.
    """
    ones = np.ones((len(source), 1))
    columns = np.hstack([source, ones])
    return columns @ np.linalg.lstsq(columns, target, rcond=None)[0]


def fit(source, target):
    """`source` moved onto `target` by the best rotation, scaling and shift (no mirroring)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, s, v = np.linalg.svd(a.T @ b)
    signs = np.ones(len(s))
    signs[-1] = np.sign(np.linalg.det(u @ v))
    return a @ (u * signs) @ v * (s @ signs) / (a**2).sum() + target.mean(axis=0)


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


def test_schemes_by_size():
    assert [scheme_of_size(k).name for k in (5, 19, 29, 68, 98, 106, 468, 478)] == NAMES
    assert scheme_of_size(67) is None


# ---- conversions --------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), list_conversions())
def test_conversion_weights_and_symmetry(source, target):
    matrix = conversion_matrix(source, target)
    sums = matrix.sum(axis=1)
    assert ((np.abs(sums - 1) < 1e-12) | (sums == 0)).all()
    assert (matrix >= 0).all()
    a, b = SCHEMES[source].flip_permutation, SCHEMES[target].flip_permutation
    # Converting a mirrored face is mirroring the converted one.
    np.testing.assert_allclose(matrix[b][:, a], matrix, atol=1e-12)
    points = np.random.default_rng(1).normal(size=(3, SCHEMES[source].num_landmarks, 2))
    found = convert_landmarks(points, source, target)
    expected = np.einsum("kj,njd->nkd", matrix, points)
    known = sums > 0
    np.testing.assert_allclose(found[:, known], expected[:, known], atol=1e-12)
    assert np.isnan(found[:, ~known]).all()


def test_which_conversions_there_are():
    found = set(list_conversions())
    for source in ("wflw98", "jd106", "mediapipe468", "mediapipe478"):
        assert {(source, "ibug68"), (source, "five")} <= found
    assert ("ibug68", "five") in found
    assert ("five", "ibug68") not in found
    unknown = np.flatnonzero(conversion_matrix("ibug68", "cofw29").sum(axis=1) == 0)
    assert unknown.tolist() == [4, 5, 6, 7]
    assert (conversion_matrix("wflw98", "cofw29").sum(axis=1) > 0).all()


@pytest.mark.parametrize("source", ["wflw98", "jd106"])
def test_mean_faces_agree_after_conversion(source):
    # Means of different data sets and poses: close, not equal.
    mean = faces("ibug68")
    moved = stretch(convert_landmarks(faces(source), source, "ibug68"), mean)
    assert nme(moved[None], mean[None])[0] < 6
    assert np.abs(moved - mean)[17:].max() < 0.08 * np.ptp(mean, axis=0).max()


@pytest.mark.parametrize("target", ["cofw29", "aflw19"])
def test_mean_faces_of_few_points(target):
    mean = faces(target)
    for source in ("ibug68", "wflw98"):
        if (source, target) not in list_conversions():
            continue
        found = convert_landmarks(faces(source), source, target)
        known = np.isfinite(found).all(axis=1)
        moved = stretch(found[known], mean[known])
        error = np.linalg.norm(moved - mean[known], axis=1)
        assert error.mean() < 0.04 * np.ptp(mean, axis=0).max()


def test_mesh_of_a_portrait():
    points, expected = faces("mediapipe478"), faces("portrait_ibug68")
    found = convert_landmarks(points, "mediapipe478", "ibug68")
    assert found.shape == (68, 3)
    found = found[:, :2]
    assert nme(found[None], expected[None])[0] < 3.5
    # On a chain of tables the same.
    np.testing.assert_allclose(
        convert_landmarks(points[:468], "mediapipe468", "five"),
        convert_landmarks(convert_landmarks(points, "mediapipe478", "ibug68"), "ibug68", "five"),
    )
    # The irises' centers lie in the eyes, each among the four points of its iris.
    for iris, eye in ((468, MEDIAPIPE478.eyes[0]), (473, MEDIAPIPE478.eyes[1])):
        ring = points[iris + 1 : iris + 5, :2].mean(axis=0)
        assert np.linalg.norm(ring - points[iris, :2]) < 1
        assert np.linalg.norm(points[list(eye), :2].mean(axis=0) - points[iris, :2]) < 3


def test_recognition_points_by_hand():
    points = np.random.default_rng(0).normal(size=(2, 68, 2)).astype("float32")
    five = convert_landmarks(points, "ibug68", "five")
    assert five.dtype == np.float32
    np.testing.assert_allclose(five[:, 0], points[:, 36:42].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(five[:, 1], points[:, 42:48].mean(axis=1), atol=1e-6)
    np.testing.assert_array_equal(five[:, 2:], points[:, [30, 48, 54]])


def test_an_unlabeled_point_spoils_only_its_own():
    points = np.zeros((68, 2))
    points[36] = np.nan
    five = convert_landmarks(points, "ibug68", "five")
    assert np.isnan(five[0]).all()
    assert np.isfinite(five[1:]).all()


def test_conversions_that_cannot_be():
    with pytest.raises(FaceAlignError, match="no conversion from 'five'.*none"):
        convert_landmarks(np.zeros((5, 2)), "five", "ibug68")
    with pytest.raises(FaceAlignError, match="from 'aflw19' there is: five"):
        conversion_matrix("aflw19", "ibug68")
    with pytest.raises(FaceAlignError, match=r"\(98, 2\).*\(..., 68, 2 or 3\)"):
        convert_landmarks(np.zeros((98, 2)), "ibug68", "five")
    with pytest.raises(FaceAlignError, match="Unknown landmark scheme 'wflw'"):
        convert_landmarks(np.zeros((98, 2)), "wflw", "five")
    with pytest.raises(FaceAlignError, match="dtype"):
        convert_landmarks(np.full((68, 2), "x"), "ibug68", "five")
