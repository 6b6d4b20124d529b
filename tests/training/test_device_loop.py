"""The training loop on the device: the steps of `train_on_batch`, and the average over them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.data import PackedFaces, pack
from keras_facealign.errors import FaceAlignError
from keras_facealign.training.device_loop import make_training_loop
from tests.models.tiny import CROP, JIT, SIZE, as_numpy, faces, fix_weights, tiny_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="steps on the device run on jax or tensorflow"
)
RATES = np.array([0.01, 0.03, 0.02, 0.04], np.float32)
INDICES = np.array([[0, 3], [2, 1], [3, 2], [0, 1]], np.int32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "drawn.faces.npz"
    batch = faces(4)
    box = np.array([6, 6, CROP - 6, CROP - 6], np.float32)
    pack(
        (
            {**{k: v[i] for k, v in batch.items()}, "box": box, "file_name": f"{i}.png"}
            for i in range(4)
        ),
        path,
        95,
        CROP,
        SIZE,
    )
    return path


def new_model():
    model = fix_weights(tiny_model())
    model.compile(keras.optimizers.SGD(0.1), jit_compile=JIT, augmentation={"seed": 3})
    model.optimizer.build(model.trainable_variables)
    return model


def weights(model):
    return [as_numpy(v).copy() for v in model.weights]


@pytest.mark.slow
def test_steps_average_and_state(path):
    packed = PackedFaces(path)
    reference = new_model()
    average, taken = weights(reference), []
    for t, (rate, chosen) in enumerate(zip(RATES, INDICES, strict=True), 1):
        reference.optimizer.learning_rate = float(rate)
        batch = {
            "image": packed.images[chosen],
            "landmarks": packed.landmarks[chosen],
            "visibility": packed.visibility[chosen],
        }
        taken.append(reference.train_on_batch(batch, return_dict=True))
        kept = min(0.9, (1 + t) / (10 + t))
        average = [
            kept * a + (1 - kept) * w for a, w in zip(average, weights(reference), strict=True)
        ]

    model = new_model()
    steps = make_training_loop(model, packed, 0.9)
    logs = steps.run(INDICES[:2], RATES[:2], 0)
    state = [array.copy() for array in steps.arrays()]
    # The metrics are means over the steps of a call, as those of an epoch are.
    assert set(logs) == {"loss", "heatmap_loss", "coherent_loss", "nme"}
    for name in ("loss", "heatmap_loss", "coherent_loss"):
        mean = np.mean([float(step[name]) for step in taken[:2]])
        assert logs[name] == pytest.approx(mean, rel=1e-3), name
    steps.run(INDICES[2:], RATES[2:], 2)
    steps.sync()
    for v, expected in zip(model.weights, weights(reference), strict=True):
        np.testing.assert_allclose(as_numpy(v), expected, rtol=2e-3, atol=2e-4, err_msg=v.path)
    last = weights(model)
    steps.swap_average()
    for v, expected in zip(model.weights, average, strict=True):
        np.testing.assert_allclose(as_numpy(v), expected, rtol=2e-3, atol=2e-4, err_msg=v.path)
    steps.swap_average()
    for a, b in zip(weights(model), last, strict=True):
        np.testing.assert_array_equal(a, b)

    # From the state in between the last step comes out again, with its draws.
    steps.restore(state)
    steps.run(INDICES[2:], RATES[2:], 2)
    steps.sync()
    for a, b in zip(weights(model), last, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    with pytest.raises(FaceAlignError, match="another network"):
        steps.restore(state[:-1])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX tells the device's memory")
def test_faces_that_do_not_fit_are_sent_with_each_call(path):
    from keras_facealign.training.device_loop import _JaxLoop

    packed, results = PackedFaces(path), []
    for on_device in (True, False):
        model = new_model()
        steps = _JaxLoop(model, packed, 0.9, on_device)
        steps.run(INDICES[:1], RATES[:1], 0)
        steps.sync()
        results.append(weights(model))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_steps_that_diverge_end_with_an_error(path):
    model = new_model()
    steps = make_training_loop(model, PackedFaces(path), 0.9)
    rates = np.array([1e30, 0.01], np.float32)
    with pytest.raises(FaceAlignError, match=r"loss is (nan|inf) by step 12, learning rate 0.01"):
        steps.run(INDICES[:2], rates, 10)
    with pytest.raises(FaceAlignError, match="is not finite, so there is no checkpoint of it"):
        steps.arrays()
