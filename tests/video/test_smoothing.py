"""The filter against a slow one of its own words, and what it promises: still, without lag."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import OneEuroFilter, Smoothing

RATE = 30.0


def face(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform([200, 150], [300, 250], (20, 2))


def smooth_all(points, confidence=None, settings=None, times=None) -> np.ndarray:
    subject = OneEuroFilter(settings or Smoothing())
    times = np.arange(len(points)) / RATE if times is None else times
    rows = zip(times, points, strict=True)
    return np.array([subject(p, t, confidence) for t, p in rows])


def slow_fit(source, target):
    """Rotation with scaling and shift, by least squares on its four numbers."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return lambda points: np.array([[a * x - b * y + tx, b * x + a * y + ty] for x, y in points])


def slow_filter(points, confidence, times, s):
    def share(cutoff, step):
        return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff * step))

    shape, out = points[0].copy(), points[0].copy()
    own, shared = np.zeros_like(shape), np.zeros_like(shape)
    results = [out]
    for i in range(1, len(points)):
        now, before, step = points[i], points[i - 1], times[i] - times[i - 1]
        size = max(np.ptp(now[:, 0]), np.ptp(now[:, 1]))
        move = slow_fit(before, now)
        carried, moved, new_shape = move(before), move(shape), np.empty_like(shape)
        for k in range(len(now)):
            for axis in range(2):
                speed = (now[k, axis] - carried[k, axis]) / step
                own[k, axis] += share(s.derivative_cutoff, step) * (speed - own[k, axis])
                speed = (carried[k, axis] - before[k, axis]) / step
                old = shared[k, axis]
                shared[k, axis] = old + share(s.face_derivative_cutoff, step) * (speed - old)
            cutoff = s.min_cutoff + s.beta * math.hypot(*own[k]) / size
            cutoff *= confidence[k] ** s.confidence_power
            new_shape[k] = moved[k] + share(cutoff, step) * (now[k] - moved[k])
        shape = new_shape
        speed = math.sqrt(np.mean([x * x + y * y for x, y in shared])) / size
        held = slow_fit(shape, out)(shape)
        part = share(s.face_min_cutoff + s.face_beta * speed, step)
        out = held + part * (shape - held)
        results.append(out)
    return np.array(results)


@pytest.mark.parametrize("settings", [Smoothing(), Smoothing(2.0, 7.0, 3.0, 1.5, 11.0, 0.4, 2.0)])
def test_agrees_with_a_slow_filter(settings):
    rng = np.random.default_rng(1)
    points = face() + np.cumsum(rng.normal(0, 2, (25, 20, 2)), axis=0)
    confidence = rng.uniform(0.1, 1, 20)
    times = np.cumsum(rng.uniform(0.01, 0.08, 25))
    expected = slow_filter(points, confidence, times, settings)
    got = smooth_all(points, confidence, settings, times)
    np.testing.assert_allclose(got, expected, atol=1e-8)


def test_still_landmarks_jitter_less_by_sixty_per_cent():
    noise = np.random.default_rng(2).normal(0, 0.3, (300, 68, 2))
    still = np.random.default_rng(3).uniform(0, 100, (68, 2))
    smoothed = smooth_all(still + noise)[30:]
    assert smoothed.std(axis=0).mean() < 0.4 * noise[30:].std(axis=0).mean()


def test_a_moving_head_is_followed_within_a_frame_and_more_closely_than_the_raw_landmarks():
    rng = np.random.default_rng(3)
    seconds = np.arange(240) / RATE
    sway = 40 * np.sin(2 * np.pi * 0.5 * seconds)
    truth = face() + np.stack([sway, 0.3 * sway], axis=-1)[:, None]
    raw = truth + rng.normal(0, 0.8, truth.shape)
    smoothed = smooth_all(raw)

    def error(points):
        return np.linalg.norm(points - truth, axis=-1)[30:].mean()

    assert error(smoothed) < error(raw)
    delayed = [np.abs(smoothed[30:] - truth[30 - lag : 240 - lag]).mean() for lag in range(4)]
    assert int(np.argmin(delayed)) == 0


def test_a_blink_comes_through():
    lids, seconds = slice(0, 4), np.arange(60) / RATE
    closing = np.interp(seconds, [1.0, 1.1, 1.15, 1.3], [0.0, 1.0, 1.0, 0.0])
    still = np.random.default_rng(6).uniform(0, 100, (68, 2))
    points = np.repeat(still[None], 60, axis=0)
    points[:, lids, 1] += 4.5 * closing[:, None]  # 4.5 % of the face
    seen = (smooth_all(points)[:, lids, 1] - still[lids, 1]).mean(axis=1) / 4.5
    assert seen.max() > 0.75
    assert abs(int(seen.argmax()) - int(closing.argmax())) <= 2


def test_less_confident_landmarks_are_smoothed_more():
    noise = np.random.default_rng(4).normal(0, 0.4, (400, 60, 2))
    confidence = np.repeat([1.0, 0.5, 0.1], 20)
    base = np.concatenate([face(i) for i in range(3)])
    # Relative to the face: what all share is smoothed alike.
    smoothed = smooth_all(base + noise, confidence, Smoothing(face_min_cutoff=1e6))[60:]
    spread = smoothed.std(axis=0).reshape(3, -1).mean(axis=1)
    assert spread[0] > 1.2 * spread[1] > 1.2 * 1.2 * spread[2]
    alike = smooth_all(base + noise, confidence, Smoothing(confidence_power=0))
    np.testing.assert_allclose(alike, smooth_all(base + noise), atol=1e-9)


def test_size_place_and_direction_of_the_face_do_not_matter():
    rng = np.random.default_rng(5)
    points = face() + np.cumsum(rng.normal(0, 1, (30, 20, 2)), axis=0)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # a quarter: the box's longer side stays the longer
    moved = 2.5 * points @ turn.T + [300, -40]
    expected = 2.5 * smooth_all(points) @ turn.T + [300, -40]
    np.testing.assert_allclose(smooth_all(moved), expected, atol=1e-7)


def test_a_long_pause_ends_in_the_newest_landmarks():
    points = np.stack([face(), face() + 30])
    np.testing.assert_allclose(smooth_all(points, times=[0, 1e6])[1], points[1], atol=1e-3)
    subject = OneEuroFilter()
    subject(points[0], 5.0)
    subject.reset()
    np.testing.assert_array_equal(subject(points[1], 0.0), points[1])


def test_bad_input():
    subject = OneEuroFilter()
    subject(face(), 1.0)
    with pytest.raises(FaceAlignError, match="time 1.0 does not follow 1.0"):
        subject(face(), 1.0)
    with pytest.raises(FaceAlignError, match="3 landmarks after 20"):
        subject(np.zeros((3, 2)), 2.0)
    for bad in (np.full((20, 2), np.nan), np.zeros((20, 3)), np.zeros(20)):
        with pytest.raises(FaceAlignError, match="not finite"):
            subject(bad, 2.0)
    with pytest.raises(FaceAlignError, match=r"confidence has shape \(2,\)"):
        subject(face(), 2.0, np.ones(2))
    for name, value in (("min_cutoff", 0.0), ("beta", -1.0), ("face_beta", math.inf)):
        with pytest.raises(FaceAlignError, match=f"Smoothing: {name} is"):
            Smoothing(**{name: value})
