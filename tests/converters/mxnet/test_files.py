"""Finding a checkpoint's files, and the one property that is read from the graph."""

import json

import pytest

from keras_facealign.converters.mxnet import files as module
from keras_facealign.converters.mxnet import find_params, symbol_has_gate
from keras_facealign.errors import FaceAlignError


@pytest.fixture
def folder(tmp_path):
    for name in (
        "net-0001.params",
        "net-0010.params",
        "net-10000.params",
        "net-9.params",
        "net-0002.params.bak",
        "net-2-0077.params",
        "nets-0099.params",
        "net-symbol.json",
    ):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_the_newest_epoch_of_a_prefix(folder):
    assert find_params(folder / "net") == folder / "net-10000.params"
    assert find_params(str(folder / "net-2")) == folder / "net-2-0077.params"


def test_a_given_epoch(folder):
    assert find_params(folder / "net", 10) == folder / "net-0010.params"
    with pytest.raises(FaceAlignError, match="net has no epoch 2; choose one of: 1, 10, 10000"):
        find_params(folder / "net", 2)


def test_a_file_itself(folder):
    assert find_params(folder / "net-9.params") == folder / "net-9.params"
    with pytest.raises(FaceAlignError, match="net-0001.params is a file; omit epoch=1"):
        find_params(folder / "net-0001.params", 1)


@pytest.mark.parametrize("prefix", ["ne", "nowhere/net", "net-0001"])
def test_no_such_checkpoint(folder, prefix):
    with pytest.raises(FaceAlignError, match=f"{prefix}: there is neither such a file nor"):
        find_params(folder / prefix)


def test_a_prefix_in_the_present_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_params("net", 1).resolve() == (folder / "net-0001.params").resolve()


def pooling(kind, key="attrs"):
    return {"op": "Pooling", "name": "pooling0", key: {"kernel": "(64, 64)", "pool_type": kind}}


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
@pytest.mark.parametrize("kind, gate", [("avg", True), ("max", False)])
def test_the_gate_is_the_average_pooling_of_the_graph(tmp_path, key, kind, gate):
    nodes = [{"op": "null", "name": "data"}, pooling("max", key), pooling(kind, key)]
    (tmp_path / "net-symbol.json").write_text(json.dumps({"nodes": nodes, "heads": []}))
    assert symbol_has_gate(tmp_path / "net-0007.params") is gate


def test_without_a_graph_nothing_is_known(tmp_path):
    assert symbol_has_gate(tmp_path / "net-0000.params") is None
    assert symbol_has_gate(tmp_path / "something.params") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"nodes": 3}',
        b'{"nodes": [3]}',
        b'{"nodes": {"op": "Pooling"}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_graph_is_named_with_the_mend(tmp_path, content):
    path = tmp_path / "net-symbol.json"
    path.write_bytes(content)
    with pytest.raises(FaceAlignError) as caught:
        symbol_has_gate(tmp_path / "net-0000.params")
    assert str(caught.value).startswith(str(path))
    assert "remove it" in str(caught.value)


@pytest.mark.parametrize(
    "node", [{}, {"op": "Pooling"}, {"op": "Pooling", "attrs": "avg"}, {"op": ["Pooling"]}]
)
def test_strange_nodes_are_no_gate(tmp_path, node):
    (tmp_path / "net-symbol.json").write_text(json.dumps({"nodes": [node]}))
    assert symbol_has_gate(tmp_path / "net-0000.params") is False


def test_a_huge_graph_is_refused_unread(tmp_path, monkeypatch):
    (tmp_path / "net-symbol.json").write_text(json.dumps({"nodes": []}))
    monkeypatch.setattr(module, "_MAX_SYMBOL_BYTES", 5)
    with pytest.raises(FaceAlignError, match="is larger than 5 bytes"):
        symbol_has_gate(tmp_path / "net-0000.params")
