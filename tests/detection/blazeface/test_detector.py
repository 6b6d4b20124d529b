"""The detector on photos with one known face, pasted at sizes, places and angles."""

from __future__ import annotations

import pickle
import threading

import cv2
import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.detection import BlazeFaceDetector
from keras_facealign.errors import FaceAlignError

data = pytest.importorskip("skimage.data")

# The box of the landmarks in the astronaut photo, located by eye: brows to chin.
LOW, HIGH = np.array([184.0, 85.0]), np.array([264.0, 178.0])
FACE = (LOW + HIGH) / 2
SIDE = 93.0


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return data.astronaut()


def paste(canvas: np.ndarray, portrait: np.ndarray, at, side: float, roll: float = 0.0) -> None:
    """Puts a disc around the face into an image: center, size and angle of the face."""
    scale, radius = side / SIDE, int(0.85 * side)
    left, top = at[0] - radius, at[1] - radius
    shift = (radius - FACE[0], radius - FACE[1])
    matrix = geometry.similarity(
        np.float64(scale), np.radians(np.float64(roll)), shift, (FACE[0], FACE[1])
    )
    blurred = cv2.GaussianBlur(portrait, (0, 0), max(0.01, 0.4 / scale)) if scale < 1 else portrait
    there = cv2.warpAffine(blurred, matrix, (2 * radius + 1, 2 * radius + 1))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = np.hypot(x, y) < radius
    # Discs may reach over the border.
    rows = slice(max(0, top), top + 2 * radius + 1)
    columns = slice(max(0, left), left + 2 * radius + 1)
    part = canvas[rows, columns]
    inside = (slice(rows.start - top, None), slice(columns.start - left, None))
    there, disc = (array[inside][: part.shape[0], : part.shape[1]] for array in (there, disc))
    part[disc] = there[disc]


def wall(width: int, height: int) -> np.ndarray:
    brick = cv2.cvtColor(data.brick(), cv2.COLOR_GRAY2RGB)
    return np.tile(brick, (height // 512 + 1, width // 512 + 1, 1))[:height, :width].copy()


def check(detections, places, sides, rolls=None) -> None:
    """Compares detections with what was pasted, in any order; no more may be found."""
    assert len(detections) == len(places)
    for index, (place, side) in enumerate(zip(places, sides, strict=True)):
        nearest = min(detections, key=lambda d: np.hypot(*((d.box[:2] + d.box[2:]) / 2 - place)))
        assert np.hypot(*((nearest.box[:2] + nearest.box[2:]) / 2 - place)) < 0.15 * side
        assert 0.75 < (nearest.box[2] - nearest.box[0]) / side < 1.3
        roll = 0.0 if rolls is None else rolls[index]
        assert abs((nearest.roll - roll + 180) % 360 - 180) < 12
        assert nearest.keypoints.shape == (6, 2)


def test_the_face_of_a_photo(portrait):
    (found,) = BlazeFaceDetector()(portrait)
    check([found], [FACE], [SIDE])
    assert found.score > 0.8
    right, left, nose, mouth = found.keypoints[:4]
    assert right[0] < nose[0] < left[0] and right[1] < nose[1] < mouth[1]


@pytest.mark.parametrize("roll", range(0, 360, 45))
def test_any_angle(portrait, roll):
    image = wall(420, 400)
    paste(image, portrait, (210, 190), 120, roll)
    check(BlazeFaceDetector()(image), [(210, 190)], [120], [roll])


def test_small_faces_in_a_large_photo(portrait):
    image = wall(2600, 1900)
    places = [(300, 250), (2200, 1700), (1300, 900), (700, 1500), (2000, 300)]
    sides = [26, 30, 60, 150, 400]
    for place, side in zip(places, sides, strict=True):
        paste(image, portrait, place, side)
    check(BlazeFaceDetector(min_face_size=24)(image), places, sides)
    # A face of 400 pixels does not dominate; a fiftieth of the longer side is 52 pixels.
    assert {round(d.box[2] - d.box[0], -2) for d in BlazeFaceDetector()(image)} >= {100, 400}
    check(BlazeFaceDetector(min_face_size=300)(image), places[-1:], sides[-1:])


def test_a_large_face_ends_the_search(portrait):
    image = wall(1200, 900)
    paste(image, portrait, (600, 450), 400)
    paste(image, portrait, (150, 150), 30)
    assert len(BlazeFaceDetector()(image)) == 1
    assert len(BlazeFaceDetector(min_face_size=25)(image)) == 2


def test_a_glance_shows_what_is_larger_than_a_twelfth(portrait):
    image = wall(1280, 720)
    paste(image, portrait, (300, 350), 150, 30)
    paste(image, portrait, (900, 300), 115)
    paste(image, portrait, (1100, 600), 40)
    assert len(BlazeFaceDetector()(image)) == 3
    check(BlazeFaceDetector().glance(image), [(300, 350), (900, 300)], [150, 115], [30, 0])
    check(BlazeFaceDetector(min_face_size=160).glance(image), [(300, 350)], [150], [30])


def test_a_hundred_faces(portrait):
    image = wall(1100, 1100)
    places = [(60 + 109 * (k % 10), 60 + 109 * (k // 10)) for k in range(100)]
    for place in places:
        paste(image, portrait, place, 45)
    check(BlazeFaceDetector()(image), places, [45] * 100)


def test_a_panorama(portrait):
    image = wall(9000, 300)
    places, sides = [(400, 150), (4500, 120), (8800, 190)], [60, 120, 40]
    for place, side in zip(places, sides, strict=True):
        paste(image, portrait, place, side)
    check(BlazeFaceDetector(min_face_size=36)(image), places, sides)
    tall = np.ascontiguousarray(np.rot90(image))
    assert len(BlazeFaceDetector(min_face_size=36)(tall)) == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (5, 7), (60, 2)])
def test_images_too_small_for_a_face(shape):
    assert BlazeFaceDetector()(np.full((*shape, 3), 120, np.uint8)) == []


def test_pictures_without_a_face():
    for picture in (data.coins(), data.grass(), data.text()):
        rgb = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        assert not [d for d in BlazeFaceDetector()(rgb) if d.score > 0.8]


def test_a_detector_pickles(portrait):
    detector = pickle.loads(pickle.dumps(BlazeFaceDetector(40, 0.7)))
    assert (detector.min_face_size, detector.threshold) == (40, 0.7)
    assert len(detector(portrait)) == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"min_face_size": 3}, "min_face_size is 3"),
        ({"min_face_size": float("nan")}, "min_face_size is nan"),
        ({"min_face_size": float("inf")}, "min_face_size is inf"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"threshold": -0.1}, "threshold is -0.1"),
    ],
)
def test_settings_out_of_range(settings, problem):
    with pytest.raises(FaceAlignError, match=problem):
        BlazeFaceDetector(**settings)


def test_without_an_interpreter(monkeypatch):
    def missing(name):
        raise ImportError("no ai_edge_litert")

    monkeypatch.setattr("keras_facealign.detection.blazeface.detector.load_network", missing)
    with pytest.raises(FaceAlignError, match="BlazeFace needs LiteRT or TensorFlow"):
        BlazeFaceDetector()(np.zeros((50, 50, 3), np.uint8))


def test_small_faces_are_found_where_no_thread_can_be_started(portrait, monkeypatch):
    """As in a worker with a limit of memory."""
    image = wall(900, 700)
    paste(image, portrait, (450, 300), 40)
    expected = BlazeFaceDetector(min_face_size=30)(image)
    check(expected, [(450, 300)], [40])

    def fail(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        found = BlazeFaceDetector(min_face_size=30)(image)
    np.testing.assert_array_equal([f.box for f in found], [e.box for e in expected])
