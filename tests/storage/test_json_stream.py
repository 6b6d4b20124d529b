"""Streaming JSON gives what `json.loads` gives, whatever the size of the chunks."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage import json_stream
from keras_facealign.storage.json_stream import stream_json

VALUES = {
    "info": {"year": 2026, "text": 'a "quote" and \\ and \u00fc\u4eba', "none": None},
    "numbers": [1, -2.5, 3e10, 123456789012345678, True],
    "empty": [],
    "nothing": {},
    "deep": [{"a": [{"b": [1, 2, [3]]}]}, [[]], "x"],
    "version": "1.0",
    "count": 12,
}


def plain(value):
    """What `stream_json` should yield, from the decoded document."""
    if isinstance(value, list):
        return [("", i, each) for i, each in enumerate(value)]
    found = []
    for key, each in value.items():
        if isinstance(each, dict):
            found += [(key, k, v) for k, v in each.items()]
        elif isinstance(each, list):
            found += [(key, i, v) for i, v in enumerate(each)]
        else:
            found.append((key, None, each))
    return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 18])
def test_same_as_the_standard_library(tmp_path, monkeypatch, encoding, indent, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    for value in (VALUES, list(VALUES.values()), {}, []):
        path.write_bytes(json.dumps(value, indent=indent, ensure_ascii=False).encode(encoding))
        assert list(stream_json(path)) == plain(value)


def test_bytes_that_are_no_utf_8_are_kept(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('["ü.jpg"]'.encode("latin-1"))
    ((_, _, name),) = stream_json(path)
    assert name.encode("utf-8", "surrogateescape").decode("latin-1") == "ü.jpg"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("3", "not a JSON object or list"),
        ("nonsense", "not a JSON object or list"),
        ("[1, 2", "lacks a ','"),
        ("[1, ", "cannot be read"),
        ("[1 2]", "lacks a ','"),
        ('{"a": 1', "lacks a ','"),
        ('{"a" 1}', "lacks a ':'"),
        ("{a: 1}", "lacks a key in quotes"),
        ('{"a": [1, 2}', "lacks a ','"),
        ('{"a": "x}', "cannot be read"),
        ("[1] 2", "more after the end"),
        ("[" * 5000, "cannot be read|lacks"),
        ("[" + "1" * 6000 + "]", "cannot be read"),
    ],
)
def test_damage_is_named(tmp_path, text, told):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FaceAlignError, match=told) as caught:
        list(stream_json(path))
    assert str(path) in str(caught.value)


def test_an_element_of_unlimited_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_ELEMENT", 10_000)
    monkeypatch.setattr(json_stream, "_CHUNK", 1000)
    path = tmp_path / "a.json"
    path.write_text('["' + "x" * 50_000 + '"]')
    with pytest.raises(FaceAlignError, match="within 10000 characters"):
        list(stream_json(path))
    path.write_text(json.dumps(["x" * 9000] * 10))
    assert len(list(stream_json(path))) == 10


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "a.json"
    element = json.dumps({"keypoints": list(range(204)), "bbox": [1, 2, 3, 4]})
    path.write_text('{"annotations": [' + ",".join([element] * 10_000) + "]}")
    assert path.stat().st_size > 9_000_000
    tracemalloc.start()
    try:
        assert sum(len(value["keypoints"]) for _, _, value in stream_json(path)) == 2_040_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000
