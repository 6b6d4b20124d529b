"""Threads and processes, through detectors, runtimes, aligners and trackers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from keras_facealign.detection import MTCNNDetector

THREADS = 8
COPIES = [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Photos of one face each, of different sizes and at different places."""
    portrait = pytest.importorskip("skimage.data", reason="has the photo").astronaut()
    face = portrait[0:300, 100:370]
    return [np.ascontiguousarray(face[3 * i : 290 - 7 * i, 4 * i :]) for i in range(6)]


def together(work: Callable[[Any], Any], items: Sequence[Any], rounds: int = 3) -> list[Any]:
    """Calls a function from many threads, several times for each item."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, [*items] * rounds))


def test_detectors_in_threads_find_what_they_find_alone(photos):
    detector = MTCNNDetector(min_face_size=40)
    alone = [detector.raw_boxes(photo) for photo in photos]
    assert all(len(boxes) == 1 for boxes, _ in alone)
    mixed = together(lambda i: detector.raw_boxes(photos[i]), range(len(photos)))
    for found, right in zip(mixed, alone * 3, strict=True):
        np.testing.assert_allclose(found[0], right[0], atol=1e-4)
        np.testing.assert_allclose(found[1], right[1], atol=1e-6)


@pytest.mark.parametrize("travel", COPIES)
def test_detectors_travel(photos, travel):
    detector = MTCNNDetector(min_face_size=40)
    (right,) = detector(photos[0])
    (found,) = travel(detector)(photos[0])
    np.testing.assert_array_equal(found.box, right.box)
    assert len(pickle.dumps(detector)) < 1000
