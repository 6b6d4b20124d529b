"""The lists of arrays: MXNet's own for 17 networks, the counts of 384, and this library's models.

Some of the models are built at full width; with KERAS_FACEALIGN_SLOW=1 all are, which takes a
quarter of an hour.
"""

import csv
import functools
import gzip
import json
import math
import os
from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.converters.mxnet.size import checkpoint_size
from keras_facealign.converters.mxnet.weights import to_mxnet_layout, variables_by_name
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks import Architecture, count_macs
from tests.converters.mxnet.architectures import MANIFESTS, of_counts_row
from tests.paths import TESTS

DATA = TESTS / "data" / "mxnet"
ORIGINAL = json.loads(gzip.decompress((DATA / "param_manifests_full_width.json.gz").read_bytes()))
with gzip.open(DATA / "counts_all.csv.gz", "rt", newline="") as file:
    COUNTS = list(csv.DictReader(file))

SLOW = "KERAS_FACEALIGN_SLOW" in os.environ
SOME_MANIFESTS = ["hg2d3_cab_dcn3", "old_sat1_2d4"]
# Full width is slow; `test_models_have_the_listed_arrays` has narrow networks of every kind.
SOME_COUNTS = [0, 90, 243]


def original(name):
    """Names and shapes in MXNet's order, with this library's name of the grid."""
    return [
        (f"{place}:{'sat' + n[3:] if n.startswith('dla') else n}", tuple(shape))
        for place in ("arg", "aux")
        for n, shape in ORIGINAL[name][place]
    ]


def of_model(model):
    """Names and MXNet shapes of a model's weights."""
    return {name: tuple(v.shape) for name, v in variables_by_name(model).items()}


def fits(keras_shape, shape):
    # An array without memory: only the shapes matter.
    value = to_mxnet_layout(np.broadcast_to(np.float32(0), keras_shape), shape)
    return value is not None and value.shape == shape


def assert_same_arrays(model, arrays):
    found = of_model(model)
    assert sorted(found) == sorted(name for name, _ in arrays)
    for name, shape in arrays:
        assert fits(found[name], shape), (name, found[name], shape)


def test_every_network_of_the_manifest_file_is_here():
    assert sorted(MANIFESTS) == sorted(ORIGINAL)


@pytest.mark.parametrize("name", MANIFESTS)
def test_lists_are_mxnets_own_in_its_order(name):
    assert list(expected_arrays(MANIFESTS[name])) == original(name)


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("name", MANIFESTS if SLOW else SOME_MANIFESTS)
def test_full_width_models_have_the_originals_arrays(name):
    model = FaceAlignModel(MANIFESTS[name])
    assert_same_arrays(model, original(name))
    assert model.count_params() == sum(math.prod(shape) for _, shape in original(name))


NARROW = [
    Architecture("unet", 2, 2, "cab", width=0.375, deformable="both"),
    Architecture("unet", 1, 1, "resnet", width=0.25, deformable="between", variant="if"),
    Architecture("unet", 2, 2, "hpm", width=0.1875, deformable="heads", variant="old"),
    Architecture("hourglass", 3, 2, "inception", width=0.375, deformable="between", variant="if"),
    Architecture("hourglass", 1, 2, "hpm", width=0.375, deformable="between", num_landmarks=29),
    Architecture(
        "hourglass", 2, 2, "cab", width=0.1875, deformable="both", variant="old", input_size=256
    ),
    Architecture("sat", 2, 2, "inception", width=0.375, deformable="between", variant="if"),
    Architecture("sat", 1, 1, "resnet", width=0.125, deformable="heads", variant="old"),
    Architecture("dla", 1, 2, "hpm", width=0.375, deformable="heads"),
    Architecture("dla", 1, 2, "cab", width=0.1875, variant="dfa"),
    Architecture("sat_i", 1, 2, "cab", width=0.375, spatial_transformer=True),
]


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    "arch", NARROW, ids=lambda a: f"{a.topology}{a.stacks}-{a.block}-{a.deformable}"
)
def test_models_have_the_listed_arrays(arch):
    scheme = "ibug68" if arch.num_landmarks == 68 else "cofw29"
    assert_same_arrays(FaceAlignModel(arch, scheme), list(expected_arrays(arch)))


def test_counts_of_every_configuration():
    assert len(COUNTS) == 384
    columns = ("arg_params", "aux_params", "n_arg_arrays", "n_aux_arrays", "params_file_bytes")
    for row in COUNTS:
        arch = of_counts_row(row)
        size = checkpoint_size(arch)
        number = Counter(name[:3] for name, _ in expected_arrays(arch))
        found = [size.arguments, size.statistics, number["arg"], number["aux"], size.file_bytes]
        assert found == [int(row[column]) for column in columns], row


@functools.cache
def numbers_of_model(arch):
    """Counts of a model that has the listed arrays: trained and all parameters, multiply-adds."""
    model = FaceAlignModel(arch)
    arrays = list(expected_arrays(arch))
    assert_same_arrays(model, arrays)
    weights = variables_by_name(model)
    trained = sum(math.prod(v.shape) for name, v in weights.items() if name.startswith("arg:"))
    to_heatmap = keras.Model(model.inputs, model.outputs[arch.stacks - 1])
    macs = count_macs(to_heatmap)
    return trained, model.count_params(), macs


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("index", range(len(COUNTS)) if SLOW else SOME_COUNTS)
def test_full_width_models_have_the_originals_counts(index):
    row = COUNTS[index]
    arch = of_counts_row(row)
    if arch.topology == "sat" or not arch.deformable_between:
        # What "if" and "dfa" have in common is built once.
        arch = replace(arch, variant="dfa")
    expected = [int(row[column]) for column in ("arg_params", "total", "conv_MACs_heatmap")]
    assert list(numbers_of_model(arch)) == expected
