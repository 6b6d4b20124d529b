"""NormalizedMeanError against the NumPy evaluation, eager and compiled, on every backend."""

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import nme
from keras_facealign.objective.metrics import NormalizedMeanError

NORMALIZERS = ("inter_ocular", "box_size", "box_diagonal")


def faces(number=6, points=68, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 128, (number, points, 2)).astype("float32")
    prediction = truth + rng.normal(0, 3, truth.shape).astype("float32")
    visibility = rng.integers(0, 3, (number, points)).astype("float32")
    if points == 68:
        visibility[:, [36, 45]] = (2, 1)
    return prediction, truth, visibility


def measure(metric, truth, prediction, visibility=None):
    metric.update_state(truth, prediction, sample_weight=visibility)
    return float(metric.result())


def compiled_update(metric):
    """`metric.update_state` as a training step compiles it, with the state it leaves behind."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(metric.update_state, jit_compile=True)
    if backend == "jax":
        import jax

        step = jax.jit(metric.stateless_update_state)

        def update(truth, prediction, sample_weight):
            state = [variable.value for variable in metric.variables]
            state = step(state, truth, prediction, sample_weight=sample_weight)
            for variable, value in zip(metric.variables, state, strict=True):
                variable.assign(value)

        return update
    import torch

    # The eager "compiler" needs no C++ tool chain, and still fails on a branch over values.
    return torch.compile(metric.update_state, backend="eager", fullgraph=True)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_agrees_with_numpy_over_uneven_batches(normalizer):
    prediction, truth, visibility = faces()
    metric = NormalizedMeanError(normalizer=normalizer)
    for batch in (slice(0, 1), slice(1, 4), slice(4, 6)):
        value = measure(metric, truth[batch], prediction[batch], visibility[batch])
    expected = nme(prediction, truth, normalizer, visibility).mean()
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_compiled_update(normalizer):
    prediction, truth, visibility = faces(seed=1)
    visibility[2] = 0
    metric = NormalizedMeanError(normalizer=normalizer)
    tensors = [keras.ops.convert_to_tensor(array) for array in (truth, prediction, visibility)]
    compiled_update(metric)(tensors[0], tensors[1], sample_weight=tensors[2])
    keep = [0, 1, 3, 4, 5]
    expected = nme(prediction[keep], truth[keep], normalizer, visibility[keep]).mean()
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_all_landmarks_count_without_visibility():
    prediction, truth, _ = faces()
    assert measure(NormalizedMeanError(), truth, prediction) == pytest.approx(
        nme(prediction, truth).mean(), rel=1e-5
    )


def test_images_without_length_or_landmark_are_left_out():
    prediction, truth, visibility = faces()
    visibility[0, 36] = 0
    visibility[1] = 0
    truth[2, 45] = truth[2, 36]
    value = measure(NormalizedMeanError(), truth, prediction, visibility)
    expected = nme(prediction[3:], truth[3:], visibility=visibility[3:]).mean()
    assert value == pytest.approx(expected, rel=1e-5)


def test_faces_smaller_than_a_pixel_count():
    prediction, truth, _ = faces()
    found = measure(NormalizedMeanError(), truth / 1000, prediction / 1000)
    assert found == pytest.approx(nme(prediction, truth).mean(), rel=1e-4)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_unlabeled_coordinates_may_hold_anything(normalizer):
    prediction, truth, visibility = faces()
    expected = measure(NormalizedMeanError(normalizer=normalizer), truth, prediction, visibility)
    for filler in (np.nan, np.inf, -1.0):
        truth[visibility == 0] = filler
        value = measure(NormalizedMeanError(normalizer=normalizer), truth, prediction, visibility)
        assert value == expected


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_where_nothing_could_be_measured_the_result_is_nan(normalizer):
    prediction, truth, visibility = faces()
    metric = NormalizedMeanError(normalizer=normalizer)
    assert np.isnan(float(metric.result()))
    assert np.isnan(measure(metric, truth, prediction, np.zeros_like(visibility)))
    one_place = np.broadcast_to(truth[:, :1], truth.shape)  # every length is 0
    assert np.isnan(measure(metric, one_place, prediction, visibility))
    expected = nme(prediction, truth, normalizer, visibility).mean()
    assert measure(metric, truth, prediction, visibility) == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_faces_with_few_labeled_landmarks_count(number):
    """One face, whose error is that of its few landmarks alone, whatever the others hold."""
    truth = np.zeros((1, 5, 2), np.float32)
    truth[0, 1] = (30, 40)
    prediction = truth + np.float32([3, 4])
    visibility = np.zeros((1, 5))
    visibility[0, [1, 0, 3][:number]] = 1
    prediction[0, visibility[0] == 0] = 1000
    metric = NormalizedMeanError(eye_corners=(0, 1), normalizer="inter_ocular")
    value = measure(metric, truth, prediction, visibility)
    # With both eye corners labeled, the length is 50 and the error 5.
    assert value == pytest.approx(10) if number > 1 else np.isnan(value)


def test_wrong_prediction_is_not_hidden():
    prediction, truth, visibility = faces()
    prediction[0, 36] = np.nan
    assert np.isnan(measure(NormalizedMeanError(), truth, prediction, visibility))


def test_half_precision_and_boolean_mask():
    prediction, truth, visibility = faces()
    half = prediction.astype("float16")
    value = measure(NormalizedMeanError(), truth, half, visibility > 0)
    expected = nme(half.astype("float64"), truth, visibility=visibility).mean()
    assert value == pytest.approx(expected, rel=1e-5)


def test_other_eye_corners():
    prediction, truth, _ = faces(points=29)
    value = measure(NormalizedMeanError(eye_corners=(8, 9)), truth, prediction)
    lengths = np.linalg.norm(truth[:, 8] - truth[:, 9], axis=-1)
    errors = np.linalg.norm(prediction - truth, axis=-1).mean(axis=-1)
    assert value == pytest.approx(float(np.mean(100 * errors / lengths)), rel=1e-5)


def test_serialization_round_trip():
    metric = NormalizedMeanError(name="error", normalizer="box_size", eye_corners=(8, 9))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(copy, NormalizedMeanError)
    assert copy.get_config() == metric.get_config()


def test_bad_input_is_named():
    prediction, truth, visibility = faces()
    with pytest.raises(FaceAlignError, match="'pupils'"):
        NormalizedMeanError(normalizer="pupils")
    for corners in ((36,), (36, 36), (-1, 4)):
        with pytest.raises(FaceAlignError, match="eye_corners"):
            NormalizedMeanError(eye_corners=corners)
    metric = NormalizedMeanError()
    with pytest.raises(FaceAlignError, match=r"ground truth \(6, 68, 2\) and prediction \(6, 5"):
        metric.update_state(truth, prediction[:, :5])
    with pytest.raises(FaceAlignError, match=r"visibility \(B, K\)"):
        metric.update_state(truth, prediction, sample_weight=visibility[:, :5])
    for number in (29, 45):  # the eye corners are 36 and 45, counted from 0
        with pytest.raises(FaceAlignError, match=f"{number} landmarks"):
            metric.update_state(truth[:, :number], prediction[:, :number])
    metric.update_state(truth[:, :46], prediction[:, :46])
