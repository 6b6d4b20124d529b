"""Spread, turn, standard deviation and visibility against closed forms and slow loops."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from keras_facealign.calibration import spread_of_heatmaps
from keras_facealign.calibration.formula import face_sides, yaw_asymmetry
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68, SCHEMES, numbered_scheme
from tests.calibration.synthetic import some_calibration


def as_kind(array, kind):
    array = np.asarray(array, np.float32)
    return array if kind == "numpy" else keras.ops.convert_to_tensor(array)


def as_numpy(value):
    return value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)


def gaussian_logits(stds, size=48, peak=0.6, offset=0.3):
    """Logits of Gaussians of probability, one a channel, with deviations in map pixels."""
    grid = np.arange(size)
    maps = [
        peak
        * np.exp(-((grid - size / 2 - offset) ** 2) / (2 * s**2))[:, None]
        * np.exp(-((grid - size / 2) ** 2) / (2 * s**2))
        for s in stds
    ]
    p = np.clip(np.stack(maps, axis=-1)[None], 1e-7, 1 - 1e-7)
    return np.log(p / (1 - p)).astype(np.float32)


@pytest.mark.parametrize("kind", ["numpy", "tensor"])
@pytest.mark.parametrize("peak", [0.05, 0.9])
def test_spread_is_the_deviation_of_a_gaussian(kind, peak):
    stds = np.array([1.0, 1.5, 2.5, 4.0, 6.0])
    spread = spread_of_heatmaps(as_kind(gaussian_logits(stds, peak=peak), kind), 96)
    # Two pixels of the input are one of the map.
    np.testing.assert_allclose(as_numpy(spread), 2 * stds[None], rtol=5e-3)


def test_spread_of_empty_and_full_maps_is_finite():
    logits = np.stack([np.full((8, 8), v) for v in (-200.0, -60.0, 200.0)], -1)[None]
    spread = spread_of_heatmaps(logits.astype(np.float32), 8)
    np.testing.assert_allclose(spread[0, 2], 8 / math.sqrt(4 * math.pi), rtol=1e-5)
    assert np.isfinite(spread).all()
    assert (spread > 0).all()


@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_turn_against_a_loop(kind):
    rng = np.random.default_rng(0)
    faces = rng.uniform(20, 100, (3, 68, 2)).astype(np.float32)
    found = as_numpy(yaw_asymmetry(as_kind(faces, kind), face_sides(IBUG68)))
    paired = {i for pair in IBUG68.flip_pairs for i in pair}
    for face, turn in zip(faces.astype(float), found, strict=True):
        right = np.mean([face[a] for a, _ in IBUG68.flip_pairs], axis=0)
        left = np.mean([face[b] for _, b in IBUG68.flip_pairs], axis=0)
        middle = np.mean([face[i] for i in range(68) if i not in paired], axis=0)
        across = left - right
        expected = (middle - (left + right) / 2) @ across / (across @ across)
        assert turn == pytest.approx([np.clip(expected, -1, 1)], abs=1e-4)


def test_turn_changes_its_sign_in_the_mirror_and_ignores_scale_and_rotation():
    rng = np.random.default_rng(1)
    face = rng.uniform(20, 100, (1, 68, 2))
    sides = face_sides(IBUG68)
    turn = yaw_asymmetry(face, sides)
    mirrored = (face * [-1, 1] + [127, 0])[:, IBUG68.flip_permutation]
    rotation = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    np.testing.assert_allclose(yaw_asymmetry(mirrored, sides), -turn, rtol=1e-6)
    np.testing.assert_allclose(yaw_asymmetry(2.5 * face @ rotation.T + 3, sides), turn, rtol=1e-5)


def test_schemes_without_a_symmetry_line_have_no_turn():
    sides = face_sides(numbered_scheme(9))
    assert not sides.any()
    np.testing.assert_array_equal(yaw_asymmetry(np.ones((2, 9, 2)), sides), np.zeros((2, 1)))
    for scheme in SCHEMES.values():
        sides = face_sides(scheme)
        assert sides.sum() == 0
        np.testing.assert_array_equal(sides[scheme.flip_permutation], -sides)


@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_sigma_is_interpolated_as_numpy_does(kind):
    calibration = some_calibration()
    spread = np.linspace(0.2, 9.0, 5 * 68).reshape(5, 68)
    sigma = as_numpy(calibration.sigma(as_kind(spread, kind)))
    expected = np.interp(spread, calibration.spreads, calibration.sigmas) * calibration.factors
    np.testing.assert_allclose(sigma, expected, rtol=1e-5)
    rising = as_numpy(calibration.sigma(as_kind(np.sort(spread, axis=0), kind)))
    assert (np.diff(rising, axis=0) >= 0).all()
    assert (rising > 0).all()


def test_outputs_on_tensors_are_those_on_arrays_and_those_of_a_loop():
    rng = np.random.default_rng(2)
    calibration = some_calibration()
    heatmaps = rng.normal(-3, 2, (2, 16, 16, 68)).astype(np.float32)
    landmarks = rng.uniform(0, 31, (2, 68, 2)).astype(np.float32)
    confidence = 1 / (1 + np.exp(-heatmaps.max(axis=(1, 2))))
    arguments = heatmaps, landmarks, confidence
    arrays = calibration(*arguments)
    tensors = calibration(*(as_kind(a, "tensor") for a in arguments))
    for name in ("sigma", "visibility"):
        assert arrays[name].shape == (2, 68)
        np.testing.assert_allclose(as_numpy(tensors[name]), arrays[name], rtol=2e-4, atol=1e-6)
    turn = yaw_asymmetry(landmarks, face_sides(IBUG68))
    names = ("bias", "peak_weights", "spread_weights", "yaw_weights")
    bias, of_peak, of_spread, of_yaw = (np.asarray(getattr(calibration, name)) for name in names)
    for i, k in ((0, 0), (1, 20), (1, 67)):
        p = [1 / (1 + math.exp(-float(v))) for v in heatmaps[i, :, :, k].ravel()]
        area = sum(p) ** 2 / sum(v * v for v in p) * (32 / 16) ** 2
        spread = math.sqrt(area / (4 * math.pi))
        score = (
            bias[k]
            + of_peak[k] * float(heatmaps[i, :, :, k].max())
            + of_spread[k] * math.log(spread)
            + of_yaw[k] * float(turn[i, 0])
        )
        assert arrays["visibility"][i, k] == pytest.approx(1 / (1 + math.exp(-score)), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": np.ones(67)}, r"factors has shape \(67,\); it needs 68"),
        ({"factors": np.zeros(68)}, "factors must be positive"),
        ({"bias": np.full(68, np.nan)}, "bias must be numbers between"),
        ({"spreads": [1, 2, 2, 3]}, "spreads must rise"),
        ({"spreads": [1, 2, 3]}, "3 and 4 numbers"),
        ({"sigmas": [1, 2, 1, 3]}, "sigmas must rise"),
        ({"sigmas": [0, 1, 1, 3]}, "sigmas must rise above 0"),
        ({"spreads": np.arange(1, 22), "sigmas": np.arange(1, 22)}, "2 to 20"),
        ({"peak_weights": -np.ones(68)}, "peak_weights must not be negative"),
        ({"spread_weights": np.ones(68)}, "spread_weights must not be positive"),
        ({"input_size": 0}, "input_size is 0"),
    ],
)
def test_values_that_no_calibration_has(changes, message):
    with pytest.raises(FaceAlignError, match=message):
        some_calibration(**changes)


@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_without_visibility_sigma_is_the_same(kind):
    names = ("bias", "peak_weights", "spread_weights", "yaw_weights")
    with_all, without = some_calibration(), some_calibration(**dict.fromkeys(names))
    heatmaps = np.random.default_rng(5).normal(-3, 2, (2, 16, 16, 68))
    arguments = as_kind(heatmaps, kind), as_kind(np.ones((2, 68, 2)), kind), None
    found = without(*arguments)
    assert set(found) == {"sigma"}
    sigma = with_all.sigma(spread_of_heatmaps(arguments[0], 32))
    np.testing.assert_array_equal(as_numpy(found["sigma"]), as_numpy(sigma))
    with pytest.raises(FaceAlignError, match="has no visibility"):
        without.visibility(np.ones((1, 68)), np.ones((1, 68)), np.ones((1, 1)))
    with pytest.raises(FaceAlignError, match="yaw_weights is missing"):
        some_calibration(yaw_weights=None)
