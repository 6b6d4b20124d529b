"""Transfer to other landmarks: heads are mapped, features stay as they were."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import FIVE, IBUG68, get_scheme, scheme_from_dict, write_scheme
from keras_facealign.models import FaceAlignModel
from keras_facealign.models.transfer import head_layers, known_mapping, with_landmarks
from tests.models.tiny import SIZE, architecture, fix_weights, tiny_model

MAPPING = {0: 36, 1: 45, 2: 30, 4: 30}


def outputs(model, seed=3):
    images = np.random.default_rng(seed).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    return [keras.ops.convert_to_numpy(maps) for maps in model(images, return_all_outputs=True)]


@pytest.mark.parametrize("stacks", [1, 3])
def test_mapped_heads_give_the_known_heatmaps_in_every_stack(stacks):
    model = fix_weights(tiny_model(stacks, head_prior=0.01))
    other = with_landmarks(model, "five", mapping=MAPPING)
    assert other.scheme is FIVE and other.num_landmarks == 5
    for before, after in zip(outputs(model), outputs(other), strict=True):
        assert after.shape[-1] == 5
        for new, old in MAPPING.items():
            # Later stacks see the same features, although most heatmaps are gone.
            assert after[..., new] == pytest.approx(before[..., old], abs=2e-4)
        # A landmark without a known one starts near the prior.
        assert abs(1 / (1 + np.exp(-after[..., 3])).mean() - 0.01) < 0.2


@pytest.mark.parametrize("fields", [{"deformable": "heads"}, {"deformable": "between"}])
def test_deformable_networks(fields):
    model = fix_weights(tiny_model(2, variant="dfa", **fields))
    other = with_landmarks(model, num_landmarks=7, mapping={6: 8})
    assert [maps.shape[-1] for maps in outputs(other)] == [7] * len(outputs(model))
    # The first stack's input has not changed.
    assert outputs(other)[0][..., 6] == pytest.approx(outputs(model)[0][..., 8], abs=2e-4)
    trunk = {v.path: v for v in model.weights}
    for variable in other.weights:
        if "offset" in variable.path or variable.path.startswith("stack1_hg"):
            same = keras.ops.convert_to_numpy(trunk[variable.path])
            assert np.array_equal(keras.ops.convert_to_numpy(variable), same)


def test_the_model_itself_does_not_change():
    model = fix_weights(tiny_model(2))
    model.landmark_offset = (0.5, 0.0)
    before = model.get_weights()
    other = with_landmarks(model, num_landmarks=3)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert tuple(other.landmark_offset) == (0.0, 0.0) and other.calibration is None
    assert other.scheme.name == "points3" and not other.scheme.has_flip_pairs


def test_own_scheme_trains_and_survives_a_preset_and_a_keras_file(tmp_path):
    own = scheme_from_dict(
        {"names": ["a", "b", "c"], "flip_pairs": [["a", "b"]], "face_box": [-1, -1, 2, 2]}
    )
    path = write_scheme(own, tmp_path / "my.json")
    known = fix_weights(tiny_model())
    known.save_to_preset(tmp_path / "known")
    model = FaceAlignModel.from_preset(tmp_path / "known", scheme=path, mapping={2: 8})
    model.compile("adam", run_eagerly=True)
    assert model._training.nme_normalizer == "box_size"
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "model.keras")
    for loaded in (
        FaceAlignModel.from_preset(tmp_path / "preset"),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        assert loaded.scheme == own
        assert outputs(loaded)[0] == pytest.approx(outputs(model)[0], abs=1e-5)


def test_named_schemes_stay_names_in_the_configuration():
    assert tiny_model().get_config()["scheme"] == "ibug68"
    own = scheme_from_dict({"name": "mine", "num_landmarks": 2})
    model = FaceAlignModel(architecture(num_landmarks=2), own)
    config = model.get_config()
    assert config["scheme"]["name"] == "mine"
    assert FaceAlignModel.from_config(config).scheme == own


def test_known_mappings():
    assert known_mapping(IBUG68, FIVE)[3] == 48
    wflw = known_mapping(IBUG68, get_scheme("wflw98"))
    # WFLW's 32 is iBUG's 16, its 60 the corner 36; 1 is between two of iBUG's points.
    assert (wflw[32], wflw[60]) == (16, 36) and 1 not in wflw
    assert known_mapping(IBUG68, get_scheme("points9")) == {}
    assert known_mapping(IBUG68, IBUG68) == {k: k for k in range(68)}
    first, second = (
        scheme_from_dict({"name": "x", "names": names}) for names in (["a", "b"], ["c", "a"])
    )
    assert known_mapping(first, second) == {1: 0}


def test_heads_are_the_layers_with_landmarks():
    names = [layer.name for layer in head_layers(tiny_model(3))]
    assert names == ["heatmap0", "heatmap1", "heatmap"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give the landmarks"),
        ({"num_landmarks": 3, "mapping": {3: 0}}, "there are 3 new landmarks, 0 to 2"),
        ({"num_landmarks": 3, "mapping": {0: 68}}, "there are 68 known landmarks, 0 to 67"),
        ({"num_landmarks": 3, "mapping": {0: "a"}}, "'a' is not the index"),
        ({"scheme": "five", "num_landmarks": 3}, "num_landmarks=3 does not fit scheme 'five'"),
        ({"scheme": "six"}, "Unknown landmark scheme 'six'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(FaceAlignError, match=message):
        with_landmarks(tiny_model(), **arguments)
