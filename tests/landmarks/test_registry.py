"""Schemes by name and by size."""

from __future__ import annotations

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68, SCHEMES, get_scheme, scheme_of_size


def test_schemes_by_name():
    assert get_scheme("ibug68") is IBUG68
    with pytest.raises(FaceAlignError, match="Unknown landmark scheme 'ibug86'.*ibug68"):
        get_scheme("ibug86")


def test_schemes_by_size():
    assert [scheme_of_size(k).name for k in (5, 19, 29, 68, 98, 106, 468, 478)] == list(SCHEMES)
    assert scheme_of_size(67) is None
