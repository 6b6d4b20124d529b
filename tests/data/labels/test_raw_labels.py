"""Numbers, boxes and sizes of label files."""

from __future__ import annotations

import math

import pytest

from keras_facealign.data.labels.raw_labels import (
    box_of,
    number,
    readable,
    short_name,
    shown,
    size_of,
    visibility_value,
)
from keras_facealign.errors import FaceAlignError


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), ("2.5 ", 2.5), (-1e3, -1000), ("-7e1", -70)]
)
def test_numbers(value, expected):
    assert number(value, "here") == expected


@pytest.mark.parametrize("value", [None, "", " NaN", "None", math.nan])
def test_missing_numbers(value):
    assert math.isnan(number(value, "here"))


@pytest.mark.parametrize(
    "value", ["1,5", "x", True, [1], {}, "inf", -2e6, 1e308, 10**400, "1" * 5000]
)
def test_no_numbers(value):
    with pytest.raises(FaceAlignError, match="here has"):
        number(value, "here")


def test_visibility():
    assert [visibility_value(v, "") for v in (0, "1", 2.0)] == [0, 1, 2]
    for value in (3, -1, 0.5, "x", None):
        with pytest.raises(FaceAlignError, match="here has"):
            visibility_value(value, "here")


def test_boxes_and_sizes():
    assert box_of(["1", 2, 3, 4], "") == (1, 2, 3, 4)
    for values in ([3, 2, 1, 4], [1, 2, 1, 4], [1, 2, math.nan, 4]):
        with pytest.raises(FaceAlignError, match="without an area"):
            box_of(values, "here")
    assert size_of("640", 480.0) == (640, 480)
    for sides in ((0, 3), (None, 3), ("x", 3), (10**9, 3), (math.inf, 1)):
        assert size_of(*sides) is None


def test_messages_are_short_and_of_one_line():
    deep: list = []
    for _ in range(500):
        deep = [deep] * 2
    for value in ("a" * 1000, "\n" * 1000, list(range(10**5)), deep, {"a" * 99: "b" * 99}, 10**99):
        assert len(shown(value)) < 400 and "\n" not in shown(value)
    assert shown("ü") == "'ü'" and shown([1, 2]) == "[1, 2]"
    assert short_name("x" * 100 + "\n\udcfc") == "x" * 78 + "\\nü"


def test_readable():
    assert readable("a\udc80b") == "a€b" and readable("\udc81") == "\x81" and readable("ü") == "ü"
