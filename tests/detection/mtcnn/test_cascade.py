"""MTCNN's stages against loops, and against TensorFlow's operators where they are the model."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.detection.mtcnn.cascade import (
    _patches,
    _pyramid,
    _square,
    _without_overlaps,
    find_faces,
)


def boxes_at_random(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-10, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], axis=1)


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("count", [0, 1, 40, 300])
def test_overlapping_boxes_are_dropped_as_loops_do(count, of_smaller):
    boxes = boxes_at_random(count, 1)
    boxes[count // 2 :] *= 20  # some apart from each other
    scores = np.random.default_rng(2).permutation(count) / max(count, 1)
    kept, kept_scores = _without_overlaps(boxes, scores, 0.4, of_smaller)
    expected = []
    for i in np.argsort(-scores):
        for j in np.flatnonzero(scores > scores[i]):
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            shared = max(width, 0) * max(height, 0)
            one, other = (np.prod(boxes[n, 2:] - boxes[n, :2]) for n in (i, j))
            if shared / (min(one, other) if of_smaller else one + other - shared) > 0.4:
                break
        else:
            expected.append(i)
    np.testing.assert_array_equal(kept, boxes[expected])
    np.testing.assert_array_equal(kept_scores, scores[expected])
    assert count < 40 or 0 < len(kept) < count


def test_patches_are_those_of_crop_and_resize():
    tf = pytest.importorskip("tensorflow", reason="its operator is the model")
    image = np.random.default_rng(0).integers(0, 256, (37, 61, 3)).astype(np.uint8)
    boxes = _square(boxes_at_random(20, 3))
    scaled = boxes[:, [1, 0, 3, 2]] / [37, 61, 37, 61]
    expected = tf.image.crop_and_resize(
        image[None].astype(np.float32), scaled, np.zeros(20, np.int32), (24, 24), "bilinear", 127.5
    ).numpy()
    # Rounding may put a sample on the picture's border inside or outside; those are left out.
    found = _patches(image, boxes, 24)
    near = np.abs(found - expected).max(axis=3) < 0.05
    assert near.mean() > 0.999


def test_squares_keep_their_centers():
    np.testing.assert_array_equal(_square(np.array([[0.0, 10, 20, 14]])), [[0, 2, 20, 22]])
    assert _square(np.zeros((0, 4))).shape == (0, 4)


def test_the_pyramid_ends_before_the_image_is_smaller_than_a_cell():
    scales = _pyramid(480, 640)
    assert scales[0] == pytest.approx(0.6)
    np.testing.assert_allclose(np.divide(scales[1:], scales[:-1]), 0.709)
    assert 12 <= 480 * scales[-1] < 12 / 0.709**2


@pytest.mark.parametrize("sure_stages", [0, 1, 2])
def test_a_stage_that_keeps_nothing_ends_the_search(sure_stages):
    seen = []

    def network(stage):
        def run(images):
            seen.append(stage)
            cells = ((images.shape[1] - 10) // 2, (images.shape[2] - 10) // 2) if stage == 0 else ()
            shape = (len(images), *(cells or (1, 1)))
            score = 0.99 if stage < sure_stages else 0.01
            return {"boxes": np.zeros((*shape, 4)), "scores": np.full((*shape, 1), score)}

        return run

    image = np.zeros((60, 70, 3), np.uint8)
    boxes, scores = find_faces(image, tuple(map(network, range(3))))
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    assert sorted(set(seen)) == list(range(sure_stages + 1))
