"""The original code's evaluation as a whole: errors of known models, refused labels, settings."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import MXNetProtocol
from keras_facealign.evaluation.legacy_mxnet import crops as legacy_crops
from keras_facealign.geometry import invert


def labels(seed=3):
    """68 points about the middle of a record with eyes, nose and mouth where faces have them."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(110, 270, (68, 2))
    points[36:42] = np.array([150, 160]) + rng.uniform(-8, 8, (6, 2))
    points[42:48] = np.array([230, 158]) + rng.uniform(-8, 8, (6, 2))
    points[30], points[48], points[54] = (191, 205), (160, 240), (222, 242)
    return points


def example(points, size=384, visibility=None, name="a.png"):
    return SimpleNamespace(
        image=np.zeros((size, size, 3), "uint8"),
        landmarks=points,
        visibility=np.full(68, 2) if visibility is None else visibility,
        file_name=name,
        subset="",
    )


def maps_at(pixels):
    """Maps (1, 64, 64, 68) with one highest pixel each."""
    maps = np.zeros((1, 64, 64, 68), "float32")
    for k, (x, y) in enumerate(pixels.astype(int)):
        maps[0, y, x, k] = 5
    return maps


@pytest.mark.parametrize(("variant", "dimensions"), [("dfa", 2), ("dfa", 3), ("insightface", 3)])
def test_error_of_a_known_model(variant, dimensions):
    points = labels()
    protocol = MXNetProtocol(variant, dimensions)
    _, matrix = protocol.crop(np.zeros((384, 384, 3), "uint8"), points)
    inside = legacy_crops.move(matrix, points)
    report = protocol.evaluate(
        lambda crops: maps_at(np.clip(inside // 2, 0, 63)), [example(points)]
    )

    # By hand, in crop pixels, as far as the normalizer does not depend on the rotation.
    peak = np.clip(inside // 2, 0, 63) * 2
    decoded = np.stack([legacy_crops.decode_maps(maps_at(peak // 2)[0])])[0]
    assert np.abs(decoded - peak).max() <= 1
    rounded = np.round(inside) if (variant, dimensions) == ("dfa", 3) else np.floor(inside)
    back, truth = (legacy_crops.move(invert(matrix), p) for p in (decoded, rounded))
    distance = np.hypot(*(back - truth).T).mean()
    if dimensions == 2:
        eyes = [truth[[36, 39]].mean(axis=0), truth[[42, 45]].mean(axis=0)]
        length = np.hypot(*(eyes[0] - eyes[1]))
    else:
        width, height = np.ptp(truth, axis=0)
        length = np.sqrt(width * height) if variant == "dfa" else np.hypot(width, height)
    summary = report.summary()
    mean = summary["nme"][protocol.normalizer]["mean"]
    assert mean == pytest.approx(100 * distance / length, rel=1e-9)
    assert 0 < mean < 3
    assert summary["normalizer"] == protocol.normalizer
    assert (summary["protocol"], summary["variant"]) == ("legacy_mxnet", variant)


def test_insightface_zooms_out_until_all_is_inside():
    protocol = MXNetProtocol("insightface")
    points = labels()
    points[0] = 192 + 145, 192  # needs a square of 290 pixels at least
    crop, matrix = protocol.crop(np.zeros((384, 384, 3), "uint8"), points)
    assert crop.shape == (128, 128, 3)
    assert matrix[0, 0] == pytest.approx(128 / 296)
    points[0] = 192 + 180, 192  # more than the last try's 356
    kept = protocol.predictions(lambda crops: 1 / 0, [example(points)])
    assert (kept.missed, len(kept)) == (["a.png"], 1)


def test_keras_model_is_taken_as_it_is():
    import keras

    inputs = keras.Input((128, 128, 3))
    small = keras.layers.AveragePooling2D(2)(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = [keras.layers.Conv2D(68, 1)(small) for _ in range(2)]
    model = keras.Model(inputs, outputs)
    examples = [example(labels(seed), name=f"{seed}.png") for seed in (1, 2, 3)]
    kept = MXNetProtocol().predictions(model, examples, batch_size=2)
    arrays = kept.arrays()
    assert arrays["prediction"].shape == (3, 68, 2)
    assert arrays["file_names"].tolist() == ["1.png", "2.png", "3.png"]
    assert (arrays["confidence"] <= 1).all()


def test_examples_may_be_mappings():
    face = {**vars(example(labels())), "file_name": b"a.png"}
    kept = MXNetProtocol().predictions(lambda crops: np.zeros((1, 64, 64, 68)), [face])
    assert kept.file_names == ["a.png"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"landmarks": np.zeros((29, 2))}, r"a.png: .*shape \(29, 2\)"),
        ({"visibility": np.zeros(68)}, "a.png: .*without a position"),
        ({"landmarks": np.full((68, 2), 5.0)}, "a.png: .*coincide"),
    ],
)
def test_labels_it_cannot_use(change, words):
    faces = [SimpleNamespace(**{**vars(example(labels())), **change})]
    with pytest.raises(FaceAlignError, match=words):
        MXNetProtocol().predictions(lambda crops: None, faces)


def test_wrong_settings_and_wrong_maps():
    with pytest.raises(FaceAlignError, match="variant 'sdu'"):
        MXNetProtocol("sdu")
    with pytest.raises(FaceAlignError, match="dimensions is 4"):
        MXNetProtocol(dimensions=4)
    with pytest.raises(FaceAlignError, match=r"\(1, 32, 32, 68\)"):
        MXNetProtocol().evaluate(lambda crops: np.zeros((1, 32, 32, 68)), [example(labels())])
