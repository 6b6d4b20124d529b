"""Published results name protocols and sources that exist."""

from keras_facealign.evaluation import PROTOCOLS, PUBLISHED, published_for


def test_published_values_name_protocols_and_sources():
    for entry in PUBLISHED:
        assert set(entry.protocols) <= set(PROTOCOLS)
        assert entry.source and entry.method
        assert (entry.threshold is None) == (entry.measure == "nme")
        assert 0 < entry.value <= 100
    assert {entry.method for entry in published_for("cofw68")} >= {"SPIGA 2022", "RCPR 2013"}
    assert published_for(None) == []
