"""Anchors, decoding and suppression against plain loops, and the networks on a photo."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.detection.blazeface.network import (
    RawFaces,
    anchors,
    decode,
    load_network,
    suppress,
)


@pytest.mark.parametrize(
    ("name", "size", "strides", "count"),
    [("short_range", 128, (8, 16, 16, 16), 2), ("full_range", 192, (4,), 1)],
)
def test_anchors_are_the_centers_of_cells(name, size, strides, count):
    # MediaPipe lists equal strides one after the other within each cell.
    expected = []
    for stride in sorted(set(strides)):
        for row in range(size // stride):
            for column in range(size // stride):
                for _ in range(count * strides.count(stride)):
                    expected.append(((column + 0.5) * stride, (row + 0.5) * stride))
    np.testing.assert_array_equal(anchors(name, size), expected)
    assert load_network(name).size == size


def test_decoding_one_number_after_the_other():
    rng = np.random.default_rng(3)
    raw, centers = rng.normal(0, 20, (40, 16)), rng.uniform(0, 128, (40, 2))
    scores = rng.uniform(size=40)
    faces = decode(raw, centers, scores)
    index = 0
    for row, (x, y), score in zip(raw, centers, scores, strict=True):
        if row[2] <= 0 or row[3] <= 0:
            continue
        middle = (x + row[0] - 0.5, y + row[1] - 0.5)
        left, top = middle[0] - row[2] / 2, middle[1] - row[3] / 2
        np.testing.assert_allclose(
            faces.boxes[index], [left, top, left + row[2], top + row[3]], atol=1e-9
        )
        for point in range(6):
            expected = (x + row[4 + 2 * point] - 0.5, y + row[5 + 2 * point] - 0.5)
            np.testing.assert_allclose(faces.keypoints[index, point], expected, atol=1e-9)
        assert faces.scores[index] == score
        index += 1
    assert 5 < index == len(faces) < 35


def slow_suppression(faces: RawFaces) -> list[tuple[float, list[float]]]:
    """MediaPipe's weighted suppression, box by box."""

    def overlap(a, b) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / union

    left = sorted(range(len(faces)), key=lambda i: -faces.scores[i])
    result = []
    while left:
        first, group, others = left[0], [], []
        for index in left:
            same = overlap(faces.boxes[first], faces.boxes[index]) > 0.3
            (group if same else others).append(index)
        total = sum(faces.scores[i] for i in group)
        mean = [0.0] * 16
        for i in group:
            numbers = [*faces.boxes[i], *faces.keypoints[i].ravel()]
            mean = [m + faces.scores[i] * v / total for m, v in zip(mean, numbers, strict=True)]
        result.append((faces.scores[first], mean))
        left = others
    return result


def test_suppression_against_a_loop_over_pairs():
    rng = np.random.default_rng(4)
    low = rng.uniform(0, 60, (60, 2))
    boxes = np.hstack([low, low + rng.uniform(10, 40, (60, 2))])
    faces = RawFaces(boxes, rng.normal(size=(60, 6, 2)), rng.permutation(60) / 60 + 0.01)
    found, expected = suppress(faces), slow_suppression(faces)
    assert 3 < len(found) == len(expected) < 40
    for index, (score, numbers) in enumerate(expected):
        assert found.scores[index] == score
        row = [*found.boxes[index], *found.keypoints[index].ravel()]
        np.testing.assert_allclose(row, numbers, atol=1e-9)
    assert len(suppress(faces[[]])) == 0


@pytest.mark.parametrize(("name", "size"), [("short_range", 128), ("full_range", 192)])
def test_networks_find_the_key_points_of_a_face(name, size):
    data = pytest.importorskip("skimage.data")
    # The face has 115 of 240 pixels; eyes, nose and mouth were located by eye.
    photo, (left, top), side = data.astronaut(), (104, 20), 240
    import cv2

    square = np.ascontiguousarray(photo[top : top + side, left : left + side])
    faces = load_network(name)(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), 0.5)
    assert len(faces) == 1 and faces.scores[0] > 0.7
    points = (faces.keypoints[0] + 0.5) * side / size - 0.5 + (left, top)
    by_eye = [(202, 101), (247, 102), (224, 125), (224, 145)]
    assert np.abs(points[:4] - by_eye).max() < 9
    assert abs(faces.rolls[0]) < 10


def test_faces_move_with_a_similarity():
    from keras_facealign.geometry import similarity, transform_points

    keypoints = np.array([[[10.0, 10], [20, 10], [15, 15], [15, 20], [5, 12], [25, 12]]])
    faces = RawFaces(np.array([[5.0, 5, 25, 25]]), keypoints, np.array([0.5]))
    matrix = similarity(np.float64(2), np.radians(np.float64(30)), (7.0, 3.0), (0.0, 0.0))
    moved = faces.moved(matrix)
    np.testing.assert_allclose(moved.sides, [40])
    np.testing.assert_allclose(moved.rolls, [30])
    np.testing.assert_allclose(
        moved.centers, transform_points(matrix, np.array([[15.0, 15]])), atol=1e-9
    )
