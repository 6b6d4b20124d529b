"""`calibration.json`: what goes in comes out, and what is damaged is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign.calibration import read_calibration, weights_fingerprint, write_calibration
from keras_facealign.errors import FaceAlignError
from tests.calibration.synthetic import some_calibration

ARRAYS = (
    *("spreads", "sigmas", "factors", "bias"),
    *("peak_weights", "spread_weights", "yaw_weights"),
)


@pytest.fixture
def path(tmp_path):
    return write_calibration(some_calibration(), tmp_path / "calibration.json")


def test_round_trip_is_exact_and_a_line_a_list(path):
    before, after = some_calibration(), read_calibration(path)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for name in ("scheme", "input_size", "fitted_on", "fingerprint"):
        assert getattr(after, name) == getattr(before, name)
    assert len(path.read_text().splitlines()) < 25


def test_round_trip_without_visibility(tmp_path):
    before = some_calibration(**dict.fromkeys(ARRAYS[3:]))
    path = write_calibration(before, tmp_path / "calibration.json")
    assert json.loads(path.read_text())["visibility"] is None
    after = read_calibration(path)
    np.testing.assert_array_equal(after.factors, before.factors)
    assert not after.has_visibility


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("visibility"), "visibility.bias must be"),
        (lambda v: v["visibility"].pop("turn_weights"), "visibility.turn_weights must be"),
        (lambda v: v.update(format=2), "format is 2"),
        (lambda v: v.pop("format"), "format is None"),
        (lambda v: v.update(scheme="ibug67"), "Unknown landmark scheme"),
        (lambda v: v.update(scheme="points999999999"), "does not fit the number"),
        (lambda v: v.update(input_size=128.0), "input_size must be a whole number"),
        (lambda v: v.update(weights_crc32=-1), "weights_crc32 must be"),
        (lambda v: v.pop("sigma"), "sigma.spreads must be a list"),
        (lambda v: v["sigma"].update(sigmas="1"), "sigma.sigmas must be a list"),
        (lambda v: v["sigma"]["factors"].pop(), "factors has shape"),
        (lambda v: v["visibility"]["bias"].__setitem__(3, True), "visibility.bias must be"),
        (lambda v: v["visibility"]["bias"].__setitem__(3, 1e300), "visibility.bias must be"),
        (lambda v: v["visibility"]["bias"].__setitem__(3, [1]), "visibility.bias must be"),
    ],
)
def test_damage_is_named_with_the_file(path, change, message):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(FaceAlignError, match=message) as caught:
        read_calibration(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 200_000])
def test_what_is_no_json_object(path, content):
    path.write_bytes(content)
    with pytest.raises(FaceAlignError, match=str(path)):
        read_calibration(path)


def test_too_large_and_missing_files(path):
    path.write_bytes(b" " * 1_000_001)
    with pytest.raises(FaceAlignError, match="larger than"):
        read_calibration(path)
    path.unlink()
    with pytest.raises(FaceAlignError, match="cannot be opened"):
        read_calibration(path)


def test_nan_in_the_file_is_refused(path):
    text = path.read_text()
    path.write_text(text.replace('"sigmas": [0.5', '"sigmas": [NaN'))
    with pytest.raises(FaceAlignError, match="sigma.sigmas must be a list of numbers"):
        read_calibration(path)


class Weights:
    def __init__(self, *values):
        self.values = values

    def get_weights(self):
        return list(self.values)


def test_fingerprint_survives_half_precision_and_nothing_else():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 4)).astype("float32"), np.float32([1.0, 1e6])
    first = weights_fingerprint(Weights(kernel, bias))
    half = kernel.astype("float16").astype("float32")
    assert weights_fingerprint(Weights(half, bias)) == first
    changed = kernel.copy()
    changed[1, 2] *= 1.01
    assert weights_fingerprint(Weights(changed, bias)) != first
    assert weights_fingerprint(Weights(bias, kernel)) != first
