"""What a network that knows other landmarks tells about own labels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68, mean_face
from keras_facealign.training.own_landmarks import (
    KnownLandmarks,
    find_known_landmarks,
    guess_scheme,
)

OWN = {"outer right": 36, "outer left": 45, "tip": 30, "corner right": 48, "corner left": 54}


class Oracle:
    """A network that finds the 68 points of a face, the surer the better it is cropped."""

    scheme, input_size = IBUG68, 64

    def __init__(self, shape):
        self.shape = shape

    def predict_landmarks(self, crops):
        """Reads the crop's place in the picture from its pixels: red is x, green is y."""
        corners = crops[:, :1, [0, -1], :2].astype(np.float64)[:, 0]
        scale = (corners[:, 1, 0] - corners[:, 0, 0]) / (self.input_size - 1)
        points = (self.shape - corners[:, :1]) / scale[:, None, None]
        # Surest where the face fills 1 / 1.3 of the crop.
        side = np.ptp(self.shape, axis=0).max() / (scale * self.input_size)
        sure = np.exp(-np.abs(np.log(side * 1.3)))
        return points, np.repeat(sure[:, None], 68, axis=1)


def ramp_face(seed):
    """A picture whose pixels tell their place, and the 68 points of a face in it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256]
    image = np.stack([x, y, x], axis=-1).astype(np.uint8)
    shape = mean_face()[:, :2] * rng.uniform(3.5, 4.5) + rng.uniform(115, 140, 2)
    return image, shape


@pytest.fixture(scope="module")
def known():
    rows = []
    for seed in range(6):
        image, shape = ramp_face(seed)
        points = shape[list(OWN.values())]
        face = SimpleNamespace(image=image, landmarks=points, visibility=np.full(5, 2))
        rows.append((find_known_landmarks(Oracle(shape), [face]), shape))
    return KnownLandmarks(
        IBUG68, *(np.concatenate([getattr(row, name) for row, _ in rows]) for name in
                  ("labels", "visibility", "found", "confidence"))
    ), np.stack([shape for _, shape in rows])  # fmt: skip


def test_the_face_is_found_from_points_of_its_middle(known):
    found, shapes = known
    assert found.usable.all()
    # Pixels are whole numbers, and the crop was larger than the box of the five points.
    assert np.abs(found.found - shapes).max() < 4


def test_nearest_landmarks_are_the_same(known):
    found, _ = known
    nearest = found.nearest()
    assert [pair[0] for pair in nearest] == list(OWN.values())
    assert max(pair[1] for pair in nearest) < 0.03
    assert found.mapping() == dict(enumerate(OWN.values()))


def test_face_box_is_that_of_all_landmarks(known):
    found, shapes = known
    wanted = []
    for shape in shapes:
        low, high = (f(shape[list(OWN.values())], axis=0) for f in (np.min, np.max))
        corners = np.concatenate([shape.min(axis=0) - low, shape.max(axis=0) - low])
        wanted.append(corners / np.tile(high - low, 2))
    assert found.face_box() == pytest.approx(np.median(wanted, axis=0), abs=0.1)


def test_what_is_far_or_unlabeled_starts_untrained(known):
    found, _ = known
    labels, visibility = found.labels.copy(), found.visibility.copy()
    labels[:, 2] += 1000
    visibility[:, 3] = 0
    other = KnownLandmarks(IBUG68, labels, visibility, found.found, found.confidence)
    assert sorted(other.mapping()) == [0, 1, 4] and other.nearest()[3] is None
    assert other.face_box() is None


def test_points_of_the_whole_face_need_no_larger_box():
    shapes = np.stack([ramp_face(seed)[1] for seed in range(4)])
    known = KnownLandmarks(IBUG68, shapes, np.ones(shapes.shape[:2]), shapes, np.ones(4))
    assert known.face_box() is None
    assert known.mapping() == {k: k for k in range(68)}


def test_scheme_is_guessed(known):
    found, _ = known
    faces = [
        SimpleNamespace(landmarks=points, visibility=seen)
        for points, seen in zip(found.labels, found.visibility, strict=True)
    ]
    labels = SimpleNamespace(faces=faces, num_landmarks=5, names=tuple(OWN), edges=((0, 2), (2, 1)))
    alone = guess_scheme(labels, "mine").scheme
    assert alone.flip_pairs == ((0, 1), (3, 4)) and alone.names == tuple(OWN)
    assert alone.eye_corners is None and alone.lines == ((0, 2, 1),)
    guess = guess_scheme(labels, "mine", found)
    assert guess.scheme.eye_corners == (0, 1)
    assert guess.scheme.face_box == found.face_box()
    labels.names, labels.edges = None, None
    regions = guess_scheme(labels, "mine", found).scheme.regions
    assert regions == {
        "nose_bridge": (2,), "right_eye": (0,), "left_eye": (1,), "outer_lip": (3, 4)
    }  # fmt: skip


def test_no_faces():
    with pytest.raises(FaceAlignError, match="no labeled face"):
        find_known_landmarks(Oracle(np.zeros((68, 2))), [])


def test_the_oracle_reads_places():
    image, shape = ramp_face(0)
    matrix = geometry.crop_matrix(geometry.landmarks_box(shape), 64)
    crop = geometry.crop_face(image, matrix, 64)
    points, _ = Oracle(shape).predict_landmarks(crop[None])
    assert points[0] == pytest.approx(geometry.transform_points(matrix, shape), abs=1.5)
