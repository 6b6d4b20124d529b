"""The presets that reproduce published networks: their sizes, and what is said about them."""

import math

import pytest

from keras_facealign.converters.mxnet.size import checkpoint_size
from keras_facealign.errors import FaceAlignError
from keras_facealign.networks import count_macs
from keras_facealign.presets import from_preset, list_presets, preset_architecture
from keras_facealign.presets.published import MXNET_MODELS, TABLE1

# Learned numbers, megabytes of the original's file, and multiply-adds (1e9) of its convolutions.
ORIGINAL = {
    "hourglass1_resnet": (3423236, 13.78, 5.08),
    "hourglass2_resnet": (6586440, 26.51, 8.37),
    "hourglass2_inception": (9549864, 38.48, 11.04),
    "hourglass2_hpm": (12097864, 48.54, 13.80),
    "hourglass2_cab": (11624584, 46.67, 13.37),
    "hourglass2_hpm_d3": (9659464, 38.76, 13.76),
    "hourglass2_cab_d3": (9286792, 37.28, 13.34),
    "unet2_cab": (9035912, 36.29, 9.86),
    "dla2_cab": (25812104, 103.48, None),
    "sat_i2_cab": (32896136, 131.85, None),
    "sat_ii2_cab": (20715656, 83.04, None),
    "sat2_cab": (10094728, 40.53, 17.63),
    "dense_unet2_stn": (29087011, 116.50, None),
    "dense_unet2_inside": (12219874, 49.03, 26.34),
    "dense_unet2_outside": (10094728, 40.53, 17.63),
    "dense_unet2_dual": (12219874, 49.03, 26.34),
    "hourglass2_cab_d3_3d": (9286792, 37.28, 13.34),
}


def test_every_published_row_has_a_preset():
    assert [row.preset for row in TABLE1] == list(ORIGINAL)[:16]
    assert {row.preset for row in (*TABLE1, *MXNET_MODELS)} == set(ORIGINAL)


@pytest.mark.parametrize("name", ORIGINAL)
def test_sizes_are_those_of_the_original(name):
    learned, megabytes, gmacs = ORIGINAL[name]
    size, about = checkpoint_size(preset_architecture(name)), list_presets()[name]
    assert size.arguments == learned
    assert size.file_bytes / 1e6 == pytest.approx(megabytes, abs=0.005)
    assert about["parameters"] == learned + size.statistics
    if gmacs is not None:
        assert about["gflops"] / 2 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.parametrize("name", ["hourglass1_resnet", "dense_unet2_dual", "dense_unet2_stn"])
def test_metadata_is_that_of_the_network(name):
    model, about = from_preset(name, load_weights=False), list_presets()[name]
    assert model.name == name
    assert model.count_params() == about["parameters"]
    assert about["gflops"] == pytest.approx(2e-9 * count_macs(model), abs=6e-4)


def test_the_trained_3d_preset_is_the_papers_network():
    assert preset_architecture("sat2_cab_3d") == preset_architecture("sat2_cab")


def test_published_sizes_are_ours_but_for_two_rows():
    differing = {
        row.label
        for row in (*TABLE1, *MXNET_MODELS)
        if row.megabytes not in (None, math.floor(ORIGINAL[row.preset][1]))
    }
    assert differing == {"SAT(III)2(d=3)-CAB", "DenseU-Net + Outside Transformer"}


@pytest.mark.parametrize("name", ["sat_ii2_cab", "dense_unet2_stn"])
def test_without_weights_only_on_request(name):
    with pytest.raises(FaceAlignError, match="has no trained weights; load it with load_weights="):
        from_preset(name)
