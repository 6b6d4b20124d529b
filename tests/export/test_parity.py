"""The comparison of an exported file with its model."""

from __future__ import annotations

from keras_facealign.export.parity import Parity


def test_nan_is_never_within_the_limit():
    assert Parity(0.05, 1.0, 1, 0.05).good
    assert not Parity(0.051, 1.0, 1, 0.05).good
    assert not Parity(float("nan"), 1.0, 1, 0.05).good
