"""ArcFace and CosFace against angles and loops, at their limits, and in half precision."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import ArcFace, CosFace

LAYERS = {"arcface": ArcFace, "cosface": CosFace}


def built(layer, size=8, seed=0):
    layer.build((None, size))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=layer.kernel.shape)])
    return layer


def reference(kind, embeddings, kernel, labels, scale, margin):
    """One angle after the other."""
    logits = np.zeros((len(embeddings), kernel.shape[1]))
    for i, vector in enumerate(embeddings):
        for k in range(kernel.shape[1]):
            center = kernel[:, k]
            cosine = vector @ center / np.linalg.norm(vector) / np.linalg.norm(center)
            if k == labels[i] and kind == "cosface":
                cosine -= margin
            elif k == labels[i]:
                angle = np.arccos(np.clip(cosine, -1, 1))
                beyond = cosine - margin * np.sin(margin)
                cosine = np.cos(angle + margin) if angle + margin < np.pi else beyond
            logits[i, k] = scale * cosine
    return logits


@pytest.mark.parametrize("margin", [0.0, 0.35, 0.5, 1.2])
@pytest.mark.parametrize("kind", LAYERS)
def test_logits_are_those_of_angles(kind, margin):
    rng = np.random.default_rng(1)
    embeddings = (rng.normal(size=(40, 8)) * 7).astype("float32")
    labels = rng.integers(0, 5, 40)
    layer = built(LAYERS[kind](5, scale=10.0, margin=margin))
    kernel = ops.convert_to_numpy(layer.kernel)
    # Some lie right at, and right opposite of, their center.
    embeddings[:3], embeddings[3:6] = kernel.T[labels[:3]], -kernel.T[labels[3:6]]
    expected = reference(kind, embeddings, kernel, labels, 10.0, margin)
    found = ops.convert_to_numpy(layer([embeddings, labels]))
    np.testing.assert_allclose(found, expected, atol=5e-3)
    plain = ops.convert_to_numpy(layer(embeddings))
    np.testing.assert_allclose(
        plain, reference("cosface", embeddings, kernel, labels, 10.0, 0), atol=1e-4
    )
    column = ops.convert_to_numpy(layer([embeddings, labels[:, None]]))
    np.testing.assert_array_equal(column, found)


def test_a_smaller_angle_always_has_a_larger_logit():
    angles = np.linspace(0, np.pi, 400)
    embeddings = np.stack([np.cos(angles), np.sin(angles)], -1).astype("float32")
    layer = ArcFace(2, margin=0.5)
    layer.build((None, 2))
    layer.set_weights([np.eye(2)])
    logits = ops.convert_to_numpy(layer([embeddings, np.zeros(400, "int32")]))[:, 0]
    assert (np.diff(logits) < 0).all()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", LAYERS)
def test_training_stays_finite(kind, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        image, label = keras.Input((4,)), keras.Input((), dtype="int32")
        features = keras.layers.Dense(3, use_bias=False)(image)
        model = keras.Model([image, label], LAYERS[kind](2)([features, label]))
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(model.output.dtype) == "float32"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    # A vector of no length, and one right at its center and right opposite of the other.
    model.layers[1].set_weights([np.eye(4, 3)])
    model.layers[-1].set_weights([np.array([[1.0, -1.0], [0, 0], [0, 0]])])
    images = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0]], "float32")
    labels = np.array([0, 0, 0], "int32")
    for _ in range(2):
        value = model.train_on_batch([images, labels], labels)
        assert np.isfinite(np.asarray(value)).all()
        assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("kind", LAYERS)
def test_restored_from_its_configuration(kind):
    layer = built(LAYERS[kind](5, scale=3.0, margin=0.2))
    again = LAYERS[kind].from_config(layer.get_config())
    again.build((None, 8))
    again.set_weights(layer.get_weights())
    x = [np.ones((2, 8), "float32"), np.array([1, 4])]
    np.testing.assert_array_equal(*(ops.convert_to_numpy(each(x)) for each in (layer, again)))
    assert CosFace(5).margin == 0.35 and ArcFace(5).margin == 0.5 and ArcFace(5).scale == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_classes=1), "num_classes is 1"),
        (dict(num_classes=5, scale=0), "scale is 0"),
        (dict(num_classes=5, margin=-1), "margin is -1"),
        (dict(num_classes=5, margin=float("nan")), "margin is nan"),
    ],
)
def test_wrong_arguments(arguments, message):
    for layer in LAYERS.values():
        with pytest.raises(FaceAlignError, match=message):
            layer(**arguments)
