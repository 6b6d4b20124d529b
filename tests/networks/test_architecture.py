"""Architectures that cannot be are refused at once, by the name of the field and its value."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.networks import Architecture


@pytest.mark.parametrize(
    "fields",
    [
        {"stacks": 10**6},
        {"stacks": 17},
        {"stacks": 0},
        {"stacks": -1},
        {"stacks": True},
        {"stacks": 2.0},
        {"stacks": "2"},
        {"stacks": None},
        {"stacks": 10**400},
        {"depth": 10**9},
        {"depth": 0},
        {"depth": [3]},
        {"num_landmarks": 10**9},
        {"num_landmarks": float("nan")},
        {"input_size": 2**40},
        {"input_size": -128},
        {"input_size": "128"},
        {"map_size": 0},
        {"map_size": 10**9},
        {"width": float("nan")},
        {"width": float("inf")},
        {"width": -1.0},
        {"width": 0},
        {"width": 1e-9},
        {"width": 1e9},
        {"width": True},
        {"width": "1"},
        {"width": 10**400},
        {"head_prior": float("nan")},
        {"head_prior": "0.5"},
        {"head_prior": True},
        {"gate": 1},
        {"gate": "yes"},
        {"spatial_transformer": "no"},
        {"topology": ["sat"]},
        {"block": None},
        {"block": {}},
        {"stem": 1},
        {"variant": []},
        {"deformable": True},
    ],
)
def test_a_value_that_cannot_be_is_named(fields):
    (name,) = fields
    with pytest.raises(FaceAlignError, match=name) as error:
        Architecture.from_dict(fields)
    assert "\n" not in str(error.value)


def test_a_network_far_beyond_the_published_ones_is_refused():
    assert Architecture(stacks=16, width=2.0).filters == 512
    with pytest.raises(FaceAlignError, match=r"stacks=16 and width=2.5.*at most 64"):
        Architecture(stacks=16, width=2.5)


def test_an_unknown_field_is_named_with_the_known_ones():
    fields = {**Architecture().to_dict(), "stack": 3}
    with pytest.raises(FaceAlignError, match=r"no field 'stack'; its fields are: topology, stacks"):
        Architecture.from_dict(fields)
    with pytest.raises(FaceAlignError, match="dcn is 4"):
        Architecture.from_dict({"dcn": 4})
    with pytest.raises(FaceAlignError, match="dcn is True"):
        Architecture.from_dict({"dcn": True})


def test_numpy_numbers_become_plain_ones():
    architecture = Architecture(stacks=np.int64(2), input_size=np.int32(128))
    assert type(architecture.stacks) is int and type(architecture.to_dict()["input_size"]) is int
    assert Architecture.from_dict(Architecture().to_dict()) == Architecture()
