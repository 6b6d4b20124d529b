"""Architectures from names and shapes: all that can be told apart, and what is said otherwise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_facealign.converters.mxnet.architecture_of import canonical_arrays, describe, recognize
from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.errors import FaceAlignError
from keras_facealign.networks import Architecture
from keras_facealign.networks.architecture import DEFORMABLE
from tests.converters.mxnet.architectures import CHECKPOINTS, MANIFESTS


def shapes_of(arch):
    return dict(expected_arrays(arch))


@st.composite
def architectures(draw):
    """Any architecture with the original stem whose channels divide, in its simplest form."""
    topology = draw(st.sampled_from(["hourglass", "unet", "dla", "sat_i", "sat_ii", "sat"]))
    encoder_decoder = topology in ("hourglass", "unet")
    depth = draw(st.integers(1, 5))
    if topology == "sat_ii":
        depth = 3
    elif topology == "sat_i":
        depth = draw(st.sampled_from([2, 4, 5]))
    stacks = draw(st.integers(1, 4))
    deformable = draw(st.sampled_from(DEFORMABLE))
    variant = draw(st.sampled_from(["dfa", "insightface", "insightface_2018"]))
    between = deformable in ("between", "both")
    if variant == "insightface" and not (encoder_decoder and between and stacks > 1):
        variant = "dfa"
    if stacks == 1 and not (encoder_decoder and variant == "dfa"):
        deformable = {"between": "none", "both": "heads"}.get(deformable, deformable)
    ratio = draw(st.sampled_from([2, 4]))
    rotates = draw(st.booleans())
    map_size = draw(st.sampled_from([32, 64])) if rotates else 64
    return Architecture(
        topology,
        stacks,
        depth,
        draw(st.sampled_from(["resnet", "inception", "hpm", "cab"])),
        8 * draw(st.integers(1, 40)) / 256,
        draw(st.integers(1, 500)),
        ratio * map_size,
        map_size,
        deformable=deformable,
        variant=variant,
        spatial_transformer=rotates,
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(arch=architectures())
def test_every_architecture_is_recognized_from_its_arrays(arch):
    assert recognize("a.params", shapes_of(arch)) == arch


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_originals_are_recognized(name):
    assert recognize("a.params", shapes_of(MANIFESTS[name])) == MANIFESTS[name]


def test_of_networks_with_the_same_arrays_the_simplest_is_chosen():
    plain = Architecture("sat", 1, 3, "cab")
    for same in (
        Architecture("sat", 1, 3, "cab", deformable="between"),
        Architecture("sat", 1, 3, "cab", variant="insightface"),
        Architecture("sat", 1, 3, "cab", gate=True),
        Architecture("sat", 1, 3, "cab", head_prior=0.1),
    ):
        assert recognize("a.params", shapes_of(same)) == plain
    assert recognize("a.params", shapes_of(Architecture("sat_i", 2, 3))).topology == "sat_ii"
    # At depth 1 no node lies inside the triangle, so nothing comes down.
    assert recognize("a.params", shapes_of(Architecture("sat_i", 2, 1))).topology == "dla"


@pytest.mark.parametrize("prefix", ["sat", "sta", "dla"])
def test_prefixes_of_grids(prefix):
    names = ["arg:conv0_weight", f"arg:{prefix}0_w1_h1_4_conv", f"aux:{prefix}12_w1_h1_x_bn"]
    found, given_prefix = canonical_arrays("a.params", dict.fromkeys(names, 1))
    assert list(found) == ["arg:conv0_weight", "arg:sat0_w1_h1_4_conv", "aux:sat12_w1_h1_x_bn"]
    assert given_prefix == prefix


def test_names_that_only_resemble_a_grid_are_left_alone():
    names = ["arg:sta_weight", "arg:dlax0_weight", "dla0_weight", "arg:stage0_dla0_weight"]
    assert canonical_arrays("a", dict.fromkeys(names)) == (dict.fromkeys(names), None)


@pytest.mark.parametrize("other", ["arg:dla0_w1_h1_4_gamma", "aux:dla3_y"])
def test_grids_of_two_prefixes_are_refused(other):
    arrays = {"arg:sta0_w1_h1_4_gamma": 1, other: 2}
    with pytest.raises(
        FaceAlignError, match=f"several prefixes, 'arg:sta0_w1_h1_4_gamma', '{other}'"
    ):
        canonical_arrays("a.params", arrays)


SAT = shapes_of(Architecture("sat", 2, 3, "cab", 0.25, deformable="both"))
HOURGLASS = shapes_of(Architecture("hourglass", 1, 2, "resnet", 0.25))
TURNED = shapes_of(Architecture("hourglass", 1, 2, "resnet", 0.25, spatial_transformer=True))


def without(arrays, *names):
    return {name: shape for name, shape in arrays.items() if name not in names}


REFUSED = {
    "nothing": ({}, "lacks 'arg:heatmap_weight', which gives the landmarks and width (its 0 arr"),
    "another network": (
        {"arg:fc1_weight": (10, 512), "arg:fc1_bias": (10,)},
        "not a checkpoint of the original networks: it lacks 'arg:heatmap_weight', which gives the "
        "landmarks and width (its 2 arrays: 'arg:fc1_weight', 'arg:fc1_bias')",
    ),
    "no topology": (
        {n: s for n, s in SAT.items() if ":sat" not in n},
        "neither an hourglass, 'arg:stack0_hg_...', nor an aggregation grid",
    ),
    "no stem": (without(SAT, "arg:conv0_weight"), "lacks 'arg:conv0_weight', which gives the stem"),
    "no block": (
        {n: s for n, s in HOURGLASS.items() if "unit0" not in n},
        "lacks 'arg:stack0_unit0_conv1_weight', which gives the kind of block",
    ),
    "block of the old inception code": (
        {n.replace("unit0", "convolution"): s for n, s in HOURGLASS.items()},
        "lacks 'arg:stack0_unit0_conv1_weight'",
    ),
    "kernel of the block": (
        HOURGLASS | {"arg:stack0_unit0_conv1_weight": (32, 64, 5, 5)},
        "'arg:stack0_unit0_conv1_weight' has a kernel of side 5, not 1 or 3",
    ),
    "light stem": (
        HOURGLASS | {"arg:conv0_weight": (32, 3, 4, 4)},
        "'arg:conv0_weight' has a kernel of side 4; the original's stem has 3, for an input of "
        "twice the maps' size, or 7",
    ),
    "flat heatmap": (
        HOURGLASS | {"arg:heatmap_weight": (68, 64)},
        "'arg:heatmap_weight', which gives the landmarks and width, has shape (68, 64) instead",
    ),
    "width of the stem": (
        HOURGLASS | {"arg:conv0_weight": (48, 3, 3, 3)},
        "'arg:conv0_weight' has 48 channels, but 'arg:heatmap_weight' with 64 means width 0.25 "
        "and 32 channels",
    ),
    "too deep": (
        {n.replace("_hg_1_", "_hg_7_"): s for n, s in HOURGLASS.items()},
        "map_size=64 cannot be halved depth=8 times",
    ),
    "far too deep": (
        SAT | {"arg:sat0_w1_h99_4_w1_h4_1_bn_gamma": (8,)},
        "depth is 98; it must be an integer, from 1 to 8",
    ),
    "size of the transformer": (
        TURNED | {"arg:loc_net_half_weight": (32, 32 * 9)},
        "map_size=6 cannot be halved depth=2 times",
    ),
    "missing": (
        without(SAT, "arg:sat1_w2_h3_x_conv_weight", "aux:bn0_moving_var"),
        "recognized as 2 x SAT(III), depth 3, cab blocks, width 0.25, 68 landmarks, input 128, "
        "deformable both, variant dfa, but it lacks 'arg:sat1_w2_h3_x_conv_weight', "
        "'aux:bn0_moving_var'; give",
    ),
    "many missing": (
        {n: s for n, s in SAT.items() if "stack1" not in n},
        "it lacks 'arg:stack1_unit0_w3_h4_1_conv_weight', 'arg:stack1_unit0_w3_h4_1_bn_gamma', "
        "'arg:stack1_unit0_w3_h4_1_bn_beta', 'arg:stack1_unit0_w2_h3_2_conv_weight', "
        "'arg:stack1_unit0_w2_h3_2_bn_gamma' and 28 more; give a complete file.",
    ),
    "unknown": (SAT | {"arg:fc1_weight": (10, 512)}, "has unknown arrays, 'arg:fc1_weight'"),
    "in the wrong place": (
        SAT | {"arg:bn0_moving_mean": (32,)},
        "has unknown arrays, 'arg:bn0_moving_mean'",
    ),
    "another shape": (
        SAT | {"arg:sat0_upsampling_w2_h2_weight": (64, 1, 2, 2)},
        "where 'arg:sat0_upsampling_w2_h2_weight' has shape (64, 64, 2, 2), but here it has (64,",
    ),
    "stacks claimed by name only": (
        SAT | {f"arg:heatmap{i}_weight": (1,) for i in range(1000)},
        "stacks is 1001; it must be an integer, from 1 to 16",
    ),
}


@pytest.mark.parametrize("shapes, message", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_original_network_is_refused_by_name(shapes, message):
    with pytest.raises(FaceAlignError) as caught:
        recognize("net-0000.params", shapes)
    assert str(caught.value).startswith("net-0000.params ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("prefix", ["sat", "sta", "dla"])
def test_arrays_are_named_as_in_the_file(prefix):
    name = "arg:sat0_upsampling_w2_h2_weight"
    for shapes in (without(SAT, name), SAT | {name: (1,)}):
        with pytest.raises(FaceAlignError, match=f"'arg:{prefix}0_upsampling_w2_h2_weight'"):
            recognize("a.params", shapes, prefix)
    with pytest.raises(FaceAlignError, match=f"unknown arrays, 'aux:{prefix}9_x'"):
        recognize("a.params", SAT | {"aux:sat9_x": (1,)}, prefix)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from([SAT, HOURGLASS, TURNED]).flatmap(
        lambda arrays: st.tuples(st.just(arrays), st.sampled_from(sorted(arrays)))
    )
)
def test_no_array_can_be_missing_and_none_of_another_shape(pair):
    arrays, name = pair
    with pytest.raises(FaceAlignError):
        recognize("a.params", without(arrays, name))
    with pytest.raises(FaceAlignError):
        recognize("a.params", arrays | {name: (*arrays[name][:-1], arrays[name][-1] + 1)})
    with pytest.raises(FaceAlignError):
        recognize("a.params", arrays | {f"{name}_": arrays[name]})


def test_a_description_names_everything():
    arch = CHECKPOINTS["n_old_sat3_2d3_cab_dcn3_stn"]
    assert describe(arch) == (
        "2 x SAT(III), depth 3, cab blocks, width 0.1875, 68 landmarks, input 128, "
        "deformable both, variant insightface_2018, spatial transformer"
    )
    assert describe(CHECKPOINTS["n_sat2d3_cab_dcn0_netsat2"]).endswith("variant dfa, gate")
