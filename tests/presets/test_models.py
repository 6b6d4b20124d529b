"""Presets: what goes in comes out, what is damaged is named, and what a network is said to cost."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.models import FaceAlignModel, HourglassFaceAlign, SATFaceAlign
from keras_facealign.networks import Architecture, count_macs
from keras_facealign.presets import find_preset, from_preset, list_presets, save_to_preset
from tests.models.tiny import SIZE, as_numpy, faces, fix_weights, tiny_model

FILES = {"config.json", "metadata.json", "model.weights.h5"}


@pytest.fixture(scope="module")
def trained():
    """A model with an optimizer that has taken its step."""
    model = fix_weights(tiny_model())
    model.compile("adam", run_eagerly=True)
    model.train_on_batch(faces(1))
    return model


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    return save_to_preset(trained, folder, {"description": "small", "validation_nme": 3.4})


@pytest.fixture
def preset(whole, tmp_path):
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "tiny")


def change_config(preset, change):
    path = preset / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


# ---- round trip -----------------------------------------------------------------------------


def test_weights_and_architecture_come_back(trained, whole):
    assert {path.name for path in whole.iterdir()} == FILES
    for name in (whole, str(whole)):
        model = from_preset(name)
        assert type(model) is FaceAlignModel
        assert (model.architecture, model.name) == (trained.architecture, trained.name)
        images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("uint8")
        np.testing.assert_allclose(
            as_numpy(model(images)[0]), as_numpy(trained(images)[0]), atol=1e-5
        )


def test_untrained_network_on_request(trained, whole):
    model = from_preset(whole, load_weights=False)
    assert model.architecture == trained.architecture
    kernels = [as_numpy(m.get_layer("conv0").kernel) for m in (model, trained)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def test_weights_file_holds_no_optimizer(trained, whole):
    names = []
    with h5py.File(whole / "model.weights.h5") as file:
        file.visit(names.append)
        sizes = [item.size for item in map(file.get, names) if isinstance(item, h5py.Dataset)]
    assert names
    assert not [name for name in names if "optimizer" in name]
    # Weights, seed and metrics; Adam's state would triple it.
    assert trained.count_params() <= sum(sizes) < trained.count_params() + 20


def test_metadata_is_what_was_given_and_the_cost(trained, whole):
    assert json.loads((whole / "metadata.json").read_text()) == {
        "description": "small",
        "validation_nme": 3.4,
        "parameters": trained.count_params(),
        "gflops": round(2e-9 * count_macs(trained), 3),
    }


@pytest.mark.parametrize("family", [SATFaceAlign, HourglassFaceAlign])
def test_families_come_back_as_themselves(family, tmp_path):
    model = family(1, 1, width=0.125, input_size=SIZE, map_size=SIZE // 2, head_prior=0.02)
    again = from_preset(save_to_preset(model, tmp_path / "preset"))
    assert type(again) is family
    assert again.architecture == model.architecture
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b), err_msg=a.path)


class Mine(SATFaceAlign):
    """A subclass that presets cannot know."""

    def make_views(self, batch):
        raise NotImplementedError


def test_a_subclass_is_saved_as_its_family(tmp_path):
    model = Mine(1, 1, width=0.125, input_size=SIZE, map_size=SIZE // 2)
    assert type(from_preset(save_to_preset(model, tmp_path / "preset"))) is SATFaceAlign


# ---- names ----------------------------------------------------------------------------------


def test_unknown_name_lists_those_there_are():
    names = list(list_presets())
    assert names
    for unknown in ("sat3", "no/such/folder", "x" * 5000, "nul\0"):
        with pytest.raises(FaceAlignError, match="Unknown preset") as error:
            find_preset(unknown)
        assert all(name in str(error.value) for name in names)


def test_every_bundled_preset_describes_a_network():
    for name, metadata in list_presets().items():
        folder = find_preset(name)
        assert folder.name == name
        config = json.loads((folder / "config.json").read_text())
        assert Architecture(**config["config"]["architecture"])
        assert metadata["description"]
        assert metadata["parameters"] > 0


def test_folder_that_is_no_preset(tmp_path):
    with pytest.raises(FaceAlignError, match=r"is not a preset: it has no config.json"):
        from_preset(tmp_path)


# ---- damage ---------------------------------------------------------------------------------


def test_no_weights(preset):
    (preset / "model.weights.h5").unlink()
    with pytest.raises(FaceAlignError, match="'tiny' has no trained weights.*load_weights=False"):
        from_preset(preset)
    assert from_preset(preset, load_weights=False)


@pytest.mark.parametrize("keep", [0, 7, 0.3, 0.9, 0.999])
def test_truncated_weights(preset, keep):
    path = preset / "model.weights.h5"
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(FaceAlignError, match=r"model.weights.h5.*(restore|replace)") as error:
        from_preset(preset)
    assert "\n" not in str(error.value)


def test_weights_that_are_something_else(preset):
    (preset / "model.weights.h5").write_bytes(b"GIF89a" * 1000)
    with pytest.raises(FaceAlignError, match=r"model.weights.h5.*restore the file"):
        from_preset(preset)


def test_scrambled_weights_are_refused_if_they_cannot_be_read(preset):
    path = preset / "model.weights.h5"
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for start in rng.integers(0, 20_000, 6):
        path.write_bytes(content[:start] + rng.bytes(64) + content[start + 64 :])
        try:
            from_preset(preset)
            outcomes.add("loaded")  # what was hit may be padding, or a number like any other
        except FaceAlignError as error:
            assert "model.weights.h5" in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes
    path.write_bytes(content)
    assert from_preset(preset)


def test_weights_of_another_network(preset):
    other = save_to_preset(tiny_model(stacks=2), preset.parent / "other")
    shutil.copy(other / "model.weights.h5", preset)
    change_config(preset, lambda c: c["config"]["architecture"].update(width=0.25))
    with pytest.raises(
        FaceAlignError, match=r"model.weights.h5.*another architecture.*width is 0.125 in the file"
    ):
        from_preset(preset)


def test_weights_that_are_not_finite(preset):
    with h5py.File(preset / "model.weights.h5", "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        kernel = next(name for name in names if len(file[name].shape) == 4)
        file[kernel][0, 0, 0, 0] = np.inf
    with pytest.raises(FaceAlignError, match=r"model.weights.h5: .*kernel is not finite"):
        from_preset(preset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "config.json: the file is empty"),
        (b'{"class_name": "SAT', "config.json: cannot be read"),
        (b"\xff\xfe\x00", "config.json: cannot be read"),
        (b"[" * 100_000, "config.json: cannot be read"),
        (b"[1, 2]", "config.json: must hold a JSON object"),
        (b'{"a": "' + b"x" * 1_000_001 + b'"}', "config.json: is larger"),
        (b"{}", "config.json: class_name is None; it must be a string"),
        (b'{"class_name": "Sequential", "config": {}}', "class_name is 'Sequential'"),
        (b'{"class_name": ["SATFaceAlign"]}', r"class_name is \['SATFaceAlign'\]"),
        (b'{"class_name": "SATFaceAlign"}', "config.json does not describe.*lacks 'config'"),
        (b'{"class_name": "SATFaceAlign", "config": 3}', "config.json does not describe"),
        (b'{"class_name": "SATFaceAlign", "config": {}}', "lacks 'architecture'"),
    ],
)
def test_damaged_description(preset, content, message):
    (preset / "config.json").write_bytes(content)
    with pytest.raises(FaceAlignError, match=message):
        from_preset(preset)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topology": "ring"}, "'ring'"),
        ({"block": "vgg"}, "'vgg'"),
        ({"stacks": "2"}, "does not describe"),
        ({"stacks": 0}, "stacks is 0"),
        ({"depth": 9}, "depth is 9"),
        ({"width": float("inf")}, "does not describe"),
        ({"width": 0.1}, "does not describe"),
        ({"num_landmarks": 5}, "num_landmarks=5"),
        ({"dropout": 0.5}, "dropout"),
    ],
)
def test_architecture_that_cannot_be(preset, fields, message):
    change_config(preset, lambda c: c["config"]["architecture"].update(fields))
    with pytest.raises(FaceAlignError, match=message) as error:
        from_preset(preset)
    assert "config.json" in str(error.value)


def test_unknown_landmark_scheme(preset):
    change_config(preset, lambda c: c["config"].update(scheme="wflw"))
    with pytest.raises(FaceAlignError, match="config.json.*wflw"):
        from_preset(preset)


# ---- cost -----------------------------------------------------------------------------------


def conv_macs(kernel, channels_in, channels_out, side, groups=1):
    return kernel * kernel * channels_in * channels_out * side * side // groups


def test_macs_of_a_small_network_in_closed_form():
    model = tiny_model()
    f, half, k = 32, 16, 68

    def block(side):
        return (
            conv_macs(1, f, half, side)
            + conv_macs(3, half, half, side)
            + conv_macs(1, half, f, side)
        )

    # A 4x4 stem with stride 2; one lateral block, three at half size, one before the head.
    expected = conv_macs(4, 3, f, 16) + block(16) + 3 * block(8) + block(16)
    expected += conv_macs(1, f, f, 16) + conv_macs(1, f, k, 16)
    assert count_macs(model) == expected


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("family", "arguments", "gmacs"),
    [(SATFaceAlign, (2, 3, "cab"), 17.63), (HourglassFaceAlign, (2, 4, "resnet"), 8.37)],
)
def test_macs_of_the_published_networks(family, arguments, gmacs):
    assert count_macs(family(*arguments)) / 1e9 == pytest.approx(gmacs, abs=0.01)


def test_macs_need_a_fixed_size():
    import keras

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    with pytest.raises(FaceAlignError, match="fixed input_size"):
        count_macs(model)


def test_from_preset_and_save_to_preset_on_classes_and_models(tmp_path):
    class Mine(SATFaceAlign):
        """A user's class."""

    model = SATFaceAlign(stacks=1, width=0.125, depth=1, stem="light")
    preset = model.save_to_preset(tmp_path / "sat", {"description": "small"})
    for cls, expected in (
        (FaceAlignModel, SATFaceAlign),
        (SATFaceAlign, SATFaceAlign),
        (Mine, Mine),
    ):
        loaded = cls.from_preset(preset)
        assert type(loaded) is expected
        for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    # A user's class is saved as the class of the package that it derives from.
    again = Mine.from_preset(preset, load_weights=False).save_to_preset(tmp_path / "again")
    assert json.loads((again / "config.json").read_text())["class_name"] == "SATFaceAlign"
    with pytest.raises(FaceAlignError, match="is a SATFaceAlign, not a HourglassFaceAlign"):
        HourglassFaceAlign.from_preset(preset)
