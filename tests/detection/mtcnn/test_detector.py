"""MTCNN on a real photo, compared with the `mtcnn` package."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from keras_facealign.detection import MTCNNDetector
from keras_facealign.errors import FaceAlignError

# Measured by hand on the picture: outer edges of the face, brows and chin.
ASTRONAUT_BOX = np.array([182.0, 88.0, 271.0, 179.0])
# What the mtcnn package 1.0.0 finds on the picture at half its size, in pixels of the whole one.
RAW_BOX = np.array([180.879, 64.814, 264.771, 171.512])

INTERPRETERS = ("ai_edge_litert", "tensorflow")
needs_interpreter = pytest.mark.skipif(
    not any(map(importlib.util.find_spec, INTERPRETERS)),
    reason="MTCNN runs on LiteRT or on TensorFlow: neither is installed",
)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data", reason="has the photo").astronaut()


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = sides.prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


@pytest.mark.parametrize(
    "options",
    [
        {"min_face_size": 3},
        {"min_face_size": float("nan")},
        {"threshold": 1.0},
        {"threshold": -0.1},
        {"max_side": 10},
    ],
)
def test_mtcnn_refuses_settings_out_of_range(options):
    with pytest.raises(FaceAlignError, match=next(iter(options))):
        MTCNNDetector(**options)


def test_a_missing_interpreter_is_reported_with_the_remedy(monkeypatch):
    from keras_facealign.detection.mtcnn.cascade import load_cascade

    load_cascade.cache_clear()
    for name in ("ai_edge_litert.interpreter", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FaceAlignError, match=r"MTCNN needs LiteRT or TensorFlow.*pip inst.*boxes"):
        MTCNNDetector()(np.zeros((50, 50, 3), np.uint8))


@needs_interpreter
def test_mtcnn_finds_the_face_where_a_person_sees_it(astronaut):
    (detection,) = MTCNNDetector()(astronaut)
    assert overlap(detection.box, ASTRONAUT_BOX) > 0.85
    assert 0.9 < detection.score <= 1


@needs_interpreter
@pytest.mark.parametrize(
    ("factor", "options"),
    [
        (1.0, {"min_face_size": 60}),  # looks at a reduced picture
        (1.0, {"min_face_size": 15, "threshold": 0.95}),  # looks at a magnified picture
        (4.0, {}),  # larger than the detector looks at
        (4.0, {"max_side": 400}),
        (0.4, {}),
    ],
)
def test_boxes_follow_the_photo_whatever_size_the_detector_works_with(astronaut, factor, options):
    import cv2

    size = (round(512 * factor),) * 2
    image = cv2.resize(astronaut, size, interpolation=cv2.INTER_AREA)
    (detection,) = MTCNNDetector(**options)(image)
    assert overlap(detection.box / factor, ASTRONAUT_BOX) > 0.8


@needs_interpreter
def test_a_face_below_the_smallest_size_is_not_found(astronaut):
    assert MTCNNDetector(min_face_size=220)(astronaut) == []


@needs_interpreter
def test_two_faces_are_two_detections(astronaut):
    both = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    boxes = sorted((d.box for d in MTCNNDetector(min_face_size=50)(both)), key=lambda box: box[0])
    assert len(boxes) == 2
    mirrored = np.array([1023.0 - 271, 88, 1023 - 182, 179])
    assert overlap(boxes[0], ASTRONAUT_BOX) > 0.85
    assert overlap(boxes[1], mirrored) > 0.85


@needs_interpreter
@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (2, 1500), (30, 60), (200, 200)])
def test_images_without_a_face_of_any_size_give_none(shape):
    detector = MTCNNDetector()
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for image in (np.zeros_like(noise), np.full_like(noise, 255), noise):
        assert detector(image) == []


@pytest.mark.parametrize("kind", ["two faces", "large", "small", "no face"])
def test_the_boxes_are_those_of_the_mtcnn_package(astronaut, kind):
    import cv2
    import keras

    pytest.importorskip("tensorflow", reason="the package runs on it")
    package = pytest.importorskip("mtcnn", reason="is what to compare with")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the package's own networks need Keras on TensorFlow")
    image = {
        "two faces": np.concatenate([astronaut, astronaut[:, ::-1]], axis=1),
        "large": cv2.resize(astronaut, (1024, 1000), interpolation=cv2.INTER_CUBIC),
        "small": cv2.resize(astronaut, (205, 199), interpolation=cv2.INTER_AREA),
        "no face": astronaut[300:, :200],
    }[kind]
    theirs = package.MTCNN().detect_faces(
        image, fit_to_image=False, box_format="xyxy", output_type="numpy"
    )
    boxes, scores = MTCNNDetector().raw_boxes(image)
    assert len(boxes) == {"two faces": 2, "no face": 0}.get(kind, 1)
    order = np.argsort(-theirs[:, 5])
    np.testing.assert_allclose(boxes, theirs[order, 1:5], atol=0.01)
    np.testing.assert_allclose(scores, theirs[order, 5], atol=1e-5)


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_either_interpreter_finds_the_same_face(astronaut, interpreter, monkeypatch):
    from keras_facealign.detection.mtcnn.cascade import load_cascade

    pytest.importorskip(interpreter, reason="is the interpreter")
    if interpreter == "tensorflow":
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    load_cascade.cache_clear()
    ((x0, y0, x1, y1),), _ = MTCNNDetector(min_face_size=40).raw_boxes(astronaut)
    load_cascade.cache_clear()
    np.testing.assert_allclose([x0, y0, x1, y1], RAW_BOX, atol=0.05)
