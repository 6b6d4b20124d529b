"""Means over a face and its mirror image, against loops that flip and exchange one by one."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import FaceAligner
from keras_facealign.landmarks import IBUG68, get_scheme
from keras_facealign.landmarks.registry import numbered_scheme
from keras_facealign.prediction import any_size, predict_outputs
from keras_facealign.prediction.flip_test import average_flipped
from keras_facealign.runtimes import ExportedModel, choose_runtime
from tests.inference.dots import DotModel
from tests.runtimes.exported_files import SIZE, pictures, write_tflite

# The crop of this box is the picture itself, pixel by pixel: its crop matrix is the identity.
WHOLE = ((SIZE - 1) / 2 - SIZE / 2.6,) * 2 + ((SIZE - 1) / 2 + SIZE / 2.6,) * 2
NAMES = {"landmarks", "confidence", "sigma", "visibility"}


def predict_with_flip_test(predict, images, scheme):
    plan = any_size(2 * max(len(images), 1))
    return predict_outputs(predict, images, plan, input_size=SIZE, flip_test=True, scheme=scheme)


def flipped(image: np.ndarray) -> np.ndarray:
    result = np.empty_like(image)
    for column in range(image.shape[1]):
        result[:, image.shape[1] - 1 - column] = image[:, column]
    return result


def partners(scheme) -> dict[int, int]:
    pairs = dict(scheme.flip_pairs)
    return pairs | {b: a for a, b in pairs.items()}


def slow_mean(predict, images, scheme):
    """One picture, one landmark at a time. `predict` maps (1, S, S, 3) to arrays by name."""
    partner = partners(scheme)
    rows = []
    for image in images:
        seen, mirrored = predict(image[None]), predict(flipped(image)[None])
        row = {}
        for name, values in seen.items():
            row[name] = np.zeros(values.shape[1:])
            for k in range(scheme.num_landmarks):
                other = np.array(mirrored[name][0, partner.get(k, k)], np.float64)
                if name == "landmarks":
                    other[0] = image.shape[1] - 1 - other[0]
                row[name][k] = (values[0, k] + other) / 2
        rows.append(row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("name", ["ibug68", "five", "cofw29"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_against_loops(name, dtype):
    scheme = get_scheme(name)
    k = scheme.num_landmarks
    rng = np.random.default_rng(k)
    weights = rng.normal(size=(SIZE * SIZE * 3, k * 4)) / SIZE / 100
    calls = []

    def predict(images):
        calls.append(len(images))
        values = (images.reshape(len(images), SIZE * SIZE * 3) @ weights).reshape(-1, k, 4)
        return {"landmarks": values[..., :2], "confidence": values[..., 2], "sigma": values[..., 3]}

    images = pictures(3).astype(dtype)
    before = images.copy()
    found = predict_with_flip_test(predict, images, scheme)
    assert calls == [6]
    np.testing.assert_array_equal(images, before)
    expected = slow_mean(predict, images, scheme)
    assert set(found) == set(expected)
    for field, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[field], rtol=1e-5, atol=1e-5)
    assert predict_with_flip_test(predict, images[:0], scheme)["landmarks"].shape == (0, k, 2)


def test_a_lean_to_one_side_cancels():
    truth = np.random.default_rng(3).uniform(5, 25, (68, 2))
    mirrored = truth[IBUG68.flip_permutation] * [-1, 1] + [SIZE - 1, 0]

    def predict(images):
        return {"landmarks": np.stack([truth, mirrored]) + np.array([2.5, 0.0])}

    found = predict_with_flip_test(predict, np.zeros((1, SIZE, SIZE, 3)), IBUG68)
    np.testing.assert_allclose(found["landmarks"], truth[None], atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [(None, "DotModel has no landmark scheme"), (numbered_scheme(3), "'points3' does not say")],
)
def test_landmarks_that_nobody_can_mirror_are_refused(scheme, reason):
    model = DotModel()
    model.scheme = scheme
    assert not FaceAligner(model, None).flip_test
    with pytest.raises(FaceAlignError, match=f"flip_test=True: .*{reason}") as caught:
        FaceAligner(model, None, flip_test=True)
    assert "\n" not in str(caught.value)


def check_aligner(aligner: FaceAligner, predict, scheme, atol: float) -> None:
    """What an aligner says of pictures that are crops already, against `slow_mean`."""
    images = pictures(3, seed=7)
    expected = slow_mean(predict, images, scheme)
    found = aligner.align_batch(list(images), [[WHOLE]] * 3)
    plain = FaceAligner(aligner.model, None, aligner.runtime).align_batch(
        list(images), [[WHOLE]] * 3
    )
    for name, values in expected.items():
        mean = np.stack([getattr(face, name) for (face,) in found])
        np.testing.assert_allclose(mean, values, rtol=1e-4, atol=atol, err_msg=name)
    moved = [a.landmarks - b.landmarks for (a,), (b,) in zip(found, plain, strict=True)]
    assert np.abs(moved).max() > 0.1


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_aligners_of_keras_models(runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    from tests.models.test_prediction import calibration
    from tests.models.tiny import fix_weights, tiny_model

    model = fix_weights(tiny_model())
    model.calibration = calibration()
    _, network = choose_runtime(model, runtime)
    aligner = FaceAligner(model, None, runtime, flip_test=True)
    check_aligner(aligner, lambda images: dict(network.predict_outputs(images)), IBUG68, 2e-3)
    assert aligner.runtime == runtime


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_aligners_of_exported_files(kind, tmp_path):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow writes the files")
    from tests.runtimes.test_exported import write_onnx

    path = tmp_path / f"dots.{kind}"
    if kind == "tflite":
        write_tflite(path, outputs=tuple(sorted(NAMES)))
    else:
        pytest.importorskip("onnxruntime", reason="is the runtime")
        write_onnx(path)
    model = ExportedModel(path)
    scheme = get_scheme("five")
    check_aligner(
        FaceAligner.from_preset(path, None, flip_test=True), model.predict_outputs, scheme, 2e-3
    )
    images = pictures(2)
    expected = slow_mean(model.predict_outputs, images, scheme)
    found = model.predict_outputs(images, flip_test=True)
    assert set(found) == set(expected) == (NAMES if kind == "tflite" else {*list(found)})
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-4)
    points, confidence = model.predict_landmarks(images, flip_test=True)
    np.testing.assert_array_equal(points, found["landmarks"])
    np.testing.assert_array_equal(confidence, found["confidence"])
    with pytest.raises(FaceAlignError, match=r"\(2, 30, 32, 3\)"):
        model.predict_outputs(images[:, :30], flip_test=True)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (1.5, -0.75)])
def test_a_constant_offset_of_all_landmarks_is_kept(offset):
    """A network whose labels are off by `offset` is so on the mirror image as well."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 60, (3, 5, 2))
    swap = np.array([1, 0, 2, 4, 3])
    mirrored = truth[:, swap] * [-1, 1] + [SIZE - 1, 0]
    both = np.stack([truth + offset, mirrored + offset], axis=1).reshape(6, 5, 2)
    found = average_flipped({"landmarks": both}, swap, SIZE, offset)["landmarks"]
    np.testing.assert_allclose(found, truth + offset, atol=1e-5)
    if not any(offset):
        default = average_flipped({"landmarks": both}, swap, SIZE)["landmarks"]
        np.testing.assert_array_equal(default, found)
