"""The rule that tells faces from what is none, and what it does with odd photos."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_facealign.detection import BlazeFaceDetector
from keras_facealign.inference import FaceAligner
from keras_facealign.inference.reliability import LEAST_CONFIDENCE, LEAST_VISIBILITY, belief
from tests.paths import ROOT


def test_visibility_decides_where_the_model_has_it():
    confidence = np.array([[0.9, 0.9], [0.1, 0.1]])
    visibility = np.array([[0.1, 0.3], [1.0, 0.5]])
    np.testing.assert_allclose(
        belief(confidence, visibility), [0.2 - LEAST_VISIBILITY, 0.75 - LEAST_VISIBILITY]
    )
    np.testing.assert_allclose(belief(confidence), [0.9 - LEAST_CONFIDENCE, 0.1 - LEAST_CONFIDENCE])


def test_a_detectors_doubt_asks_for_more():
    visibility = np.array([[0.6], [0.6], [0.6]])
    found = belief(visibility, visibility, np.array([0.9, 0.8, 0.6]))
    np.testing.assert_allclose(found, [0.15, 0.15, -0.05])
    np.testing.assert_allclose(belief(np.array([0.75]), score=0.7), 0.0, atol=1e-12)


def test_numbers_that_are_none_are_not_believed():
    assert not belief(np.array([0.9, np.nan])) >= 0


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted, axis=1).mean())


# Photos of one known face, through the detector, a bundled network and the rule.


@pytest.fixture(scope="module")
def aligner() -> FaceAligner:
    return FaceAligner.from_preset(ROOT / "saved_models/sat1_cab_mobile/model_int8.tflite")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def landmarks(aligner, portrait) -> np.ndarray:
    (face,) = aligner.align(portrait)
    assert face.reliable
    # The outer corners of the eyes and the chin, located by eye.
    np.testing.assert_allclose(
        face.landmarks[[36, 45, 8]], [[194, 103], [255, 104], [223, 179]], atol=4
    )
    return face.landmarks


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(None), slice(0, 222)),
        (slice(None), slice(222, None)),
        (slice(0, 135), slice(None)),
        (slice(135, None), slice(None)),
    ],
)
def test_half_a_face_is_right_or_not_given_as_good(aligner, portrait, landmarks, rows, columns):
    at = np.array([columns.start or 0, rows.start or 0])
    found = aligner.align(np.ascontiguousarray(portrait[rows, columns]))
    for face in found:
        # The eyes are 60 pixels apart.
        assert not face.reliable or distance(face.landmarks + at, landmarks) < 9


def test_a_face_upside_down(aligner, portrait, landmarks):
    found = aligner.align(np.ascontiguousarray(portrait[::-1, ::-1]))
    (face,) = [face for face in found if face.reliable]
    assert abs(face.roll) > 165
    assert distance(face.landmarks, 511 - landmarks) < 3


def test_faces_of_eight_pixels_are_not_given_as_good(aligner, portrait):
    # A face of 93 pixels.
    side = round(512 * 8 / 93)
    small = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    image = np.full((300, 400, 3), 120, np.uint8)
    for place in range(6):
        image[100 : 100 + side, 20 + 60 * place : 20 + 60 * place + side] = small
    tiny = FaceAligner(aligner.model, BlazeFaceDetector(min_face_size=6))
    for each in (aligner, tiny):
        assert not [face for face in each.align(image) if face.reliable]


def test_a_panorama(aligner, portrait, landmarks):
    image = np.full((512, 20_000, 3), 90, np.uint8)
    places = (700, 9_000, 19_400)
    for left in places:
        image[:, left : left + 512] = portrait
    searching = FaceAligner(aligner.model, BlazeFaceDetector(min_face_size=80))
    found = [face for face in searching.align(image) if face.reliable]
    found.sort(key=lambda face: face.box[0])
    assert len(found) == 3
    for face, left in zip(found, places, strict=True):
        assert distance(face.landmarks - (left, 0), landmarks) < 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animated_picture_the_first_frame_counts(aligner, portrait, landmarks, kind):
    frames = [Image.fromarray(portrait), Image.fromarray(np.zeros_like(portrait))]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100)
    (face,) = aligner.align(file.getvalue())
    assert face.reliable and distance(face.landmarks, landmarks) < 2


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("gray", [False, True])
def test_sixteen_bits(aligner, portrait, landmarks, kind, gray):
    pixels = portrait[..., ::-1]
    if gray:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    success, content = cv2.imencode(kind, pixels.astype(np.uint16) * 257)
    assert success
    (face,) = aligner.align(content.tobytes())
    assert face.reliable and distance(face.landmarks, landmarks) < 3
