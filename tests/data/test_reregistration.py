"""Re-registration: known shifts come back, and faces that do not fit are left out."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign import geometry
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.reregistration import fit_scale_and_shift, register_labels, reregister


def _example(points: np.ndarray, visibility: np.ndarray | None = None) -> FaceExample:
    if visibility is None:
        visibility = np.full(68, 2, np.int32)
    return FaceExample(
        image=np.zeros((120, 120, 3), np.uint8),
        landmarks=points.astype(np.float32),
        visibility=visibility,
        box=geometry.landmarks_box(points, visibility),
        file_name="face.png",
        subset="drawn",
    )


def test_fit_matches_a_grid_search_of_the_same_cost() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 50, (30, 2))
    target = 1.03 * source + [2.0, -1.0] + rng.normal(0, 0.2, (30, 2))
    target[:4] += 15.0  # outliers that least squares would follow
    scale, shift, residual = fit_scale_and_shift(source, target)

    def cost(s: float, x: float, y: float) -> float:
        return float(np.linalg.norm(s * source + [x, y] - target, axis=1).mean())

    assert residual == pytest.approx(cost(scale, *shift))
    near = [
        cost(scale + ds, shift[0] + dx, shift[1] + dy)
        for ds in (-0.004, 0.0, 0.004)
        for dx in (-0.2, 0.0, 0.2)
        for dy in (-0.2, 0.0, 0.2)
    ]
    assert residual <= min(near) + 1e-3
    assert scale == pytest.approx(1.03, abs=0.01)
    assert np.allclose(shift, [2.0, -1.0], atol=0.4)


@pytest.mark.parametrize(
    ("scale", "noise", "fits"),
    [(1.02, 0.1, True), (0.91, 0.1, True), (0.89, 0.1, False), (1.11, 0.1, False), (1.0, 4, False)],
)
def test_labels_are_registered_within_limits(scale: float, noise: float, fits: bool) -> None:
    rng = np.random.default_rng(3)
    labels = rng.uniform(0, 80, (68, 2))
    seen = scale * labels + [3.0, -2.0] + rng.normal(0, noise, (68, 2))
    found = register_labels(labels, seen, max_residual=2.0)
    assert (found is not None) == fits
    if found is not None:
        wanted, shift, residual = fit_scale_and_shift(labels, seen)
        assert found[0] == wanted and (found[1] == shift).all()
        assert register_labels(labels, seen, max_residual=0.99 * residual) is None
        assert found[0] == pytest.approx(scale, abs=2e-3)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_labels_move_onto_the_prediction_and_keep_their_shape(batch_size: int) -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(30, 90, (68, 2))
    visibility = np.full(68, 2, np.int32)
    visibility[3] = 0
    labels = (truth - [3.0, -2.0]) / 1.02
    examples = [_example(labels, visibility) for _ in range(3)]
    to_crop = geometry.crop_matrix(examples[0].box, 128)

    def predict(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = geometry.transform_points(to_crop, truth.astype(np.float32))
        return np.stack([points] * len(crops)), np.ones((len(crops), 68))

    moved = list(reregister(examples, predict, batch_size=batch_size))
    assert len(moved) == 3
    for example in moved:
        labeled = visibility > 0
        assert np.allclose(example.landmarks[labeled], truth[labeled], atol=1e-2)
        assert (example.landmarks[3] == 0).all()
        assert np.allclose(example.box, geometry.landmarks_box(example.landmarks, visibility))


def test_a_face_of_another_shape_is_left_out() -> None:
    rng = np.random.default_rng(2)
    example = _example(rng.uniform(30, 90, (68, 2)))

    def predict(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(0, 128, (len(crops), 68, 2)), np.ones((len(crops), 68))

    assert list(reregister([example], predict)) == []
