"""The named families: what each stands for, its configuration, and its particular outputs."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.models import (
    DenseUNetFaceAlign,
    DLAFaceAlign,
    HourglassFaceAlign,
    SATFaceAlign,
    UNetFaceAlign,
)
from keras_facealign.ops import decode_heatmaps
from tests.models.tiny import JIT, faces

FAMILIES = [UNetFaceAlign, HourglassFaceAlign, DLAFaceAlign, SATFaceAlign, DenseUNetFaceAlign]
TINY = {"width": 0.125, "depth": 1, "stacks": 1, "input_size": 32, "map_size": 16}


def images(count=2, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_config_round_trip(family):
    model = family(**TINY, name="tiny")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert type(copy) is family and copy.architecture == model.architecture
    copy.set_weights(model.get_weights())
    found, expected = (ops.convert_to_numpy(m(images())[0]) for m in (copy, model))
    assert found.shape == (2, 16, 16, 68)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("without_weights")
def test_defaults_are_the_papers():
    expected = {
        UNetFaceAlign: ("unet", 4, "cab"),
        HourglassFaceAlign: ("hourglass", 4, "resnet"),
        DLAFaceAlign: ("dla", 4, "cab"),
        SATFaceAlign: ("sat", 3, "cab"),
        DenseUNetFaceAlign: ("sat", 3, "cab"),
    }
    for family, words in expected.items():
        arch = family(width=0.125).architecture
        assert (arch.topology, arch.depth, arch.block, arch.stacks) == (*words, 2)
    assert SATFaceAlign(width=0.125, topology="sat_i").architecture.depth == 4
    assert SATFaceAlign(width=0.125, topology="sat_ii").architecture.depth == 3


@pytest.mark.usefixtures("without_weights")
def test_inside_transformers():
    def architecture(**kwargs):
        return DenseUNetFaceAlign(**TINY, **kwargs).architecture

    assert architecture().deformable == "both" and not architecture().spatial_transformer
    assert architecture(inside="none").deformable == "none"
    upright = architecture(inside="spatial_transformer")
    assert (
        upright.spatial_transformer
        and upright.variant == "insightface_2018"
        and upright.deformable == "both"
    )
    with pytest.warns(DeprecationWarning, match="Architecture: dcn is now deformable"):
        assert architecture(dcn=1).deformable == "between"
    assert architecture(inside="spatial_transformer", deformable="none").deformable == "none"
    with pytest.raises(
        FaceAlignError, match="Unknown inside transformer 'dcn'; choose one of: def"
    ):
        DenseUNetFaceAlign(inside="dcn")
    with pytest.raises(FaceAlignError, match="HourglassFaceAlign has no topology 'sat'"):
        HourglassFaceAlign(topology="sat")


@pytest.mark.parametrize("outside", [True, False])
def test_outside_transformer_is_the_coherent_loss(outside):
    def weight(**kwargs):
        model = DenseUNetFaceAlign(**TINY, outside=outside)
        model.compile("adam", **kwargs)
        return model._training.coherent.weight

    assert weight() == (0.001 if outside else 0.0)
    assert weight(coherent_weight=0.5) == 0.5
    assert weight(coherent="flip") == 1e-4
    copy = DenseUNetFaceAlign.from_config(DenseUNetFaceAlign(**TINY, outside=outside).get_config())
    assert copy.outside is outside


def test_spatial_transformer_turns_predictions_back():
    model = HourglassFaceAlign(**{**TINY, "depth": 2}, spatial_transformer=True)
    pictures = images()
    model.get_layer("loc_theta").bias.assign([0.4])
    angle = 0.5 * np.tanh(0.4)
    # The network sees the picture turned by -angle; positions turn by +angle to come back.
    turned = ops.convert_to_numpy(model(pictures)[-1])
    upright, _ = decode_heatmaps(turned, 32, "taylor")
    back = geometry.similarity(1.0, angle, (0.0, 0.0), (15.5, 15.5))
    expected = geometry.transform_points(np.asarray(back), ops.convert_to_numpy(upright))
    found, _ = model.predict_landmarks(pictures)
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.abs(found - ops.convert_to_numpy(upright)).max() > 1


def test_hourglass_of_dfa_predicts_what_it_trains():
    model = HourglassFaceAlign(**TINY, deformable="between")
    pictures = images()
    model.get_layer("stack0_out3").bias.assign(np.linspace(-1, 1, 68))
    shown = ops.convert_to_numpy(model(pictures)[-1])
    trained = keras.Model(model.inputs[0], model.get_layer("stack0_out3_logits").output)(pictures)
    found, _ = model.predict_landmarks(pictures)
    expected, _ = decode_heatmaps(trained, 32, "taylor")
    np.testing.assert_allclose(found, ops.convert_to_numpy(expected), atol=0.05)
    assert np.abs(ops.convert_to_numpy(trained) - shown).max() > 0.1


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize(
    "family, options, moved",
    [
        (HourglassFaceAlign, {"deformable": "both", "block": "resnet"}, "stack0_out3/kernel"),
        (HourglassFaceAlign, {"spatial_transformer": True}, "loc_theta/kernel"),
        (DLAFaceAlign, {"variant": "insightface_2018"}, "sat0/upsampling_w1_h1/kernel"),
    ],
)
def test_training_reaches_the_particular_parts(family, options, moved, tmp_path):
    model = family(**TINY, **options)
    model.compile(keras.optimizers.SGD(1e-2), jit_compile=JIT)
    variables = {v.path: v for v in model.trainable_weights}
    before = {path: ops.convert_to_numpy(v.value) for path, v in variables.items()}
    losses = [model.train_on_batch(faces(2), return_dict=True)["loss"]]
    assert np.isfinite(losses).all()
    assert np.abs(ops.convert_to_numpy(variables[moved].value) - before[moved]).max() > 0
    path = tmp_path / "model.keras"
    model.save(path)
    copy = keras.saving.load_model(path)
    for a, b in zip(copy(images()), model(images()), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-5)


def test_points_without_names():
    model = SATFaceAlign(**TINY, num_landmarks=10, scheme="points10")
    assert model(images())[0].shape == (2, 16, 16, 10)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert copy.scheme == model.scheme and not copy.scheme.has_flip_pairs
    with pytest.raises(FaceAlignError, match="'points10' does not define flip pairs"):
        model.compile("adam")
    model.compile("adam", augmentation={"base": {"flip": 0.0}, "pair": {"flip": 0.0}})
