"""Definitions of schemes: a round trip, and values that cannot be."""

from __future__ import annotations

import json

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import (
    IBUG68,
    SCHEMES,
    as_scheme,
    numbered_scheme,
    scheme_config,
    scheme_from_dict,
    scheme_to_dict,
)

OWN = {
    "name": "own6",
    "names": ["right", "left", "nose", "mouth right", "mouth left", "chin"],
    "flip_pairs": [[0, 1], ["mouth right", "mouth left"]],
    "regions": {"eyes": [0, 1], "mouth": [3, 4]},
    "lines": [[0, 2, 1], [3, 4]],
    "normalizer": ["right", 1],
    "face_box": [-0.2, -0.5, 1.2, 1.1],
}


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_survives_json(name):
    values = json.loads(json.dumps(scheme_to_dict(SCHEMES[name])))
    assert scheme_from_dict(values) == SCHEMES[name]
    assert scheme_config(SCHEMES[name]) == name


def test_own_scheme_survives_json():
    scheme = scheme_from_dict(OWN)
    assert scheme.flip_permutation.tolist() == [1, 0, 2, 4, 3, 5]
    assert scheme.edges == ((0, 2), (2, 1), (3, 4))
    assert scheme.eye_corners == (0, 1) and scheme.point_names[5] == "chin"
    carried = json.loads(json.dumps(scheme_config(scheme)))
    assert isinstance(carried, dict) and as_scheme(carried) == scheme


def test_little_is_needed():
    scheme = scheme_from_dict({"num_landmarks": 7})
    assert scheme == numbered_scheme(7) and scheme_config(scheme) == "points7"
    unpaired = scheme_from_dict({"name": "mine", "num_landmarks": 2, "flip_pairs": []})
    assert unpaired.has_flip_pairs and not unpaired.flip_pairs and unpaired.edges == ()
    assert as_scheme(IBUG68) is IBUG68 and as_scheme("ibug68") is IBUG68


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip_pairs": [[0, 1], [1, 2]]}, r"flip_pairs is \[1, 2\]; landmark 1 is in two pairs"),
        ({"flip_pairs": [[0, 6]]}, "flip_pairs is 6; give the index of a landmark, 0 to 5"),
        ({"flip_pairs": [[0, "chim"]]}, "flip_pairs is 'chim'.*or the name of one"),
        ({"flip_pairs": [[2, 2]]}, r"flip_pairs is \[2, 2\]; give two different"),
        ({"flip_pairs": [0, 1]}, "flip_pairs is 0; give two landmarks"),
        ({"flip_pairs": [[True, 1]]}, "flip_pairs is True"),
        ({"lines": [[0, -1]]}, "lines is -1; give the index"),
        ({"lines": [[0]]}, r"lines is \[0\]; give a list of at least 2"),
        ({"regions": {"eyes": [0, 9]}}, "regions: eyes is 9"),
        ({"regions": {"eyes": []}}, r"regions: eyes is \[\]; give a list of at least 1"),
        ({"regions": [[0]]}, "regions is"),
        ({"closed_regions": ["nose"]}, "closed_regions is 'nose'; it is not among the regions"),
        ({"normalizer": [1, 1]}, "two different"),
        ({"normalizer": "eyes"}, "normalizer is 'eyes'; give box_size, or the two outer corners"),
        ({"names": ["a", "a"]}, "two landmarks have this name"),
        ({"names": ["a", True]}, "names is True; give a text"),
        ({"num_landmarks": 5}, "names is 'a list of 6'; there are 5 landmarks"),
        ({"num_landmarks": 10**9, "names": None}, "from 1 to 4096"),
        ({"names": ["a"] * 5000}, "names is 'a list of 5000'; there can be at most 4096"),
        ({"lines": [[0, 1] * 20000]}, "lines is '40000 landmarks'; there can be at most"),
        ({"name": "ibug68"}, "name is 'ibug68'; this is the name of another scheme"),
        ({"name": "points6"}, "name is 'points6'; this is the name of another scheme"),
        ({"name": "a\nb"}, "printable"),
        ({"face_box": [0, 0, 0, 1]}, "face_box is"),
        ({"face_box": [0, 0, float("nan"), 1]}, "face_box is"),
        ({"flip_pair": []}, "'flip_pair' is not a key of a scheme; the keys are: name,"),
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(FaceAlignError, match=f"(?s)my.yaml: .*{message}"):
        scheme_from_dict({**OWN, **change}, "my.yaml")


def test_wrong_kinds():
    with pytest.raises(FaceAlignError, match="must hold keys and values"):
        scheme_from_dict([1])
    with pytest.raises(FaceAlignError, match="Unknown landmark scheme"):
        as_scheme("my.yaml")
