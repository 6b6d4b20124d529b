"""The model of many GPUs, against its formula by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.paths import ROOT, load_script


@pytest.fixture(scope="module")
def scaling():
    return load_script(ROOT / "benchmarks" / "scaling.py")


def test_exchanges_are_modeled_by_the_link(scaling):
    link = SimpleNamespace(bandwidth=10.0, latency=50.0)
    assert scaling.modeled(1e9, 100, 1, link) == 0
    # Two halves of 1 GB at 10 GB/s twice, and 100 exchanges of two steps of 50 us.
    assert scaling.modeled(1e9, 100, 2, link) == pytest.approx(100 + 10)
    assert scaling.modeled(1e9, 0, 64, link) == pytest.approx(2 * 63 / 64 * 100)
    assert scaling.modeled(0, 100, 64, link) == pytest.approx(100 * 12 * 0.05)
